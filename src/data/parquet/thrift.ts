/**
 * Thrift's compact protocol, in which Parquet writes its metadata.
 * Source: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
 */
import { EndOfBytes, malformed } from './problem.ts';

export type ThriftValue = boolean | number | Uint8Array | readonly ThriftValue[] | ThriftStruct;

const TRUE = 1;
const FALSE = 2;
const BYTE = 3;
const INTEGERS: readonly number[] = [4, 5, 6]; // of 16, 32 and 64 bits, all written alike
const DOUBLE = 7;
const BINARY = 8;
const LISTS: readonly number[] = [9, 10]; // list and set
const STRUCT = 12;

const MAX_DEPTH = 32;
const MAX_VARINT_BYTES = 10; // 64 bits

/** The fields of a struct by their ids; each getter names what is missing or of another type. */
export class ThriftStruct {
  readonly #fields = new Map<number, ThriftValue>();

  set(id: number, value: ThriftValue): void {
    this.#fields.set(id, value);
  }

  has(id: number): boolean {
    return this.#fields.has(id);
  }

  /** True unless the field is there and false. */
  isNotFalse(id: number): boolean {
    return this.#fields.get(id) !== false;
  }

  /** An integer from `min`. */
  integer(id: number, name: string, min = 0): number {
    const value = this.#fields.get(id);
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= min) return value;
    throw malformed(`its ${name} must be an integer from ${String(min)}`);
  }

  optionalInteger(id: number, name: string, min = 0): number | undefined {
    return this.has(id) ? this.integer(id, name, min) : undefined;
  }

  text(id: number, name: string): string {
    return asText(this.#fields.get(id), name);
  }

  texts(id: number, name: string): string[] {
    return this.#list(id, name).map((value) => asText(value, name));
  }

  struct(id: number, name: string): ThriftStruct {
    return asStruct(this.#fields.get(id), name);
  }

  structs(id: number, name: string): ThriftStruct[] {
    return this.#list(id, name).map((value) => asStruct(value, name));
  }

  #list(id: number, name: string): readonly ThriftValue[] {
    const value = this.#fields.get(id);
    if (Array.isArray(value)) return value as readonly ThriftValue[];
    throw malformed(`its ${name} must be a list`);
  }
}

function asText(value: ThriftValue | undefined, name: string): string {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('utf8');
  throw malformed(`its ${name} must be text`);
}

function asStruct(value: ThriftValue | undefined, name: string): ThriftStruct {
  if (value instanceof ThriftStruct) return value;
  throw malformed(`its ${name} must be a struct`);
}

/**
 * Reads one struct from the start of `bytes`. Work and memory are in proportion to `bytes.length`.
 *
 * @param maxValues most values in it, at all depths; one takes up to 256 bytes of memory
 * @returns the struct and the number of bytes it took
 * @throws ParquetProblem for what is no struct, has more values or is nested deeper than 32;
 *   EndOfBytes when the bytes end before the struct does
 */
export function readStruct(
  bytes: Uint8Array,
  maxValues: number,
): { struct: ThriftStruct; length: number } {
  const reader = new Reader(bytes, maxValues);
  const struct = reader.struct(0);
  return { struct, length: reader.offset };
}

class Reader {
  offset = 0;
  readonly #bytes: Uint8Array;
  #valuesLeft: number;

  constructor(bytes: Uint8Array, maxValues: number) {
    this.#bytes = bytes;
    this.#valuesLeft = maxValues;
  }

  struct(depth: number): ThriftStruct {
    if (depth > MAX_DEPTH) throw malformed('its metadata are nested too deep');
    const struct = new ThriftStruct();
    let id = 0;
    for (;;) {
      const head = this.#byte();
      if (head === 0) return struct;
      const delta = head >>> 4;
      id = delta === 0 ? this.#integer() : id + delta;
      const type = head & 0x0f;
      // Within a struct the type of a boolean field is its value.
      const isBoolean = type === TRUE || type === FALSE;
      this.#countValue();
      struct.set(id, isBoolean ? type === TRUE : this.#value(type, depth));
    }
  }

  #countValue(): void {
    this.#valuesLeft -= 1;
    if (this.#valuesLeft < 0) throw malformed('its metadata have too many values');
  }

  #value(type: number, depth: number): ThriftValue {
    if (type === TRUE || type === FALSE) return this.#byte() === TRUE;
    if (type === BYTE) return this.#byte();
    if (INTEGERS.includes(type)) return this.#integer();
    if (type === DOUBLE) return this.#take(8);
    if (type === BINARY) return this.#take(this.#varint());
    if (LISTS.includes(type)) return this.#list(depth);
    if (type === STRUCT) return this.struct(depth + 1);
    throw malformed(`its metadata have a value of unknown type ${String(type)}`);
  }

  #list(depth: number): ThriftValue[] {
    if (depth > MAX_DEPTH) throw malformed('its metadata are nested too deep');
    const head = this.#byte();
    const length = head >>> 4 === 15 ? this.#varint() : head >>> 4;
    const values: ThriftValue[] = [];
    // Each element takes a byte at least, so that a length which lies soon meets the end.
    while (values.length < length) {
      this.#countValue();
      values.push(this.#value(head & 0x0f, depth + 1));
    }
    return values;
  }

  #byte(): number {
    const byte = this.#bytes[this.offset];
    if (byte === undefined) throw new EndOfBytes();
    this.offset += 1;
    return byte;
  }

  #take(length: number): Uint8Array {
    if (length > this.#bytes.length - this.offset) throw new EndOfBytes();
    this.offset += length;
    return this.#bytes.subarray(this.offset - length, this.offset);
  }

  /** Above 2^53 it is not exact, and `ThriftStruct.integer` refuses it. */
  #varint(): number {
    let value = 0;
    for (let index = 0; index < MAX_VARINT_BYTES; index += 1) {
      const byte = this.#byte();
      value += (byte & 0x7f) * 2 ** (7 * index);
      if (byte < 0x80) return value;
    }
    throw malformed('its metadata have an integer of over 64 bits');
  }

  /** Zigzag: 0, -1, 1, -2, … are 0, 1, 2, 3, … */
  #integer(): number {
    const value = this.#varint();
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  }
}
