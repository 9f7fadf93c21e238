/** The state of a PyTorch model as its pickle describes it: tensors as views of storages. */
import { PickleError, PickleGlobal, readPickle, type PickleHooks } from './pickle.ts';

/** By the names of PyTorch's storage classes: the type's name in safetensors, and its bytes. */
const STORAGE_TYPES: ReadonlyMap<string, readonly [string, number]> = new Map([
  ['FloatStorage', ['F32', 4]],
  ['HalfStorage', ['F16', 2]],
  ['BFloat16Storage', ['BF16', 2]],
  ['DoubleStorage', ['F64', 8]],
  ['LongStorage', ['I64', 8]],
  ['IntStorage', ['I32', 4]],
  ['ShortStorage', ['I16', 2]],
  ['CharStorage', ['I8', 1]],
  ['ByteStorage', ['U8', 1]],
  ['BoolStorage', ['BOOL', 1]],
]);
const MAX_DIMENSIONS = 8;

/** A run of elements under a key of the file. */
export interface Storage {
  readonly key: string;
  readonly dtype: string;
  readonly elementBytes: number;
  /** Elements of the whole storage. */
  readonly elements: number;
  /** Elements before the part that is meant; of files before PyTorch 0.4. */
  readonly start: number;
}

export interface TensorView {
  readonly storage: Storage;
  /** Elements from the storage's `start` to the first element. */
  readonly offset: number;
  readonly shape: readonly number[];
  /** Elements from one index of a dimension to the next. */
  readonly strides: readonly number[];
}

export interface State {
  readonly tensors: ReadonlyMap<string, TensorView>;
  readonly end: number;
}

class StorageReference {
  readonly storage: Storage;

  constructor(storage: Storage) {
    this.storage = storage;
  }
}

class TensorReference {
  readonly view: TensorView;

  constructor(view: TensorView) {
    this.view = view;
  }
}

/**
 * Reads a dictionary of tensors. Nothing that the pickle names is run: besides dictionaries it may
 * only ask for tensors.
 * @throws PickleError
 */
export function readState(bytes: Buffer, start: number): State {
  const { value, end } = readPickle(bytes, start, HOOKS);
  if (!(value instanceof Map)) throw new PickleError('it is no dictionary of tensors');
  const tensors = new Map<string, TensorView>();
  for (const [name, item] of value as Map<unknown, unknown>) {
    if (typeof name === 'string' && item instanceof TensorReference) tensors.set(name, item.view);
  }
  if (tensors.size === 0) {
    const keys = [...(value as Map<unknown, unknown>).keys()].slice(0, 5).map(String);
    throw new PickleError(`it holds no tensors, but ${keys.join(', ').slice(0, 200) || 'nothing'}`);
  }
  return { tensors, end };
}

/** Reads a pickle of plain data. @throws PickleError */
export function readPlainPickle(bytes: Buffer, start: number) {
  return readPickle(bytes, start, {
    call: refuse,
    external: () => {
      throw new PickleError('it refers to a storage where none is allowed');
    },
  });
}

const HOOKS: PickleHooks = {
  call: (name, args) => {
    switch (name) {
      case 'collections.OrderedDict':
        if (args.length > 0) throw new PickleError('a dictionary is made of arguments');
        return new Map();
      case 'torch._utils._rebuild_tensor_v2':
        // Behind the strides: requires_grad, hooks, and metadata of views that are not plain.
        if (args[6] instanceof Map && args[6].size > 0) {
          throw new PickleError('a tensor is a conjugated or negated view');
        }
        return tensorOf(args);
      case 'torch._utils._rebuild_tensor':
        return tensorOf(args);
      case 'torch._utils._rebuild_parameter':
        if (args[0] instanceof TensorReference) return args[0];
        throw new PickleError('a parameter is no tensor');
      default:
        return refuse(name);
    }
  },
  external: storageOf,
};

function refuse(name: string): never {
  throw new PickleError(`it asks to call ${JSON.stringify(name.slice(0, 80))}, which is not run`);
}

/** ('storage', type, key, device, elements[, view of it]). */
function storageOf(id: unknown): StorageReference {
  const [word, type, key, , elements, part] = Array.isArray(id) ? (id as unknown[]) : [];
  if (word !== 'storage' || !(type instanceof PickleGlobal) || !isKey(key) || !isCount(elements)) {
    throw new PickleError('it refers to a storage in an unknown way');
  }
  const name = /^torch(?:\.cuda)?\.(\w+)$/.exec(type.name)?.[1] ?? '';
  const [dtype, elementBytes] = STORAGE_TYPES.get(name) ?? [];
  if (dtype === undefined || elementBytes === undefined) {
    throw new PickleError(
      `a storage is of the unknown type ${JSON.stringify(type.name.slice(0, 80))}`,
    );
  }
  const [, start = 0] = Array.isArray(part) ? (part as unknown[]) : [];
  if (!isCount(start) || start > elements)
    throw new PickleError('a part of a storage is malformed');
  return new StorageReference({ key: String(key), dtype, elementBytes, elements, start });
}

function tensorOf([reference, offset, shape, strides]: readonly unknown[]): TensorReference {
  if (!(reference instanceof StorageReference)) throw new PickleError('a tensor has no storage');
  const sized = isCount(offset) && isCounts(shape) && isCounts(strides);
  if (!sized || shape.length !== strides.length || shape.length > MAX_DIMENSIONS) {
    throw new PickleError('a tensor has a malformed shape, offset or strides');
  }
  const { storage } = reference;
  const isEmpty = shape.includes(0);
  const last = shape.reduce((sum, size, i) => sum + (size - 1) * (strides[i] ?? 0), offset);
  if (!isEmpty && !(storage.start + last < storage.elements)) {
    throw new PickleError(`a tensor of shape [${shape.join(', ')}] reaches beyond its storage`);
  }
  return new TensorReference({ storage, offset, shape, strides });
}

function isKey(value: unknown): value is string | number {
  return (typeof value === 'string' && /^\w{1,64}$/.test(value)) || isCount(value);
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every(isCount);
}
