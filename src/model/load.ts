/** Making models: from a checkpoint directory, or with random weights. */
import { totalmem } from 'node:os';
import { readCheckpoint, checkDirectory } from '../checkpoint/checkpoint.ts';
import { parseConfig } from '../checkpoint/config.ts';
import type { TensorEntry } from '../checkpoint/safetensors.ts';
import { FLOAT_DTYPES, scalarCount, t5Parameters } from '../checkpoint/t5-tensors.ts';
import { invalidArgument, WgqaError } from '../errors.ts';
import { HUB_RULES, hubOptions, resolveModel } from '../hub/index.ts';
import { callNative, native, type NativeTensorSource } from '../native.ts';
import {
  checkOptions,
  checkValue,
  functionRule,
  integerIn,
  objectRule,
  stringRule,
  type Rules,
} from '../options.ts';
import { abortable } from './abort.ts';
import { checkChoiceOptions, COMPUTE_RULES, fileDtypeOf, resolveCompute } from './compute-dtype.ts';
import { T5Model } from './t5-model.ts';
import { toNativeConfig } from './native-config.ts';
import type { CreateModelOptions, LoadModelOptions, Model } from './types.ts';

const LOAD_RULES = {
  ...COMPUTE_RULES,
  ...HUB_RULES,
  onProgress: functionRule<NonNullable<LoadModelOptions['onProgress']>>(),
} satisfies Rules;

const CREATE_RULES = { ...COMPUTE_RULES, seed: integerIn() } satisfies Rules;

/**
 * Loads a Hugging Face T5 checkpoint directory: `config.json` and `model.safetensors`, or shards
 * with `model.safetensors.index.json`, in float32, float16 or bfloat16. Weights are memory-mapped.
 * `org/name[@revision]` is a model of the hub: see {@link resolveModel}; a directory of that name wins.
 * @throws WgqaError NOT_FOUND, INVALID_FILE, UNSUPPORTED, INVALID_ARGUMENT, OUT_OF_MEMORY, ABORTED;
 *   of the hub, too: NETWORK, ACCESS_DENIED, NO_SPACE, IO
 */
export async function loadModel(directory: string, options: LoadModelOptions = {}): Promise<Model> {
  checkValue(directory, stringRule, 'directory');
  const given = checkOptions(options, LOAD_RULES);
  checkChoiceOptions(given);
  directory = await resolveModel(directory, hubOptions(given));
  await checkDirectory(directory);
  const { config, tensors } = await readCheckpoint(directory);
  const sources = tensors.map(toSource);
  const compute = await resolveCompute(given, config, fileDtypeOf(tensors));
  const handle = await abortable(given.signal, (abort) =>
    native().loadModel(toNativeConfig(config), sources, compute.native, abort, given.onProgress),
  );
  const { dtypeChoice } = compute;
  return new T5Model(handle, { config, dtype: compute.native.dtype, dtypeChoice, directory });
}

/**
 * Makes a model with the random initial weights of Hugging Face's T5.
 * @param config the keys of a Hugging Face `config.json`; `model_type` may be left out
 * @throws WgqaError INVALID_ARGUMENT, UNSUPPORTED, OUT_OF_MEMORY
 */
export async function createModel(
  config: Readonly<Record<string, unknown>>,
  options: CreateModelOptions = {},
): Promise<Model> {
  checkValue(config, objectRule, 'config');
  const given = checkOptions(options, CREATE_RULES);
  checkChoiceOptions(given);
  const parsed = parseConfig({ model_type: 't5', ...config }, (key, allowed, actual) =>
    invalidArgument(`config.${key}`, allowed, actual),
  );
  const bytes = 4 * scalarCount(t5Parameters(parsed));
  if (bytes > totalmem()) {
    throw new WgqaError('OUT_OF_MEMORY', `the model takes ${bytes} bytes`, {
      field: 'config',
      allowed: `at most ${totalmem()} bytes of parameters`,
    });
  }
  const compute = await resolveCompute(given, parsed, 'float32');
  const handle = await callNative(() =>
    native().createModel(toNativeConfig(parsed), given.seed ?? 0, compute.native),
  );
  const { dtypeChoice } = compute;
  const origin = { config: parsed, dtype: compute.native.dtype, dtypeChoice };
  return new T5Model(handle, { ...origin, directory: undefined });
}

function toSource({ dtype, shape, ...entry }: TensorEntry): NativeTensorSource {
  const name = FLOAT_DTYPES[dtype as keyof typeof FLOAT_DTYPES];
  return { ...entry, dtype: name, shape: [...shape] };
}
