/** The model behind the public interface: a native handle and the configuration it was made from. */
import type { ModelConfig } from '../checkpoint/config.ts';
import { isFoldable } from '../checkpoint/grouping.ts';
import {
  convertedConfig,
  foldedConfig,
  resolveConvertOptions,
  toNativeConversion,
  type ConvertOptions,
} from '../convert/index.ts';
import { invalidArgument, WgqaError } from '../errors.ts';
import { callNative, type ComputeDtype, type NativeModel } from '../native.ts';
import { checkOptions, signalRule } from '../options.ts';
import { abortable } from './abort.ts';
import { calibrationBatches } from './batch.ts';
import { forward } from './forward.ts';
import { saveModel, type SaveExtras } from './save.ts';
import type {
  Device,
  DtypeChoice,
  ForwardInput,
  ForwardResult,
  Model,
  ParameterInfo,
  SaveOptions,
  Tensor,
} from './types.ts';

/** Something that computes with a model's native memory and must go before it. */
export type Dependent = () => Promise<void>;

export interface Origin {
  readonly config: ModelConfig;
  readonly dtype: ComputeDtype;
  readonly dtypeChoice: DtypeChoice | undefined;
  readonly directory: string | undefined;
}

export class T5Model implements Model {
  readonly config: ModelConfig;
  readonly device: Device;
  readonly dtype: ComputeDtype;
  readonly dtypeChoice: DtypeChoice | undefined;
  readonly directory: string | undefined;
  readonly parameterCount: number;
  readonly #parameters: ReadonlyMap<string, ParameterInfo>;
  readonly #native: NativeModel;
  readonly #dependents = new Set<Dependent>();
  #disposal: Promise<void> | undefined;

  constructor(handle: NativeModel, { config, dtype, dtypeChoice, directory }: Origin) {
    this.#native = handle;
    this.device = handle.device();
    this.config = config;
    this.dtype = dtype;
    this.dtypeChoice = dtypeChoice;
    this.directory = directory;
    this.#parameters = new Map(
      handle.parameters().map(({ name, shape, dtype }) => [name, { shape, dtype }]),
    );
    let count = 0;
    for (const { shape } of this.#parameters.values()) count += elementCount(shape);
    this.parameterCount = count;
  }

  /** The native handle. @throws WgqaError DISPOSED */
  get native(): NativeModel {
    this.assertUsable();
    return this.#native;
  }

  /** @throws WgqaError DISPOSED, naming the option `field` that the model was given as */
  assertUsable(field?: string): void {
    if (this.#disposal === undefined) return;
    throw new WgqaError('DISPOSED', 'the model was disposed', { field });
  }

  /** Disposes `dependent` before the model, unless the returned function was called. */
  addDependent(dependent: Dependent): () => void {
    this.#dependents.add(dependent);
    return () => this.#dependents.delete(dependent);
  }

  parameters(): ReadonlyMap<string, ParameterInfo> {
    return this.#parameters;
  }

  async readParameter(name: string): Promise<Tensor> {
    const { shape } = this.#parameter(name);
    const data = await callNative(() => this.native.readParameter(name));
    return { data, shape: [...shape] };
  }

  async writeParameter(name: string, value: Tensor): Promise<void> {
    const { shape } = this.#parameter(name);
    const given = value as Partial<Tensor> | undefined;
    const allowed = `[${shape.join(', ')}]`;
    if (!(given?.data instanceof Float32Array)) {
      throw invalidArgument('value.data', 'a Float32Array', given?.data);
    }
    const same = Array.isArray(given.shape) && String(given.shape) === String(shape);
    if (!same) throw invalidArgument('value.shape', allowed, JSON.stringify(given.shape));
    const { data } = given;
    if (data.length !== elementCount(shape)) {
      throw invalidArgument('value.data', `${elementCount(shape)} elements`, data.length);
    }
    await callNative(() => this.native.writeParameter(name, data));
  }

  async convert(
    options: ConvertOptions,
    callOptions: { readonly signal?: AbortSignal } = {},
  ): Promise<Model> {
    const handle = this.native;
    if (this.config.num_key_value_heads !== undefined) {
      const allowed = 'a multi-head model';
      const message = 'the model is already converted; convert the multi-head model instead';
      throw new WgqaError('ALREADY_CONVERTED', message, { field: 'num_key_value_heads', allowed });
    }
    const { signal } = checkOptions(callOptions, { signal: signalRule });
    const resolved = resolveConvertOptions(options, this.config);
    const calibration = calibrationBatches(options.calibration, this.config);
    const converted = await abortable(signal, (abort) =>
      handle.convert(toNativeConversion(resolved), calibration, abort),
    );
    return this.#derive(converted, convertedConfig(this.config, resolved));
  }

  async fold(): Promise<Model> {
    const handle = this.native;
    if (!isFoldable(this.config)) {
      const allowed = "a model converted with merge 'weighted' or with expansion";
      const message = 'the model has no merge or expansion weights to fold';
      throw new WgqaError('NOTHING_TO_FOLD', message, { field: 'wgqa', allowed });
    }
    const folded = await callNative(() => handle.fold());
    return this.#derive(folded, foldedConfig(this.config));
  }

  async save(directory: string, options: SaveOptions = {}): Promise<void> {
    await this.saveWith(directory, options, {});
  }

  /** `save` with further files, written in the same all-or-nothing step. */
  async saveWith(directory: string, options: SaveOptions, extras: SaveExtras): Promise<void> {
    const source = { native: this.native, config: this.config, directory: this.directory };
    await saveModel(source, directory, options, extras);
  }

  async forward(
    input: ForwardInput,
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<ForwardResult> {
    const { signal } = checkOptions(options, { signal: signalRule });
    return forward(this.native, this.config, input, signal);
  }

  async memoryBytes(): Promise<{ readonly parameters: number; readonly packed: number }> {
    return callNative(() => this.native.memoryBytes());
  }

  async dispose(): Promise<void> {
    this.#disposal ??= this.#release();
    await this.#disposal;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }

  async #release(): Promise<void> {
    await Promise.all([...this.#dependents].map((dependent) => dependent()));
    await callNative(() => this.#native.dispose());
  }

  #derive(handle: NativeModel, config: ModelConfig): Model {
    const { dtype, dtypeChoice, directory } = this;
    return new T5Model(handle, { config, dtype, dtypeChoice, directory });
  }

  #parameter(name: string): ParameterInfo {
    this.assertUsable();
    const parameter = this.#parameters.get(name);
    if (parameter === undefined) throw invalidArgument('name', 'a key of parameters()', name);
    return parameter;
  }
}

/**
 * The implementation behind `model`, which was given as `field`.
 * @throws WgqaError INVALID_ARGUMENT, DISPOSED
 */
export function implementationOf(model: unknown, field = 'model'): T5Model {
  if (!(model instanceof T5Model)) {
    throw invalidArgument(field, 'a Model of loadModel, createModel, convert or fold', model);
  }
  model.assertUsable(field);
  return model;
}

function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}
