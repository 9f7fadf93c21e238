/** transformers.js as a contender, on the merged decoder that it expects; from local files alone. */
import path from 'node:path';
import { Impossible } from '../asked-process.ts';
import { serve, type Contender, type DecodedTokens } from './contender.ts';
import type { DecodingOptions, LoadOptions } from './protocol.ts';

/** The part of `@huggingface/transformers` that is used; it is installed beside this file only. */
interface TransformersModule {
  readonly env: { allowRemoteModels: boolean; localModelPath: string };
  readonly AutoModelForSeq2SeqLM: {
    from_pretrained(name: string, options: object): Promise<Seq2SeqModel>;
  };
  readonly Tensor: new (type: string, data: BigInt64Array, dims: readonly number[]) => object;
}

interface Seq2SeqModel {
  generate(options: object): Promise<{ tolist(): bigint[][] }>;
}

const MODULE = '@huggingface/transformers';
const DTYPES: Readonly<Record<string, string>> = { float32: 'fp32', int8: 'q8' };

class Transformers implements Contender {
  #module: TransformersModule | undefined;
  #model: Seq2SeqModel | undefined;
  #sources: readonly (readonly number[])[] = [];

  async load({ directory, dtype, threads }: LoadOptions): Promise<void> {
    const name = DTYPES[dtype];
    if (name === undefined) throw new Impossible(`no products in ${dtype} on the CPU`);
    const module = (await import(MODULE)) as TransformersModule;
    module.env.allowRemoteModels = false;
    module.env.localModelPath = path.dirname(directory);
    this.#module = module;
    this.#model = await module.AutoModelForSeq2SeqLM.from_pretrained(path.basename(directory), {
      dtype: name,
      device: 'cpu',
      local_files_only: true,
      session_options: { intraOpNumThreads: threads, interOpNumThreads: 1 },
    });
  }

  async encode(sources: readonly (readonly number[])[]): Promise<void> {
    this.#sources = sources;
    await this.#generate(1, () => undefined);
  }

  /** It cannot go on from an encoded source: it encodes again, which does not count. */
  async decode({ numBeams, newTokens }: DecodingOptions): Promise<DecodedTokens> {
    if (numBeams > 1) throw new Impossible('transformers.js has no beam search');
    const times: number[] = [];
    const output = await this.#generate(newTokens, () => times.push(performance.now()));
    // The first call has the start token, the second the first generated one.
    const [, first = NaN] = times;
    const stepMilliseconds = ((times.at(-1) ?? NaN) - first) / (newTokens - 1);
    return { stepMilliseconds, tokenIds: output.map((row) => row.slice(1).map(Number)) };
  }

  release(): Promise<void> {
    this.#sources = [];
    return Promise.resolve();
  }

  async #generate(newTokens: number, onTokens: () => void): Promise<bigint[][]> {
    const [module, model] = [this.#module, this.#model];
    if (module === undefined || model === undefined) throw new Error('called out of order');
    const dims = [this.#sources.length, this.#sources[0]?.length ?? 0];
    const ids = BigInt64Array.from(this.#sources.flat(), BigInt);
    const ones = new BigInt64Array(ids.length).fill(1n);
    const output = await model.generate({
      inputs: new module.Tensor('int64', ids, dims),
      attention_mask: new module.Tensor('int64', ones, dims),
      max_new_tokens: newTokens,
      min_new_tokens: newTokens,
      do_sample: false,
      streamer: { put: onTokens, end: () => undefined },
    });
    return output.tolist();
  }
}

serve(new Transformers());
