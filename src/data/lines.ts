import { pipeline, type Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { WgqaError } from '../errors.ts';
import { openToRead } from './open-file.ts';

export interface Line {
  /** Without its line break. */
  readonly text: string;
  /** Counted from 1. */
  readonly number: number;
}

/** A malformed line; `field` and the message's start are "file:line". */
export function malformedLine(path: string, line: number, problem: string): WgqaError {
  const field = `${path}:${String(line)}`;
  return new WgqaError('INVALID_FILE', `${field}: ${problem}`, { field });
}

/**
 * Yields the lines of a UTF-8 text file, decompressed when its name ends in ".gz". Memory use does
 * not depend on the file's size, and the event loop runs between the pieces that are read.
 *
 * @throws WgqaError `NOT_FOUND`, `IO`, or `INVALID_FILE` for what is no UTF-8, no whole gzip file
 *   or has a line of more than `maxLineLength` characters.
 */
export async function* readLines(path: string, maxLineLength: number): AsyncGenerator<Line> {
  let stream: Readable;
  try {
    stream = await openStream(path);
  } catch (cause) {
    throw readingError(path, 0, cause);
  }
  try {
    yield* splitLines(stream, path, maxLineLength);
  } finally {
    stream.destroy();
  }
}

/**
 * Yields the lines of a stream of UTF-8; errors call it `name`.
 *
 * @throws WgqaError as {@link readLines} does
 */
export async function* splitLines(
  stream: AsyncIterable<Uint8Array | string>,
  name: string,
  maxLineLength: number,
): AsyncGenerator<Line> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  const rest = new LineRest(name, maxLineLength);
  let number = 0;
  try {
    for await (const chunk of stream) {
      const text = typeof chunk === 'string' ? chunk : decoder.decode(chunk, { stream: true });
      const lines = text.split('\n');
      const unfinished = lines.pop() ?? '';
      for (const line of lines) {
        number += 1;
        yield rest.finish(line, number);
      }
      rest.add(unfinished, number + 1);
    }
    const last = decoder.decode();
    if (last !== '' || !rest.isEmpty) yield rest.finish(last, number + 1);
  } catch (cause) {
    throw readingError(name, number + 1, cause);
  }
}

/** The pieces of a line whose end is not read yet: joined once, so that long lines take linear time. */
class LineRest {
  readonly #path: string;
  readonly #maxLength: number;
  #pieces: string[] = [];
  #length = 0;

  constructor(path: string, maxLength: number) {
    this.#path = path;
    this.#maxLength = maxLength;
  }

  get isEmpty(): boolean {
    return this.#length === 0;
  }

  add(piece: string, number: number): void {
    if (piece === '') return;
    this.#length += piece.length;
    if (this.#length > this.#maxLength) {
      const problem = `the line has over ${this.#maxLength} characters`;
      throw malformedLine(this.#path, number, problem);
    }
    this.#pieces.push(piece);
  }

  /** The whole line, which ends with `piece`. */
  finish(piece: string, number: number): Line {
    this.add(piece, number);
    const [only = ''] = this.#pieces;
    const text = this.#pieces.length > 1 ? this.#pieces.join('') : only;
    this.#pieces = [];
    this.#length = 0;
    return { text: text.endsWith('\r') ? text.slice(0, -1) : text, number };
  }
}

async function openStream(path: string): Promise<Readable> {
  const file = await openToRead(path);
  if (!path.endsWith('.gz')) return file;
  // pipeline() forwards errors and closes both ends; the reader sees the error on `unzipped`.
  const unzipped = createGunzip();
  pipeline(file, unzipped, () => undefined);
  return unzipped;
}

/** What made reading fail, as the error that callers see; `line` is where, if that is known. */
export function readingError(path: string, line: number, cause: unknown): unknown {
  if (cause instanceof WgqaError) return cause;
  const code = (cause as NodeJS.ErrnoException).code ?? '';
  if (code === 'ENOENT' || code === 'ENOTDIR') {
    return new WgqaError('NOT_FOUND', `${path} does not exist`, { field: path, cause });
  }
  if (code === 'ERR_ENCODING_INVALID_ENCODED_DATA') {
    return malformedLine(path, line, 'the text is not valid UTF-8');
  }
  if (code.startsWith('Z_')) {
    return new WgqaError('INVALID_FILE', `${path} is not a whole gzip file`, {
      field: path,
      cause,
    });
  }
  // An exception that a consumer throws into the generator, or a bug, keeps its own type.
  if (code === '') return cause;
  return new WgqaError('IO', `cannot read ${path}: ${String(cause)}`, { field: path, cause });
}
