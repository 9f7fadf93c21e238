/** The child's side: a contender that does what the benchmark asks for. */
import { answerRequests } from '../asked-process.ts';
import type { DecodingOptions, Encoded, LoadOptions, Request } from './protocol.ts';

export interface DecodedTokens {
  /** Of one decoding step of all rows, choosing tokens included. */
  readonly stepMilliseconds: number;
  /** The best sequence of each source. */
  readonly tokenIds: readonly (readonly number[])[];
}

export interface Contender {
  load(options: LoadOptions): Promise<void>;
  /** Encodes sources, all of one length, and chooses a first token of each. */
  encode(sources: readonly (readonly number[])[]): Promise<void>;
  /** Decodes from what encode() left; may be called again. */
  decode(options: DecodingOptions): Promise<DecodedTokens>;
  /** Frees what encode() left. */
  release(): Promise<void>;
}

/** Answers the parent's requests one by one, until it hangs up. */
export function serve(contender: Contender): void {
  answerRequests((request) => perform(contender, request as Request));
}

async function perform(contender: Contender, request: Request): Promise<unknown> {
  switch (request.call) {
    case 'load':
      return { milliseconds: await timed(() => contender.load(request.options)) };
    case 'encode': {
      const milliseconds = await timed(() => contender.encode(request.sources));
      return { milliseconds, residentBytes: residentBytes() } satisfies Encoded;
    }
    case 'decode':
      return { ...(await contender.decode(request.decoding)), residentBytes: residentBytes() };
    case 'release':
      return contender.release();
  }
}

async function timed(work: () => Promise<void>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

function residentBytes(): number {
  return process.memoryUsage.rss();
}
