/**
 * The tensors of a file of `torch.save`: a zip file since PyTorch 1.6, and before it pickles followed
 * by the bytes of each storage (https://github.com/pytorch/pytorch, torch/serialization.py). Only
 * where tensors lie is read here; views that are not dense keep their strides.
 */
import type { FileHandle } from 'node:fs/promises';
import { WgqaError } from '../../errors.ts';
import { foreignContent } from '../known-formats.ts';
import { readExactly, withRegularFile } from '../regular-file.ts';
import type { TensorEntry } from '../safetensors.ts';
import { PickleError } from './pickle.ts';
import { readPlainPickle, readState, type State, type Storage, type TensorView } from './state.ts';
import { ZipFile } from './zip.ts';

/** Enough for the description of 40,000 tensors. */
const MAX_PICKLE_BYTES = 8 << 20;
const LEGACY_MAGIC = 0x1950a86a20f9469cfc6cn;
const LEGACY_PROTOCOL = 1001;
const COUNT_BYTES = 8;

/** Where a storage starts in the file, and how many bytes it has there. */
interface Place {
  readonly offset: number;
  readonly bytes: number;
}

/**
 * Reads where the tensors of a PyTorch file lie, and runs nothing of it.
 * @throws WgqaError NOT_FOUND, IO, INVALID_FILE, UNSUPPORTED
 */
export async function readPytorchFile(file: string): Promise<ReadonlyMap<string, TensorEntry>> {
  return withRegularFile(file, async (handle, size) => {
    const start = await readExactly(handle, 0, Math.min(size, 128), file);
    const isZip = start.length >= 4 && start.readUInt32LE() === 0x04034b50;
    const foreign = isZip ? undefined : foreignContent(start);
    if (foreign !== undefined) throw malformed(file, foreign);
    try {
      return await (isZip ? readZip(handle, size, file) : readLegacy(handle, size, file));
    } catch (error) {
      if (!(error instanceof PickleError)) throw error;
      const cause = { field: file, cause: error };
      const message = `${file} is no PyTorch file of tensors: ${error.message}`;
      throw new WgqaError('INVALID_FILE', message, cause);
    }
  });
}

async function readZip(handle: FileHandle, size: number, file: string) {
  const zip = await ZipFile.read(handle, size, file);
  const description = [...zip.entries.values()].find(({ name }) => /^[^/]*\/data\.pkl$/.test(name));
  if (description === undefined) throw malformed(file, 'is a zip file, but not of PyTorch');
  const prefix = description.name.slice(0, -'data.pkl'.length);
  const read = async (name: string, maxBytes: number): Promise<Buffer | undefined> => {
    const entry = zip.entries.get(prefix + name);
    if (entry === undefined) return undefined;
    if (entry.bytes > maxBytes) throw malformed(file, `has ${name} of ${entry.bytes} bytes`);
    return readExactly(handle, await zip.locate(entry), entry.bytes, file);
  };
  const order = (await read('byteorder', 16))?.toString('latin1') ?? 'little';
  if (order !== 'little') throw bigEndian(file);
  const state = readState((await read('data.pkl', MAX_PICKLE_BYTES)) ?? Buffer.alloc(0), 0);
  const places = new Map<string, Place>();
  for (const { storage } of state.tensors.values()) {
    if (places.has(storage.key)) continue;
    const entry = zip.entries.get(`${prefix}data/${storage.key}`);
    if (entry === undefined) throw malformed(file, `lacks the storage ${storage.key}`);
    places.set(storage.key, { offset: await zip.locate(entry), bytes: entry.bytes });
  }
  return entriesOf(state, places, file);
}

async function readLegacy(handle: FileHandle, size: number, file: string) {
  const start = await readExactly(handle, 0, Math.min(size, MAX_PICKLE_BYTES), file);
  const magic = readPlainPickle(start, 0);
  if (magic.value !== LEGACY_MAGIC) throw new PickleError('it does not begin as one');
  const protocol = readPlainPickle(start, magic.end);
  if (protocol.value !== LEGACY_PROTOCOL) throw new PickleError('its protocol is unknown');
  const system = readPlainPickle(start, protocol.end);
  const isLittle = system.value instanceof Map && system.value.get('little_endian') === true;
  if (!isLittle) throw bigEndian(file);
  const state = readState(start, system.end);
  const keys = readPlainPickle(start, state.end);
  if (!Array.isArray(keys.value)) throw new PickleError('its list of storages is missing');
  const storages = new Map(
    [...state.tensors.values()].map(({ storage }) => [storage.key, storage]),
  );
  const places = new Map<string, Place>();
  let offset = keys.end;
  for (const key of keys.value.map(String)) {
    const storage = storages.get(key);
    if (storage === undefined || places.has(key)) {
      throw new PickleError('its list of storages is not that of its tensors');
    }
    const place = await legacyPlace(handle, storage, { offset, size, file });
    places.set(key, place);
    offset = place.offset + place.bytes;
  }
  return entriesOf(state, places, file);
}

/** A storage is a count of elements, and then the elements. */
async function legacyPlace(
  handle: FileHandle,
  storage: Storage,
  { offset, size, file }: { readonly offset: number; readonly size: number; readonly file: string },
): Promise<Place> {
  const bytes = storage.elements * storage.elementBytes;
  if (!(offset + COUNT_BYTES + bytes <= size)) throw malformed(file, 'ends inside a storage');
  const count = await readExactly(handle, offset, COUNT_BYTES, file);
  if (count.readBigUInt64LE() !== BigInt(storage.elements)) {
    throw malformed(file, `has another number of elements in storage ${storage.key} than it says`);
  }
  return { offset: offset + COUNT_BYTES, bytes };
}

function entriesOf(state: State, places: ReadonlyMap<string, Place>, file: string) {
  const entries = new Map<string, TensorEntry>();
  for (const [name, view] of state.tensors) {
    const place = places.get(view.storage.key);
    if (place === undefined) throw malformed(file, `lacks the storage of ${JSON.stringify(name)}`);
    entries.set(name, entryOf(name, view, place, file));
  }
  return entries;
}

function entryOf(name: string, view: TensorView, place: Place, file: string): TensorEntry {
  const { storage, shape, strides } = view;
  const { dtype, elementBytes, elements, start } = storage;
  const count = shape.reduce((product, size) => product * size, 1);
  // A view may show elements more than once; no parameter does, and memory would have no bound.
  if (elements * elementBytes > place.bytes || count > elements) {
    const message = `tensor ${name} of ${file} has more elements than its storage`;
    throw new WgqaError('INVALID_FILE', message, { field: name });
  }
  const entry = {
    name,
    dtype,
    shape,
    file,
    offset: place.offset + (start + view.offset) * elementBytes,
    bytes: count * elementBytes,
  };
  return isDense(shape, strides) ? entry : { ...entry, strides };
}

function isDense(shape: readonly number[], strides: readonly number[]): boolean {
  let expected = 1;
  for (let i = shape.length - 1; i >= 0; --i) {
    // Where there is only one index, its stride does not matter.
    if (shape[i] !== 1 && strides[i] !== expected) return false;
    expected *= shape[i] ?? 1;
  }
  return true;
}

function bigEndian(file: string): WgqaError {
  const message = `${file} was written on a big-endian machine: save it as safetensors there`;
  return new WgqaError('UNSUPPORTED', message, { field: file });
}

function malformed(file: string, problem: string): WgqaError {
  return new WgqaError('INVALID_FILE', `${file} ${problem}`, { field: file });
}
