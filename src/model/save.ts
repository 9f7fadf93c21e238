/** Saving a model as a Hugging Face checkpoint directory. */
import type { OutputFile } from '../checkpoint/atomic-directory.ts';
import { DEFAULT_SHARD_BYTES, writeCheckpoint } from '../checkpoint/checkpoint.ts';
import type { ModelConfig } from '../checkpoint/config.ts';
import { isFoldable, kvHeadsOf, withoutGrouping } from '../checkpoint/grouping.ts';
import { attentionOf, isKvProjection, isConversionWeight } from '../checkpoint/t5-tensors.ts';
import type { OutputTensor } from '../checkpoint/write-safetensors.ts';
import { invalidArgument } from '../errors.ts';
import {
  callNative,
  type FloatDtype,
  type NativeModel,
  type NativeParameterInfo,
} from '../native.ts';
import {
  checkOptions,
  checkValue,
  integerIn,
  oneOf,
  pathRule,
  signalRule,
  type Rules,
} from '../options.ts';
import { throwIfAborted } from './abort.ts';
import type { SaveOptions } from './types.ts';

const RULES = {
  layout: oneOf('grouped', 'expanded'),
  dtype: oneOf('float32', 'float16', 'bfloat16'),
  maxShardBytes: integerIn(1),
  signal: signalRule,
} satisfies Rules;

export interface SaveSource {
  readonly native: NativeModel;
  readonly config: ModelConfig;
  /** Where tokenizer files are taken from. */
  readonly directory: string | undefined;
  /** The type in which the checkpoint holds each tensor, by name. */
  readonly storedDtypes: ReadonlyMap<string, FloatDtype>;
}

/** Files and metadata that a trainer saves with its model. */
export interface SaveExtras {
  readonly metadata?: Readonly<Record<string, string>>;
  readonly extraFiles?: readonly OutputFile[];
}

/** @throws WgqaError INVALID_ARGUMENT */
export function checkSaveOptions(directory: unknown, options: unknown) {
  checkValue(directory, pathRule, 'directory');
  return checkOptions(options, RULES);
}

/** @throws WgqaError INVALID_ARGUMENT, NO_SPACE, IO, ABORTED */
export async function saveModel(
  source: SaveSource,
  directory: string,
  options: SaveOptions = {},
  extras: SaveExtras = {},
): Promise<void> {
  const {
    layout = 'grouped',
    dtype,
    maxShardBytes = DEFAULT_SHARD_BYTES,
    signal,
  } = checkSaveOptions(directory, options);
  const { native, config, storedDtypes } = source;
  const expand = layout === 'expanded';
  if (expand && isFoldable(config)) {
    throw invalidArgument(
      'layout',
      "'grouped' until the model is folded: call fold() first",
      layout,
    );
  }
  const tensors = native.parameters().map((parameter) => {
    const { name } = parameter;
    const kept = dtype ?? storedDtypes.get(name) ?? parameter.dtype;
    const stored = isConversionWeight(name) ? 'float32' : kept;
    const tensor = outputTensor(native, parameter, stored, signal);
    return expand ? expandHeads(tensor, config) : tensor;
  });
  await writeCheckpoint(directory, {
    config: savedConfig(expand ? withoutGrouping(config) : config, tensors),
    tensors,
    carryFrom: source.directory,
    maxShardBytes,
    ...extras,
  });
}

function outputTensor(
  native: NativeModel,
  { name, shape }: NativeParameterInfo,
  dtype: OutputTensor['dtype'],
  signal: AbortSignal | undefined,
): OutputTensor {
  return {
    name,
    dtype,
    shape,
    read: () => {
      throwIfAborted(signal);
      return callNative(() => native.readParameterBytes(name, dtype));
    },
  };
}

/** Repeats each K/V head for every query head of its group. */
function expandHeads(tensor: OutputTensor, config: ModelConfig): OutputTensor {
  const place = attentionOf(tensor.name);
  if (place === undefined || !isKvProjection(tensor.name)) return tensor;
  const kvHeads = kvHeadsOf(config, place.module, place.layer);
  const repeats = config.num_heads / kvHeads;
  const read = async (): Promise<Uint8Array> => {
    const bytes = await tensor.read();
    const headBytes = bytes.length / kvHeads;
    const expanded = new Uint8Array(bytes.length * repeats);
    for (let head = 0; head < config.num_heads; ++head) {
      const group = Math.floor(head / repeats);
      expanded.set(bytes.subarray(group * headBytes, (group + 1) * headBytes), head * headBytes);
    }
    return expanded;
  };
  return repeats === 1
    ? tensor
    : { ...tensor, shape: [config.num_heads * config.d_kv, config.d_model], read };
}

/** The configuration as stored, with the type of most weights under its one present name. */
function savedConfig(
  config: Readonly<Record<string, unknown>>,
  tensors: readonly OutputTensor[],
): Readonly<Record<string, unknown>> {
  const dtype = tensors.find((tensor) => !isConversionWeight(tensor.name))?.dtype;
  return {
    architectures: ['T5ForConditionalGeneration'],
    ...config,
    dtype,
    torch_dtype: undefined,
  };
}
