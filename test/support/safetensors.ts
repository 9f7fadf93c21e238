/** Safetensors files byte by byte, valid or not. */

/** A file of this header (an object, or the text itself) before these data bytes. */
export function safetensorsBytes(header: unknown, data: Uint8Array = new Uint8Array()): Buffer {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json, data]);
}

export function entry(shape: readonly number[], start: number, end: number, dtype = 'F32') {
  return { dtype, shape, data_offsets: [start, end] };
}
