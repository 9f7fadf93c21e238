/** This package as a contender. */
import { BatchDecoder } from '../../src/bench/batch-decoder.ts';
import { loadModel, type Model } from '../../src/index.ts';
import { serve, type Contender, type DecodedTokens } from './contender.ts';
import type { DecodingOptions, LoadOptions } from './protocol.ts';

class Wgqa implements Contender {
  #options: LoadOptions | undefined;
  #model: Model | undefined;
  #decoder: BatchDecoder | undefined;

  async load(options: LoadOptions): Promise<void> {
    const { directory, dtype, threads } = options;
    this.#options = options;
    this.#model = await loadModel(directory, { dtype, threads });
  }

  async encode(sources: readonly (readonly number[])[]): Promise<void> {
    if (this.#model === undefined || this.#options === undefined) throw new Error('not loaded');
    await this.release();
    const { mostRows, mostTokens } = this.#options;
    this.#decoder = new BatchDecoder(this.#model, sources, { mostRows, newTokens: mostTokens });
    await this.#decoder.encode();
  }

  async decode(options: DecodingOptions): Promise<DecodedTokens> {
    if (this.#decoder === undefined) throw new Error('nothing is encoded');
    const { milliseconds, tokenIds } = await this.#decoder.decode(options);
    return { stepMilliseconds: milliseconds / options.newTokens, tokenIds };
  }

  async release(): Promise<void> {
    await this.#decoder?.[Symbol.asyncDispose]();
    this.#decoder = undefined;
  }
}

serve(new Wgqa());
