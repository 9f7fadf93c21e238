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
import { HUB_RULES, hubOptions, resolveModel } from '../hub/index.ts';
import { native, type NativeTensorSource } from '../native.ts';
import {
  checkOptions,
  checkValue,
  functionRule,
  integerIn,
  objectRule,
  pathRule,
  signalRule,
  type Checked,
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

const CREATE_RULES = { ...COMPUTE_RULES, seed: integerIn(), signal: signalRule } satisfies Rules;

/**
 * Loads a Hugging Face checkpoint of a T5 or mT5: `config.json` and `model.safetensors`, shards with
 * `model.safetensors.index.json`, or a PyTorch file or shards (`pytorch_model.bin`), of which nothing is
 * run; in float32, float16 or bfloat16. Weights are memory-mapped. What the files hold beyond that is
 * named in a warning of `process`.
 * `org/name[@revision]` is a model of the hub: see {@link resolveModel}; a directory of that name wins.
 * @param directory of the checkpoint, or its file of weights
 * @throws WgqaError NOT_FOUND, INVALID_FILE, UNSUPPORTED, INVALID_ARGUMENT, IO, OUT_OF_MEMORY, ABORTED;
 *   of the hub, too: NETWORK, ACCESS_DENIED, NO_SPACE
 */
export async function loadModel(directory: string, options: LoadModelOptions = {}): Promise<Model> {
  checkValue(directory, pathRule, 'directory');
  const given = checkOptions(options, LOAD_RULES);
  checkChoiceOptions(given);
  const place = await locateCheckpoint(await resolveModel(directory, hubOptions(given)));
  return whileUnchanged(
    place.directory,
    () => loadPlace(place, given),
    (model) => model.dispose(),
  );
}

async function loadPlace(
  place: CheckpointPlace,
  given: Checked<typeof LOAD_RULES>,
): Promise<Model> {
  await using checkpoint = await readCheckpoint(place, given.signal);
  const { config, spellings, tensors } = checkpoint;
  const sources = tensors.map(toSource);
  const compute = await resolveCompute(given, config, fileDtypeOf(tensors));
  const handle = await abortable(given.signal, (abort) =>
    native().loadModel(toNativeConfig(config), sources, compute.native, abort, given.onProgress),
  );
  const storedDtypes = new Map(sources.map(({ name, dtype }) => [name, dtype]));
  const { directory } = place;
  const { dtypeChoice } = compute;
  const { dtype } = compute.native;
  return new T5Model(handle, { config, spellings, dtype, dtypeChoice, directory, storedDtypes });
}

/**
 * Makes a model with the random initial weights of Hugging Face's T5.
 * @param config the keys of a Hugging Face `config.json`; `model_type` may be left out
 * @throws WgqaError INVALID_ARGUMENT, UNSUPPORTED, OUT_OF_MEMORY, ABORTED
 */
export async function createModel(
  config: Readonly<Record<string, unknown>>,
  options: CreateModelOptions = {},
): Promise<Model> {
  checkValue(config, objectRule, 'config');
  checkPlainJson(config, 'config');
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
  const handle = await abortable(given.signal, (abort) =>
    native().createModel(toNativeConfig(parsed), given.seed ?? 0, compute.native, abort),
  );
  return new T5Model(handle, {
    config: parsed,
    spellings: new Map(),
    dtype: compute.native.dtype,
    dtypeChoice: compute.dtypeChoice,
    directory: undefined,
    storedDtypes: new Map(),
  });
}

function toSource({ dtype, shape, strides: _, ...entry }: TensorEntry): NativeTensorSource {
  const name = FLOAT_DTYPES[dtype as keyof typeof FLOAT_DTYPES];
  return { ...entry, dtype: name, shape: [...shape] };
}
