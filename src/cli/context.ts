/** What a command may use of its surroundings; tests bring their own. */
export interface CliContext {
  /** Text in UTF-8, in pieces of any size. */
  readonly stdin: AsyncIterable<string | Uint8Array>;
  readonly stdout: OutputStream;
  readonly stderr: OutputStream;
  /** Fires when the user, or the reader of the output, wants no more. */
  readonly signal: AbortSignal;
}

/** The part of a `tty.WriteStream` that is used. */
export interface OutputStream {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
}

/** The reason of an abort because nobody reads the output any more: no failure. */
export class OutputClosedError extends Error {
  constructor() {
    super('the output was closed');
  }
}

/** Writes one JSON document. */
export function printJson({ stdout }: CliContext, value: unknown): void {
  stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}

/** Writes lines of text. */
export function printLines({ stdout }: CliContext, ...lines: readonly string[]): void {
  stdout.write(`${lines.join('\n')}\n`);
}
