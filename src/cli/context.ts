/** What a command may use of its surroundings; tests bring their own. */
import { visible, visibleJson } from './visible.ts';

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

/** The reason of an abort by a signal of the system. */
export class InterruptedError extends Error {
  /** As shells tell it: 128 and the signal's number. */
  readonly exitCode: 130 | 143;

  constructor(name: 'SIGINT' | 'SIGTERM') {
    super(`interrupted by ${name}`);
    this.exitCode = name === 'SIGINT' ? 130 : 143;
  }
}

/** Writes one JSON document. */
export function printJson({ stdout }: CliContext, value: unknown): void {
  stdout.write(`${visibleJson(value, 2)}\n`);
}

/** Writes lines of text. */
export function printLines({ stdout }: CliContext, ...lines: readonly string[]): void {
  stdout.write(`${visible(lines.join('\n'))}\n`);
}

/** Writes what a model wrote: to a file or pipe as it is. */
export function printText({ stdout }: CliContext, text: string): void {
  stdout.write(stdout.isTTY === true ? visible(text) : text);
}

/** Says what the user should know, and goes on. */
export function warn({ stderr }: CliContext, text: string): void {
  stderr.write(`wgqa: warning: ${visible(text)}\n`);
}
