/** Parquet files made by hand, to lie in any of their fields (numbers are those of parquet.thrift). */

/** A value of Thrift's compact protocol; a struct is its fields by their ids. */
export type Thrift = number | boolean | string | Uint8Array | readonly Thrift[] | ThriftFields;
export interface ThriftFields {
  readonly [id: number]: Thrift;
}

const STRUCT = 12;

export function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) + 0x80);
  return Buffer.from([...bytes, rest]);
}

export function thrift(fields: ThriftFields): Buffer {
  let last = 0;
  const parts = Object.entries(fields).map(([name, value]: [string, Thrift]) => {
    const id = Number(name);
    const head = Buffer.from([((id - last) << 4) | typeOf(value)]);
    last = id;
    return typeof value === 'boolean' ? head : Buffer.concat([head, valueBytes(value)]);
  });
  return Buffer.concat([...parts, Buffer.alloc(1)]);
}

function typeOf(value: Thrift): number {
  if (typeof value === 'boolean') return value ? 1 : 2;
  if (typeof value === 'number') return 6;
  if (typeof value === 'string' || value instanceof Uint8Array) return 8;
  return Array.isArray(value) ? 9 : STRUCT;
}

function valueBytes(value: Exclude<Thrift, boolean>): Buffer {
  if (typeof value === 'number') return varint(value < 0 ? -2 * value - 1 : 2 * value);
  if (typeof value === 'string') return valueBytes(Buffer.from(value));
  if (value instanceof Uint8Array) return Buffer.concat([varint(value.length), value]);
  if (!Array.isArray(value)) return thrift(value);
  const items = value as readonly Exclude<Thrift, boolean>[];
  const type = items[0] === undefined ? STRUCT : typeOf(items[0]);
  const head = Buffer.concat([Buffer.from([0xf0 | type]), varint(items.length)]);
  return Buffer.concat([head, ...items.map(valueBytes)]);
}

/** Texts in the encoding PLAIN. */
export function plain(...texts: (string | Uint8Array)[]): Buffer {
  return Buffer.concat(
    texts.flatMap((text) => {
      const bytes = Buffer.from(text);
      const length = Buffer.alloc(4);
      length.writeUInt32LE(bytes.length);
      return [length, bytes];
    }),
  );
}

/** A page: its header, of which `fields` replaces some, and its body. */
export function page(body: Uint8Array, fields: ThriftFields): Buffer {
  return Buffer.concat([thrift({ 1: 0, 2: body.length, 3: body.length, ...fields }), body]);
}

/** A data page of version 1 with `count` values. */
export function dataPage(body: Uint8Array, count: number, encoding = 0): Buffer {
  return page(body, { 5: { 1: count, 2: encoding, 3: 3, 4: 3 } });
}

export function dictionaryPage(body: Uint8Array, count: number): Buffer {
  return page(body, { 1: 2, 7: { 1: count, 2: 0 } });
}

/** A column whose values cannot be null; the fields given replace those that are true. */
export interface MadeColumn {
  readonly pages: readonly Buffer[];
  readonly element?: ThriftFields;
  readonly chunk?: ThriftFields;
  readonly metadata?: ThriftFields;
}

/** A file of one row group with the columns "source" and, of `rows` texts "b", "target". */
export function parquetBytes(source: MadeColumn, rows = 1, footer: ThriftFields = {}): Buffer {
  const target = { pages: [dataPage(plain(...Array<string>(Math.min(rows, 9)).fill('b')), rows)] };
  const columns = Object.entries<MadeColumn>({ source, target });
  let offset = 4;
  const chunks = columns.map(([name, { pages, chunk, metadata }]) => {
    const size = pages.reduce((sum, bytes) => sum + bytes.length, 0);
    const fields = { 1: 6, 2: [0], 3: [name], 4: 0, 5: rows, 6: size, 7: size, 9: offset };
    offset += size;
    return { 2: 0, 3: { ...fields, ...metadata }, ...chunk };
  });
  const elements = columns.map(([name, { element }]) => ({
    1: 6,
    3: 0,
    4: name,
    6: 0,
    ...element,
  }));
  const metadata = thrift({
    1: 1,
    2: [{ 4: 'schema', 5: elements.length }, ...elements],
    3: rows,
    4: [{ 1: chunks, 2: offset, 3: rows }],
    ...footer,
  });
  return wrap(Buffer.concat(columns.flatMap(([, { pages }]) => pages)), metadata);
}

/** Pages and a footer between the magic words. */
export function wrap(pages: Uint8Array, footer: Uint8Array): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(footer.length);
  const magic = Buffer.from('PAR1');
  return Buffer.concat([magic, pages, footer, length, magic]);
}
