import { tooManyPairs } from '../capacity.ts';
import { takeTurns } from '../turns.ts';
import { RandomAccessFile } from './file.ts';
import { findChunk, findTextColumn, readFooter, rowGroupsOf } from './footer.ts';
import { readPages, type PageValues } from './pages.ts';
import { located, malformed } from './problem.ts';

/** One row; a text is undefined where it is null. */
export interface ParquetRow {
  readonly source: string | undefined;
  readonly target: string | undefined;
  /** The row's number, counted from 1. */
  readonly line: number;
}

/** Names of the two columns, as in JSON lines: of a column, or a dotted path into structs. */
export interface ParquetColumns {
  readonly source: string;
  readonly target: string;
}

export interface ParquetLimits {
  /** Characters of a text. */
  readonly maxLength: number;
  /** Rows that the file may declare: a run of them takes no bytes in the file. */
  readonly maxPairs: number;
}

/**
 * Yields two columns of text of a Parquet file (https://parquet.apache.org/docs/file-format/), and
 * reads nothing of the others. Pages may be of version 1 or 2, PLAIN or with dictionaries (as
 * pyarrow, Hugging Face, Spark and DuckDB write text by default), uncompressed or compressed with
 * snappy, gzip or Brotli, and with zstd from Node 22.15. Memory use depends on the size of a page
 * and a dictionary, not on that of the row groups or the file, and the event loop runs in between.
 *
 * What a file says of itself is checked before memory is taken for it: a footer has at most 16 MiB
 * and 2^20 values, a page 128 MiB, a text `maxLength` characters. Checksums are, where there are any.
 *
 * @throws WgqaError `INVALID_FILE` with `field` "file:row" for a page that is malformed (the row is
 *   the first that was not read), and the file alone for its footer, a missing column or one that
 *   is not text; `OUT_OF_MEMORY` for more than `maxPairs` rows; `UNSUPPORTED` for another encoding or
 *   compression, or encryption; `NOT_FOUND`; `IO`
 */
export async function* readParquet(
  path: string,
  columns: ParquetColumns,
  { maxLength, maxPairs }: ParquetLimits,
): AsyncGenerator<ParquetRow> {
  const file = await RandomAccessFile.open(path);
  const letOthersRun = takeTurns();
  let row = 0;
  try {
    const footer = await readFooter(file);
    const groups = rowGroupsOf(footer);
    const declared = groups.reduce((sum, { rows }) => sum + rows, 0);
    if (declared > maxPairs) throw tooManyPairs(path, maxPairs);
    const found = [columns.source, columns.target].map((name) => findTextColumn(footer, name));
    for (const { columns: chunks, rows } of groups) {
      if (rows === 0) continue;
      row += 1; // what fails before the first row is read has its number
      const [source, target] = found.map((column) => {
        const chunk = findChunk(chunks, column, rows, file.size);
        return new TextReader(readPages(file, chunk, letOthersRun), maxLength);
      }) as [TextReader, TextReader];
      for (const end = row + rows; row < end; row += 1) {
        yield { source: await source.next(), target: await target.next(), line: row };
        await letOthersRun();
      }
      row -= 1;
    }
  } catch (error) {
    throw located(error, row === 0 ? path : `${path}:${String(row)}`);
  } finally {
    await file.close();
  }
}

/** The texts of a column chunk, across its pages. */
class TextReader {
  readonly #pages: AsyncIterator<PageValues>;
  readonly #maxLength: number;
  // A mark at the start is part of a text; in a file it is not.
  readonly #decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  #values: PageValues | undefined;

  constructor(pages: AsyncIterator<PageValues>, maxLength: number) {
    this.#pages = pages;
    this.#maxLength = maxLength;
  }

  /** The next text, undefined where it is null. */
  async next(): Promise<string | undefined> {
    for (;;) {
      const next = this.#values?.next();
      if (next?.done === false) return next.value && this.#decode(next.value);
      const page = await this.#pages.next();
      if (page.done === true) throw malformed('a column has fewer values than rows');
      this.#values = page.value;
    }
  }

  #decode(bytes: Uint8Array): string {
    // No character (UTF-16 unit) has more than three bytes: refused before memory is taken.
    const text = bytes.length > 3 * this.#maxLength ? undefined : this.#decodeUtf8(bytes);
    if (text !== undefined && text.length <= this.#maxLength) return text;
    throw malformed(`the text has over ${String(this.#maxLength)} characters`);
  }

  #decodeUtf8(bytes: Uint8Array): string {
    try {
      return this.#decoder.decode(bytes);
    } catch (cause) {
      throw malformed('the text is not valid UTF-8', cause);
    }
  }
}
