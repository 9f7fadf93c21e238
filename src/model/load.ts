/** Making models: from a checkpoint directory, or with random weights. */
import { totalmem } from 'node:os';
import {
  locateCheckpoint,
  readCheckpoint,
  type CheckpointPlace,
} from '../checkpoint/checkpoint.ts';
import { parseConfig } from '../checkpoint/config.ts';
import { checkPlainJson } from '../checkpoint/plain-json.ts';
import type { TensorEntry } from '../checkpoint/safetensors.ts';
import { FLOAT_DTYPES, scalarCount, t5Parameters } from '../checkpoint/t5-tensors.ts';
import { whileUnchanged } from '../checkpoint/unchanged.ts';
import { invalidArgument, WgqaError } from '../errors.ts';
import { callNative, native, type NativeModelOptions, type NativeTensorSource } from '../native.ts';
import {
  checkOptions,
  checkValue,
  functionRule,
  integerIn,
  objectRule,
  oneOf,
  signalRule,
  stringRule,
  type Checked,
  type Rules,
} from '../options.ts';
import { abortable } from './abort.ts';
import { T5Model } from './t5-model.ts';
import { toNativeConfig } from './native-config.ts';
import type { CreateModelOptions, LoadModelOptions, Model } from './types.ts';

const SHARED_RULES = {
  device: oneOf('auto', 'cpu', 'cuda'),
  dtype: oneOf('float32', 'float16', 'bfloat16', 'int8'),
  threads: integerIn(1, 1024),
} satisfies Rules;

const LOAD_RULES = {
  ...SHARED_RULES,
  signal: signalRule,
  onProgress: functionRule<(done: number, total: number) => void>(),
} satisfies Rules;

const CREATE_RULES = { ...SHARED_RULES, seed: integerIn() } satisfies Rules;

/**
 * Loads a Hugging Face checkpoint of a T5 or mT5: `config.json` and `model.safetensors`, shards with
 * `model.safetensors.index.json`, or a PyTorch file or shards (`pytorch_model.bin`), of which nothing is
 * run; in float32, float16 or bfloat16. Weights are memory-mapped. What the files hold beyond that is
 * named in a warning of `process`.
 * @param directory of the checkpoint, or its file of weights
 * @throws WgqaError NOT_FOUND, INVALID_FILE, UNSUPPORTED, INVALID_ARGUMENT, IO, OUT_OF_MEMORY, ABORTED
 */
export async function loadModel(directory: string, options: LoadModelOptions = {}): Promise<Model> {
  checkValue(directory, stringRule, 'directory');
  const given = checkOptions(options, LOAD_RULES);
  const place = await locateCheckpoint(directory);
  return whileUnchanged(
    place.directory,
    () => loadPlace(place, given),
    (model) => model.dispose(),
  );
}

async function loadPlace(
  place: CheckpointPlace,
  { signal, onProgress, ...shared }: Checked<typeof LOAD_RULES>,
): Promise<Model> {
  const nativeOptions = toNativeOptions(shared);
  await using checkpoint = await readCheckpoint(place);
  const { config, spellings } = checkpoint;
  const sources = checkpoint.tensors.map(toSource);
  const handle = await abortable(signal, (abort) =>
    native().loadModel(toNativeConfig(config), sources, nativeOptions, abort, onProgress),
  );
  const { directory } = place;
  return new T5Model(handle, { config, spellings, dtype: nativeOptions.dtype, directory });
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
  checkPlainJson(config, 'config');
  const given = checkOptions(options, CREATE_RULES);
  const nativeOptions = toNativeOptions(given);
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
  const handle = await callNative(() =>
    native().createModel(toNativeConfig(parsed), given.seed ?? 0, nativeOptions),
  );
  const { dtype } = nativeOptions;
  return new T5Model(handle, { config: parsed, dtype, directory: undefined, spellings: new Map() });
}

function toNativeOptions(given: Checked<typeof SHARED_RULES>): NativeModelOptions {
  return {
    device: given.device ?? 'auto',
    dtype: given.dtype ?? 'float32',
    threads: given.threads ?? 0,
  };
}

function toSource({ dtype, shape, strides: _, ...entry }: TensorEntry): NativeTensorSource {
  const name = FLOAT_DTYPES[dtype as keyof typeof FLOAT_DTYPES];
  return { ...entry, dtype: name, shape: [...shape] };
}
