/** The compute type of a model that is made: as it was asked for, or chosen. */
import { checkDirectory, readCheckpoint } from '../checkpoint/checkpoint.ts';
import type { ModelConfig } from '../checkpoint/config.ts';
import type { TensorEntry } from '../checkpoint/safetensors.ts';
import { FLOAT_DTYPES, isConversionWeight } from '../checkpoint/t5-tensors.ts';
import { chooseDtype as choose, DEFAULT_EXPECTED_BATCH, widestDtype } from '../dtype/index.ts';
import { invalidArgument } from '../errors.ts';
import type { FloatDtype, NativeModelOptions } from '../native.ts';
import {
  checkOptions,
  checkValue,
  integerIn,
  oneOf,
  signalRule,
  stringRule,
  type Checked,
  type Rules,
} from '../options.ts';
import { throwIfAborted } from './abort.ts';
import { toNativeConfig } from './native-config.ts';
import type { ChooseDtypeOptions, DtypeChoice } from './types.ts';

const CHOICE_RULES = {
  device: oneOf('auto', 'cpu', 'cuda'),
  accuracy: oneOf('float32', 'bfloat16', 'int8'),
  expectedBatch: integerIn(1, 1024),
  threads: integerIn(1, 1024),
} satisfies Rules;

/** Options of loadModel and createModel alike. */
export const COMPUTE_RULES = {
  ...CHOICE_RULES,
  dtype: oneOf('float32', 'float16', 'bfloat16', 'int8', 'auto'),
} satisfies Rules;

export interface ResolvedCompute {
  readonly native: NativeModelOptions;
  readonly dtypeChoice: DtypeChoice | undefined;
}

/**
 * @param fileDtype that holds all weights there are
 * @throws WgqaError INVALID_ARGUMENT, UNSUPPORTED, OUT_OF_MEMORY, ABORTED
 */
export async function resolveCompute(
  given: Checked<typeof COMPUTE_RULES> & { readonly signal?: AbortSignal },
  config: ModelConfig,
  fileDtype: FloatDtype,
): Promise<ResolvedCompute> {
  const { dtype = 'float32', device = 'auto', threads = 0, signal } = given;
  if (dtype !== 'auto') return { native: { device, dtype, threads }, dtypeChoice: undefined };
  throwIfAborted(signal);
  const dtypeChoice = await choose({
    config: toNativeConfig(config),
    fileDtype,
    accuracy: given.accuracy,
    expectedBatch: given.expectedBatch ?? DEFAULT_EXPECTED_BATCH,
    device,
    threads,
  });
  throwIfAborted(signal);
  const native = { device: dtypeChoice.device, dtype: dtypeChoice.dtype, threads };
  return { native, dtypeChoice };
}

/** An option that would have no effect is a mistake. @throws WgqaError INVALID_ARGUMENT */
export function checkChoiceOptions(given: Checked<typeof COMPUTE_RULES>): void {
  if (given.dtype === 'auto') return;
  for (const name of ['accuracy', 'expectedBatch'] as const) {
    if (given[name] === undefined) continue;
    throw invalidArgument(name, "absent unless dtype is 'auto'", given[name]);
  }
}

/** The type that holds all weights; merge and expansion weights are float32 in any file. */
export function fileDtypeOf(tensors: readonly TensorEntry[]): FloatDtype {
  const weights = tensors.filter(({ name }) => !isConversionWeight(name));
  return widestDtype(weights.map(({ dtype }) => FLOAT_DTYPES[dtype as keyof typeof FLOAT_DTYPES]));
}

/**
 * What `loadModel(directory, { dtype: 'auto' })` would choose, and why; no weights are read. On the
 * CPU what is not known yet is measured, in under a second.
 * @throws WgqaError NOT_FOUND, INVALID_FILE, UNSUPPORTED, INVALID_ARGUMENT, OUT_OF_MEMORY, ABORTED
 */
export async function chooseDtype(
  directory: string,
  options: ChooseDtypeOptions = {},
): Promise<DtypeChoice> {
  checkValue(directory, stringRule, 'directory');
  const given = checkOptions(options, { ...CHOICE_RULES, signal: signalRule });
  await checkDirectory(directory);
  const { config, tensors } = await readCheckpoint(directory);
  const auto = { ...given, dtype: 'auto' } as const;
  const { dtypeChoice } = await resolveCompute(auto, config, fileDtypeOf(tensors));
  return dtypeChoice!;
}
