import { invalidArgument, shorten } from '../errors.ts';
import {
  checkOptions,
  checkValue,
  integerIn,
  isRecord,
  oneOf,
  pathRule,
  stringRule,
  type Rules,
} from '../options.ts';
import { tooManyPairs } from './capacity.ts';
import { readCsv, readTsv, type DelimitedRecord } from './delimited.ts';
import { malformedLine, readLines, type Line } from './lines.ts';
import { readParquet } from './parquet/index.ts';

/** What a model reads and what it shall write. */
export interface TextPair {
  readonly source: string;
  readonly target: string;
}

/** The formats of files of text pairs. */
export const PAIR_FORMATS = ['jsonl', 'csv', 'tsv', 'parquet'] as const;
export type PairFormat = (typeof PAIR_FORMATS)[number];

export interface ReadPairsOptions {
  /**
   * Default: by the file's name, ".parquet", or ".jsonl", ".ndjson", ".csv" or ".tsv" with or
   * without ".gz".
   */
  readonly format?: PairFormat;
  /**
   * Name of the JSON member or column that holds the source; in JSON lines and Parquet also a
   * dotted path, as "translation.en", unless a member has that very name. Default "source".
   */
  readonly sourceField?: string;
  /** The same for the target. Default "target". */
  readonly targetField?: string;
  /** Put before each source, as T5's "summarize: ". Default "". */
  readonly prefix?: string;
  /** Most characters of a line, a CSV record, or a text in a Parquet file. Default 1,000,000. */
  readonly maxLineLength?: number;
  /**
   * Most pairs of the file; of a Parquet file that declares more, nothing is read. Default: no limit
   * of {@link readPairs}, which holds one at a time, and of `loadDataset` as many as this process's
   * heap has room for.
   */
  readonly maxPairs?: number;
}

export const READ_PAIRS_RULES = {
  format: oneOf(...PAIR_FORMATS),
  sourceField: stringRule,
  targetField: stringRule,
  prefix: { allowed: 'a string', accepts: (value): value is string => typeof value === 'string' },
  maxLineLength: integerIn(1),
  maxPairs: integerIn(1),
} satisfies Rules;

// Parquet is compressed within, and cannot be read from the middle of a ".gz".
const FORMAT_OF_NAME: readonly (readonly [RegExp, PairFormat])[] = [
  [/\.(?:jsonl|ndjson)(?:\.gz)?$/, 'jsonl'],
  [/\.csv(?:\.gz)?$/, 'csv'],
  [/\.tsv(?:\.gz)?$/, 'tsv'],
  [/\.parquet$/, 'parquet'],
];
const DEFAULT_MAX_LINE_LENGTH = 1_000_000;

/** Names of the fields. */
interface Columns {
  readonly source: string;
  readonly target: string;
}

/** What the fields of one line, record or row hold, text or not. */
interface Row {
  readonly source: unknown;
  readonly target: unknown;
  /** Its number, counted from 1. */
  readonly line: number;
}

/**
 * Yields the text pairs of a file of JSON lines, CSV or TSV (both with a header), plain or gzip, or
 * of a Parquet file as Hugging Face stores data sets ({@link readParquet} says which those are).
 * Empty lines are skipped; an empty text is one, of its end token alone.
 *
 * @throws WgqaError `INVALID_FILE` with `field` "file:line", or "file:row" counted from 1, for a
 *   line or row that is malformed or lacks a field or its text, and the file alone where Parquet's
 *   metadata are wrong; `OUT_OF_MEMORY` for more than `maxPairs`; `UNSUPPORTED` for an encoding or compression in Parquet that cannot be read;
 *   `NOT_FOUND`; `IO`; `INVALID_ARGUMENT` for a name whose format is unknown.
 */
export async function* readPairs(
  path: string,
  options: ReadPairsOptions = {},
): AsyncGenerator<TextPair> {
  checkValue(path, pathRule, 'path');
  const {
    format = formatOf(path),
    sourceField = 'source',
    targetField = 'target',
    prefix = '',
    maxLineLength: maxLength = DEFAULT_MAX_LINE_LENGTH,
    maxPairs = Infinity,
  } = checkOptions(options, READ_PAIRS_RULES);
  const columns = { source: sourceField, target: targetField };
  let count = 0;
  for await (const row of READERS[format](path, columns, { maxLength, maxPairs })) {
    if (count === maxPairs) throw tooManyPairs(path, maxPairs);
    count += 1;
    const source = requireText(row.source, sourceField, path, row.line);
    const target = requireText(row.target, targetField, path, row.line);
    if (count === 1 && prefix !== '' && source.startsWith(prefix)) warnOfPrefix(path, prefix);
    yield { source: prefix + source, target };
  }
}

/** Some files hold sources with the prefix, and some without. */
function warnOfPrefix(path: string, prefix: string): void {
  const text = JSON.stringify(shorten(prefix, 80));
  process.emitWarning(`${path}: sources begin with the prefix ${text} already; now it is doubled`, {
    type: 'WgqaWarning',
    code: 'DOUBLED_PREFIX',
  });
}

function formatOf(path: string): PairFormat {
  const format = FORMAT_OF_NAME.find(([name]) => name.test(path))?.[1];
  if (format !== undefined) return format;
  const allowed = 'a file name with .parquet, or .jsonl, .ndjson, .csv or .tsv (.gz)';
  throw invalidArgument('path', allowed, path);
}

interface Limits {
  readonly maxLength: number;
  readonly maxPairs: number;
}

type Reader = (path: string, columns: Columns, limits: Limits) => AsyncIterable<Row>;

/** The reader of each format. */
const READERS: Readonly<Record<PairFormat, Reader>> = {
  jsonl: (path, columns, { maxLength }) => readJsonLines(readLines(path, maxLength), path, columns),
  csv: (path, columns, { maxLength }) =>
    readTable(readCsv(readLines(path, maxLength), path, maxLength), path, columns),
  tsv: (path, columns, { maxLength }) =>
    readTable(readTsv(readLines(path, maxLength)), path, columns),
  parquet: readParquet,
};

async function* readJsonLines(
  lines: AsyncIterable<Line>,
  path: string,
  columns: Columns,
): AsyncGenerator<Row> {
  for await (const { text, number } of lines) {
    if (text.trim() === '') continue;
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (error) {
      throw malformedLine(path, number, `not valid JSON: ${(error as Error).message}`);
    }
    if (typeof value !== 'object' || value === null) {
      throw malformedLine(path, number, 'the line must be a JSON object');
    }
    yield {
      source: memberOf(value, columns.source),
      target: memberOf(value, columns.target),
      line: number,
    };
  }
}

/** The member of that name, or at the end of that dotted path; undefined if there is none. */
function memberOf(object: object, path: string): unknown {
  if (Object.hasOwn(object, path)) return (object as Readonly<Record<string, unknown>>)[path];
  let value: unknown = object;
  for (const name of path.split('.')) {
    if (!isRecord(value) || !Object.hasOwn(value, name)) return undefined;
    value = value[name];
  }
  return value;
}

async function* readTable(
  records: AsyncIterable<DelimitedRecord>,
  path: string,
  columns: Columns,
): AsyncGenerator<Row> {
  let header: DelimitedRecord | undefined;
  let indices = { source: 0, target: 0 };
  for await (const record of records) {
    if (header === undefined) {
      header = record;
      indices = {
        source: findColumn(record, columns.source, path),
        target: findColumn(record, columns.target, path),
      };
      continue;
    }
    const { fields, line } = record;
    if (fields.length !== header.fields.length) {
      const expected = `where the header has ${String(header.fields.length)}`;
      throw malformedLine(path, line, `${String(fields.length)} fields ${expected}`);
    }
    yield { source: fields[indices.source], target: fields[indices.target], line };
  }
}

function findColumn(header: DelimitedRecord, name: string, path: string): number {
  const index = header.fields.indexOf(name);
  if (index >= 0) return index;
  throw malformedLine(path, header.line, `no column "${name}" among: ${header.fields.join(', ')}`);
}

function requireText(value: unknown, name: string, path: string, line: number): string {
  if (typeof value === 'string') return value;
  throw malformedLine(path, line, `"${name}" must be text`);
}
