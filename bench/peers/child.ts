/** The parent's side: a contender in a process of its own. */
import path from 'node:path';
import { AskedProcess } from '../asked-process.ts';
import { withoutLimits } from '../instruction-sets.ts';
import type {
  Decoded,
  DecodingOptions,
  Encoded,
  Loaded,
  LoadOptions,
  Request,
} from './protocol.ts';

/** The contender that an instruction set binds: ourselves. */
const OURS = 'wgqa.ts';

export class Child implements AsyncDisposable {
  readonly #process: AskedProcess;

  /** @param program a file of this folder that calls serve() */
  constructor(program: string) {
    this.#process = new AskedProcess(path.join(import.meta.dirname, program), {
      env: program === OURS ? process.env : withoutLimits(process.env),
    });
  }

  async load(options: LoadOptions): Promise<Loaded> {
    return (await this.#ask({ call: 'load', options })) as Loaded;
  }

  async encode(sources: readonly (readonly number[])[]): Promise<Encoded> {
    return (await this.#ask({ call: 'encode', sources })) as Encoded;
  }

  async decode(decoding: DecodingOptions): Promise<Decoded> {
    return (await this.#ask({ call: 'decode', decoding })) as Decoded;
  }

  async release(): Promise<void> {
    await this.#ask({ call: 'release' });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process[Symbol.asyncDispose]();
  }

  #ask(request: Request): Promise<unknown> {
    return this.#process.ask(request);
  }
}
