/**
 * The footer of a Parquet file: its schema, and where the columns of each row group are.
 * Source: https://github.com/apache/parquet-format (README.md and src/main/thrift/parquet.thrift,
 * whose field numbers are the integers below)
 */
import type { RandomAccessFile } from './file.ts';
import { malformed, unsupported } from './problem.ts';
import { readStruct, type ThriftStruct } from './thrift.ts';

/** A column of text, none of whose ancestors repeats. */
export interface TextColumn {
  /** Names from the schema's root. */
  readonly path: readonly string[];
  /** Nodes of the path that may be null; a value is there when its level is this. */
  readonly maxDefinitionLevel: number;
}

/** The pages of a column in one row group. */
export interface ColumnChunk {
  readonly column: TextColumn;
  /** Number in the format's enumeration CompressionCodec. */
  readonly codec: number;
  /** With those that are null. */
  readonly valueCount: number;
  /** First byte in the file, and the one behind the last. */
  readonly start: number;
  readonly end: number;
}

const MAGIC = 'PAR1';
const ENCRYPTED_MAGIC = 'PARE';
/** Most bytes of a footer. */
export const MAX_FOOTER_BYTES = 2 ** 24;
// Enough for 40,000 column chunks with statistics; the worst of them take 256 MiB of memory.
const MAX_FOOTER_VALUES = 2 ** 20;
const MAX_SCHEMA_DEPTH = 64;
const BYTE_ARRAY = 6;
const REQUIRED = 0;
const REPEATED = 2;
const CONVERTED_UTF8 = 0;
const SHOWN_COLUMNS = 20;

/**
 * The struct FileMetaData.
 *
 * @throws ParquetProblem for a file that is no Parquet file, is encrypted, or has a footer of more
 *   than 16 MiB or 2^20 values
 */
export async function readFooter(file: RandomAccessFile): Promise<ThriftStruct> {
  if (file.size < 12) throw malformed('it is too short for a Parquet file');
  const head = Buffer.from(await file.read(0, 4)).toString('latin1');
  const tail = Buffer.from(await file.read(file.size - 8, 8));
  const magics = [head, tail.toString('latin1', 4)];
  if (magics.includes(ENCRYPTED_MAGIC)) throw unsupported('it is encrypted');
  if (magics.some((magic) => magic !== MAGIC)) {
    throw malformed('it does not begin and end as a Parquet file: no such file, or cut off');
  }
  const length = tail.readUInt32LE(0);
  if (length > file.size - 12) throw malformed('its footer is longer than the file');
  if (length > MAX_FOOTER_BYTES) {
    throw malformed(`its footer has over ${String(MAX_FOOTER_BYTES)} bytes`);
  }
  return readStruct(await file.read(file.size - 8 - length, length), MAX_FOOTER_VALUES).struct;
}

/** The row groups, whose numbers of rows add up to the file's. */
export function rowGroupsOf(footer: ThriftStruct): { columns: ThriftStruct[]; rows: number }[] {
  const groups = footer.structs(4, 'row groups').map((group) => ({
    columns: group.structs(1, 'column chunks'),
    rows: group.integer(3, 'number of rows in a group'),
  }));
  const rows = groups.reduce((sum, group) => sum + group.rows, 0);
  if (rows !== footer.integer(3, 'number of rows')) {
    throw malformed('its row groups have not as many rows as the file');
  }
  return groups;
}

/**
 * The column of that name, or at the end of that dotted path, as in JSON lines.
 *
 * @throws ParquetProblem where there is none, or it is not text
 */
export function findTextColumn(footer: ThriftStruct, name: string): TextColumn {
  const leaves = leavesOf(footer.structs(2, 'schema'));
  const path = leaves.some((leaf) => leaf.path[0] === name) ? [name] : name.split('.');
  const within = leaves.filter((leaf) => path.every((part, index) => part === leaf.path[index]));
  const [leaf] = within;
  if (leaf === undefined) {
    const names = leaves.slice(0, SHOWN_COLUMNS).map((other) => other.path.join('.'));
    const more = leaves.length > SHOWN_COLUMNS ? ', …' : '';
    throw malformed(`no column "${name}" among: ${names.join(', ')}${more}`);
  }
  if (leaf.path.length === path.length && leaf.isText) return leaf;
  throw malformed(`the column "${name}" must hold text`);
}

interface Leaf extends TextColumn {
  readonly isText: boolean;
}

/** The columns of a schema, which lists the nodes of a tree depth first. */
function leavesOf(elements: readonly ThriftStruct[]): Leaf[] {
  const leaves: Leaf[] = [];
  let next = 1; // the root has no name of its own
  const visit = (parent: readonly string[], level: number, repeats: boolean): void => {
    const element = elements[next];
    next += 1;
    if (element === undefined) throw malformed('its schema ends early');
    if (parent.length === MAX_SCHEMA_DEPTH) throw malformed('its schema is nested too deep');
    const repetition = element.integer(3, 'repetition of a column');
    const path = [...parent, element.text(4, 'name of a column')];
    const maxDefinitionLevel = repetition === REQUIRED ? level : level + 1;
    const isRepeated = repeats || repetition === REPEATED;
    const children = element.optionalInteger(5, 'number of children') ?? 0;
    if (children === 0) {
      leaves.push({ path, maxDefinitionLevel, isText: !isRepeated && isString(element) });
    }
    for (let index = 0; index < children; index += 1) visit(path, maxDefinitionLevel, isRepeated);
  };
  const count = elements[0]?.integer(5, 'number of columns') ?? 0;
  for (let index = 0; index < count; index += 1) visit([], 0, false);
  return leaves;
}

function isString(element: ThriftStruct): boolean {
  if (element.optionalInteger(1, 'type of a column') !== BYTE_ARRAY) return false;
  if (element.optionalInteger(6, 'type of a column') === CONVERTED_UTF8) return true;
  return element.has(10) && element.struct(10, 'type of a column').has(1);
}

/**
 * The chunk of `column` among those of a row group.
 *
 * @throws ParquetProblem when there is none, it has not `rows` values, or is not in this file
 */
export function findChunk(
  chunks: readonly ThriftStruct[],
  column: TextColumn,
  rows: number,
  fileSize: number,
): ColumnChunk {
  const key = JSON.stringify(column.path);
  for (const chunk of chunks) {
    if (!chunk.has(3)) throw unsupported('a column of it is encrypted');
    const metadata = chunk.struct(3, 'column metadata');
    if (JSON.stringify(metadata.texts(3, 'path of a column')) !== key) continue;
    if (chunk.has(1)) throw unsupported('it keeps columns in other files');
    if (chunk.has(8)) throw unsupported('a column of it is encrypted');
    if (metadata.integer(1, 'type of a column') !== BYTE_ARRAY) {
      throw malformed('a row group has another type than the schema');
    }
    const valueCount = metadata.integer(5, 'number of values');
    if (valueCount !== rows) throw malformed('a column has not as many values as rows');
    const dataStart = metadata.integer(9, 'data page offset');
    const dictionaryStart = metadata.optionalInteger(11, 'dictionary offset') ?? 0;
    // Old writers put 0 where there is no dictionary.
    const start = dictionaryStart === 0 ? dataStart : Math.min(dictionaryStart, dataStart);
    const end = start + metadata.integer(7, 'size of a column');
    if (start < MAGIC.length || end > fileSize) throw malformed('a column lies outside the file');
    return { column, codec: metadata.integer(4, 'compression'), valueCount, start, end };
  }
  throw malformed(`a row group lacks the column "${column.path.join('.')}"`);
}
