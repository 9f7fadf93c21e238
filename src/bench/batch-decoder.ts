/** One batch of sources through an engine: encoded once, decoded as often as one likes. */
import { Engine, type Model } from '../index.ts';

export interface Decoding {
  readonly numBeams: number;
  readonly newTokens: number;
}

export interface DecodedBatch {
  readonly milliseconds: number;
  /** Of decoding steps alone, all rows of the batch in each. */
  readonly stepMilliseconds: number;
  readonly weightBytesPerStep: number;
  /** Best sequence of each source. */
  readonly tokenIds: readonly (readonly number[])[];
}

export interface BatchDecoderOptions {
  readonly mostRows: number;
  readonly newTokens: number;
  readonly threads?: number;
  /** Of the package that made the model. Default: this one's. */
  readonly engineClass?: typeof Engine;
}

/** Keeps the cache of its last sources; one call at a time. */
export class BatchDecoder implements AsyncDisposable {
  readonly #engine: Engine;
  readonly #sources: readonly (readonly number[])[];

  /** Everything is encoded in one step, and every row of every beam decoded in one. */
  constructor(
    model: Model,
    sources: readonly (readonly number[])[],
    { mostRows, newTokens, threads, engineClass = Engine }: BatchDecoderOptions,
  ) {
    const tokens = sources.reduce((sum, source) => sum + source.length, 0);
    const blockSize = 16;
    const perToken =
      2 * 4 * model.config.num_heads * model.config.d_kv * model.config.num_decoder_layers;
    const blocks = tokens + mostRows * (newTokens + 2 * blockSize) + sources.length * blockSize;
    this.#sources = sources;
    this.#engine = new engineClass(model, {
      kvCache: { blockSize, maxBytes: 2 * perToken * blocks },
      maxBatchSize: mostRows,
      maxBatchTokens: 8 * tokens,
      ...(threads !== undefined && { threads }),
    });
  }

  /** Encodes all sources and chooses a first token for each. */
  async encode(): Promise<{ milliseconds: number; encodeMilliseconds: number }> {
    const before = this.#engine.stats().encodeMilliseconds;
    const { milliseconds } = await this.#run({ numBeams: 1, newTokens: 1 });
    const encodeMilliseconds = this.#engine.stats().encodeMilliseconds - before;
    return { milliseconds, encodeMilliseconds };
  }

  /** Decodes from what encode() has left in the cache. */
  async decode(decoding: Decoding): Promise<DecodedBatch> {
    const before = this.#engine.stats();
    const { milliseconds, tokenIds } = await this.#run(decoding);
    const after = this.#engine.stats();
    const rows = this.#sources.length * decoding.numBeams;
    // Beams begin as one row each: the first step is a small one.
    const firstRows = decoding.numBeams > 1 ? this.#sources.length : 0;
    const steps = (after.decodedRows - before.decodedRows - firstRows) / rows;
    const bytes = after.decodeWeightBytes - before.decodeWeightBytes;
    return {
      milliseconds,
      stepMilliseconds: (after.decodeMilliseconds - before.decodeMilliseconds) / steps,
      weightBytesPerStep: bytes / (after.decodeSteps - before.decodeSteps),
      tokenIds,
    };
  }

  /** Bytes of the cache in use or kept, and of them what running requests would share. */
  get cacheBytes(): number {
    return this.#engine.stats().cacheBytes;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#engine.close({ mode: 'abort' });
  }

  async #run({ numBeams, newTokens }: Decoding) {
    const start = performance.now();
    const results = await Promise.all(
      this.#sources.map((inputIds) =>
        this.#engine.generate({
          inputIds,
          numBeams,
          maxNewTokens: newTokens,
          minNewTokens: newTokens,
        }),
      ),
    );
    const milliseconds = performance.now() - start;
    return { milliseconds, tokenIds: results.map(({ sequences }) => sequences[0]?.tokenIds ?? []) };
  }
}
