/** The child's side: a contender that does what the benchmark asks for. */
import type { Answer, DecodingOptions, Encoded, LoadOptions, Request } from './protocol.ts';

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

/** Thrown by a contender that has no such feature. */
export class ImpossibleError extends Error {}

/** Answers the parent's requests one by one, until it hangs up. */
export function serve(contender: Contender): void {
  process.on('message', (request: Request) => {
    void answer(contender, request).then((reply) => process.send?.(reply));
  });
}

async function answer(contender: Contender, request: Request): Promise<Answer> {
  try {
    // What is undefined would not arrive.
    return { result: (await perform(contender, request)) ?? null };
  } catch (error) {
    const impossible = error instanceof ImpossibleError;
    return { error: error instanceof Error ? error.message : String(error), impossible };
  }
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
