/** One request in the exported graphs: the source encoded once, then one decoder step at a time. */
import { WgqaError } from '../errors.ts';
import type { Continuation } from './decoding/index.ts';
import {
  ATTENTION_MASK,
  cacheNames,
  ENCODER_ATTENTION_MASK,
  ENCODER_STATES,
  INPUT_IDS,
  LAST_HIDDEN_STATE,
  LOGITS,
  past,
  present,
  USE_CACHE_BRANCH,
  type CacheName,
} from './names.ts';
import {
  checkNames,
  type InferenceSession,
  type Outputs,
  type Runtime,
  type Tensor,
} from './runtime.ts';

export interface Graphs {
  readonly encoder: InferenceSession;
  readonly decoder: InferenceSession;
  /** The same session as `decoder` where one file holds both steps. */
  readonly decoderWithPast: InferenceSession;
}

/** A source, and which of its tokens count: 1, or 0. */
export interface SourceTokens {
  readonly inputIds: Int32Array;
  readonly mask: Int32Array;
}

/** What does not change between steps. */
interface Source {
  readonly states: Tensor;
  readonly mask: Tensor;
}

export interface GraphRunnerOptions {
  readonly layers: number;
  readonly vocabSize: number;
}

export class GraphRunner {
  readonly #runtime: Runtime;
  readonly #graphs: Graphs;
  readonly #options: GraphRunnerOptions;
  readonly #selfNames: readonly CacheName[];
  readonly #crossNames: readonly CacheName[];

  /** @throws WgqaError INVALID_FILE where inputs or outputs are not those of Optimum's exports */
  constructor(runtime: Runtime, graphs: Graphs, options: GraphRunnerOptions) {
    this.#runtime = runtime;
    this.#graphs = graphs;
    this.#options = options;
    this.#selfNames = cacheNames(options.layers, ['decoder']);
    this.#crossNames = cacheNames(options.layers, ['encoder']);
    this.#checkGraphs(graphs);
  }

  /** Encodes a source and takes the decoder's first step with `prompt`. */
  async start(tokens: SourceTokens, prompt: readonly number[]): Promise<Decoding> {
    const ids = this.#integers([tokens.inputIds]);
    const mask = this.#integers([tokens.mask]);
    const { encoder, decoder } = this.#graphs;
    const encoded = await encoder.run({ [INPUT_IDS]: ids, [ATTENTION_MASK]: mask });
    const source = { states: encoded[LAST_HIDDEN_STATE] as Tensor, mask };
    const outputs = await decoder.run({
      ...this.#stepInputs(decoder, [prompt], source),
      ...(decoder.inputNames.includes(USE_CACHE_BRANCH) ? this.#emptyPast() : {}),
    });
    const names = [...this.#selfNames, ...this.#crossNames];
    return new Decoding(this, source, cacheOf(outputs, names), this.#lastRows(outputs));
  }

  /** A later step: the logits of each row's token, and all K and V of self-attention. */
  async step(tokens: readonly number[], source: Source, cache: ReadonlyMap<CacheName, Tensor>) {
    const { decoderWithPast } = this.#graphs;
    const rows = tokens.map((token) => [token]);
    const outputs = await decoderWithPast.run({
      ...this.#stepInputs(decoderWithPast, rows, source),
      ...Object.fromEntries([...cache].map(([name, tensor]) => [past(name), tensor])),
      ...(decoderWithPast.inputNames.includes(USE_CACHE_BRANCH) ? this.#branch(true) : {}),
    });
    return { logits: this.#lastRows(outputs), cache: cacheOf(outputs, this.#selfNames) };
  }

  /** The rows of a tensor [rows, ...] that the next step extends, in its order. */
  gather(tensor: Tensor, parents: readonly number[]): Tensor {
    const [rows = 1, ...rest] = tensor.dims;
    if (parents.length === rows && parents.every((parent, row) => parent === row)) return tensor;
    const data = tensor.data as Float32Array;
    const width = data.length / rows;
    const gathered = new Float32Array(parents.length * width);
    for (const [row, parent] of parents.entries()) {
      gathered.set(data.subarray(parent * width, (parent + 1) * width), row * width);
    }
    return new this.#runtime.Tensor('float32', gathered, [parents.length, ...rest]);
  }

  get crossNames(): readonly CacheName[] {
    return this.#crossNames;
  }

  #checkGraphs({ encoder, decoder, decoderWithPast }: Graphs): void {
    const own = this.#selfNames;
    const all = [...own, ...this.#crossNames];
    checkNames('encoder_model', encoder.inputNames, [INPUT_IDS, ATTENTION_MASK]);
    checkNames('encoder_model', encoder.outputNames, [LAST_HIDDEN_STATE]);
    checkNames('decoder_model', decoder.inputNames, [INPUT_IDS, ENCODER_STATES]);
    checkNames('decoder_model', decoder.outputNames, [LOGITS, ...all.map(present)]);
    checkNames('decoder_with_past_model', decoderWithPast.inputNames, all.map(past));
    const outputs = [LOGITS, ...own.map(present)];
    checkNames('decoder_with_past_model', decoderWithPast.outputNames, outputs);
  }

  #stepInputs(
    session: InferenceSession,
    tokens: readonly (readonly number[])[],
    { states, mask }: Source,
  ): Record<string, Tensor> {
    const inputs = {
      [INPUT_IDS]: this.#integers(tokens),
      [ENCODER_ATTENTION_MASK]: mask,
      [ENCODER_STATES]: states,
    };
    const present = Object.entries(inputs).filter(([name]) => session.inputNames.includes(name));
    return Object.fromEntries(present);
  }

  #integers(rows: readonly ArrayLike<number>[]): Tensor {
    const columns = rows[0]?.length ?? 0;
    const data = new BigInt64Array(rows.length * columns);
    for (const [row, values] of rows.entries()) {
      for (let i = 0; i < columns; ++i) data[row * columns + i] = BigInt(values[i] ?? 0);
    }
    return new this.#runtime.Tensor('int64', data, [rows.length, columns]);
  }

  /** A merged decoder takes a past with its first step, too, and does not look at it. */
  #emptyPast(): Record<string, Tensor> {
    const { decoder } = this.#graphs;
    const inputs = decoder.inputMetadata.filter(({ name }) =>
      name.startsWith(past('' as CacheName)),
    );
    const empty = inputs.map((metadata) => {
      const shape = metadata.isTensor ? metadata.shape : [];
      const dims = shape.map((size, axis) =>
        axis === 0 ? 1 : typeof size === 'number' ? size : 0,
      );
      return [
        metadata.name,
        new this.#runtime.Tensor('float32', new Float32Array(), dims),
      ] as const;
    });
    return { ...Object.fromEntries(empty), ...this.#branch(false) };
  }

  #branch(useCache: boolean): Record<string, Tensor> {
    return { [USE_CACHE_BRANCH]: new this.#runtime.Tensor('bool', [useCache], [1]) };
  }

  /** The logits [vocabulary] of each row's last token. */
  #lastRows(outputs: Outputs): Float32Array[] {
    const { dims, data } = outputs[LOGITS] as Tensor;
    const [rows = 0, tokens = 0, vocab = 0] = dims;
    if (vocab !== this.#options.vocabSize) {
      const message = `the decoder gives ${vocab} logits, not vocab_size of config.json`;
      const allowed = String(this.#options.vocabSize);
      throw new WgqaError('INVALID_FILE', message, { field: LOGITS, allowed });
    }
    return Array.from({ length: rows }, (_, row) => {
      const end = (row + 1) * tokens * vocab;
      return (data as Float32Array).subarray(end - vocab, end);
    });
  }
}

/** A request's sequences between steps. Rows share K and V of the source, which have one. */
export class Decoding {
  logits: readonly Float32Array[];
  readonly #runner: GraphRunner;
  readonly #source: Source;
  readonly #cross: ReadonlyMap<CacheName, Tensor>;
  #self: ReadonlyMap<CacheName, Tensor>;

  constructor(
    runner: GraphRunner,
    source: Source,
    cache: ReadonlyMap<CacheName, Tensor>,
    logits: readonly Float32Array[],
  ) {
    this.#runner = runner;
    this.#source = source;
    this.#cross = new Map([...cache].filter(([name]) => runner.crossNames.includes(name)));
    this.#self = new Map([...cache].filter(([name]) => !runner.crossNames.includes(name)));
    this.logits = logits;
  }

  /** Feeds a token to each continuation of the last step's rows. */
  async next(continuations: readonly Continuation[]): Promise<void> {
    const parents = continuations.map(({ parent }) => parent);
    const own = [...this.#self].map(
      ([name, tensor]) => [name, this.#runner.gather(tensor, parents)] as const,
    );
    const tokens = continuations.map(({ token }) => token);
    const cache = new Map([...own, ...this.#cross]);
    const result = await this.#runner.step(tokens, this.#source, cache);
    this.#self = result.cache;
    this.logits = result.logits;
  }
}

function cacheOf(outputs: Outputs, names: readonly CacheName[]) {
  return new Map(names.map((name) => [name, outputs[present(name)] as Tensor]));
}
