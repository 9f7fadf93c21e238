import { createReadStream } from 'node:fs';
import { pipeline, type Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { WgqaError } from '../errors.ts';

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
  const stream = openStream(path);
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let rest = '';
  let number = 0;
  try {
    for await (const chunk of stream as AsyncIterable<Uint8Array>) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        number += 1;
        yield checkedLine(path, line, number, maxLineLength);
      }
      checkedLine(path, rest, number + 1, maxLineLength);
    }
    rest += decoder.decode();
    if (rest !== '') yield checkedLine(path, rest, number + 1, maxLineLength);
  } catch (cause) {
    throw readingError(path, number + 1, cause);
  } finally {
    stream.destroy();
  }
}

function openStream(path: string): Readable {
  const file = createReadStream(path);
  if (!path.endsWith('.gz')) return file;
  // pipeline() forwards errors and closes both ends; the reader sees the error on `unzipped`.
  const unzipped = createGunzip();
  pipeline(file, unzipped, () => undefined);
  return unzipped;
}

function checkedLine(path: string, line: string, number: number, maxLength: number): Line {
  if (line.length > maxLength) {
    throw malformedLine(path, number, `the line has over ${String(maxLength)} characters`);
  }
  return { text: line.endsWith('\r') ? line.slice(0, -1) : line, number };
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
