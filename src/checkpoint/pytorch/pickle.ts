/**
 * Reading pickles without running what is in them. A pickle is a program for a stack machine
 * (https://github.com/python/cpython/blob/main/Lib/pickletools.py, "opcodes"); here it may make
 * numbers, strings, tuples, lists and dictionaries, and name functions, which the caller looks up in a
 * list of its own. Every operation takes at least a byte and adds at most one value, so that memory
 * is bounded by the length of the pickle.
 */

/** A pickle that is malformed or asks for more than data. */
export class PickleError extends Error {}

/** A function or class by its module and name, never the thing itself. */
export class PickleGlobal {
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }
}

export interface PickleHooks {
  /** The value of a call of the function `name`. @throws PickleError for one that is not allowed */
  readonly call: (name: string, args: readonly unknown[]) => unknown;
  /** The value that lies outside of the pickle under `id`. @throws PickleError */
  readonly external: (id: unknown) => unknown;
}

/** A dictionary. */
export type PickleMap = Map<unknown, unknown>;

const MARK = Symbol('mark');
const MAX_INTEGER_BYTES = 32;

/**
 * Reads the pickle that starts at `start` of `bytes`.
 * @returns its value, and where it ends
 * @throws PickleError
 */
export function readPickle(
  bytes: Buffer,
  start: number,
  hooks: PickleHooks,
): { readonly value: unknown; readonly end: number } {
  const machine = new PickleMachine(bytes, start, hooks);
  return { value: machine.run(), end: machine.position };
}

class PickleMachine {
  readonly #bytes: Buffer;
  readonly #hooks: PickleHooks;
  readonly #stack: unknown[] = [];
  readonly #memo = new Map<number, unknown>();
  position: number;

  constructor(bytes: Buffer, start: number, hooks: PickleHooks) {
    this.#bytes = bytes;
    this.#hooks = hooks;
    this.position = start;
  }

  run(): unknown {
    for (;;) {
      const opcode = this.#byte();
      if (opcode === 0x2e) return this.#pop(); // STOP
      const operation = OPERATIONS.get(opcode);
      if (operation === undefined) {
        const code = `0x${opcode.toString(16).padStart(2, '0')}`;
        throw new PickleError(
          `operation ${code} at byte ${this.position - 1} makes more than data`,
        );
      }
      operation(this);
    }
  }

  push(value: unknown): this {
    this.#stack.push(value);
    return this;
  }

  /** Pushes the items since the last mark, or the last `count`, as one tuple. */
  pushTuple(count?: number): this {
    return this.push(count === undefined ? this.#sinceMark() : this.#popMany(count));
  }

  mark(): this {
    return this.push(MARK);
  }

  append(items: 'one' | 'sinceMark'): this {
    const values = items === 'one' ? [this.#pop()] : this.#sinceMark();
    const list = this.#top();
    if (!Array.isArray(list)) throw new PickleError('it appends to what is no list');
    for (const value of values) list.push(value);
    return this;
  }

  setItems(items: 'one' | 'sinceMark'): this {
    const values = items === 'one' ? this.#popMany(2) : this.#sinceMark();
    const map = this.#top();
    if (!(map instanceof Map) || values.length % 2 !== 0) {
      throw new PickleError('it sets items of what is no dictionary');
    }
    for (let i = 0; i < values.length; i += 2) {
      if (map.has(values[i])) throw new PickleError(`it sets ${shown(values[i])} twice`);
      map.set(values[i], values[i + 1]);
    }
    return this;
  }

  /** Attributes of a dictionary (`_metadata` of a state) say nothing about tensors. */
  dropState(): this {
    this.#pop();
    if (!(this.#top() instanceof Map)) throw new PickleError('it sets the state of an object');
    return this;
  }

  remember(index: number): this {
    this.#memo.set(index, this.#top());
    return this;
  }

  rememberNext(): this {
    return this.remember(this.#memo.size);
  }

  recall(index: number): this {
    if (!this.#memo.has(index))
      throw new PickleError(`it recalls value ${index}, which it never made`);
    return this.push(this.#memo.get(index));
  }

  pushGlobal(module: string, name: string): this {
    return this.push(new PickleGlobal(`${module}.${name}`));
  }

  pushStackGlobal(): this {
    const [module, name] = this.#popMany(2);
    if (typeof module !== 'string' || typeof name !== 'string') {
      throw new PickleError('the name of a function is no string');
    }
    return this.pushGlobal(module, name);
  }

  call(): this {
    const [callee, args] = this.#popMany(2);
    if (!(callee instanceof PickleGlobal) || !Array.isArray(args)) {
      throw new PickleError('it calls what is no function');
    }
    return this.push(this.#hooks.call(callee.name, args));
  }

  pushExternal(): this {
    return this.push(this.#hooks.external(this.#pop()));
  }

  skip(length: number): this {
    this.take(length);
    return this;
  }

  unsigned(bytes: 1 | 2 | 4): number {
    return this.take(bytes).readUIntLE(0, bytes);
  }

  /** A length in eight bytes. */
  length(): number {
    return Number(this.take(8).readBigUInt64LE());
  }

  /** A signed little-endian integer; a bigint beyond 2^53. */
  integer(bytes: number): number | bigint {
    if (bytes > MAX_INTEGER_BYTES) throw new PickleError(`an integer takes ${bytes} bytes`);
    let value = 0n;
    for (const [i, byte] of this.take(bytes).entries()) value |= BigInt(byte) << BigInt(8 * i);
    const signed = bytes === 0 ? 0n : BigInt.asIntN(8 * bytes, value);
    return BigInt(Number(signed)) === signed ? Number(signed) : signed;
  }

  text(length: number): string {
    return this.take(length).toString('utf8');
  }

  line(): string {
    const end = this.#bytes.indexOf(0x0a, this.position);
    if (end < 0) throw new PickleError('it ends inside a name');
    const line = this.text(end - this.position);
    this.position += 1;
    return line;
  }

  take(length: number): Buffer {
    const end = this.position + length;
    if (end > this.#bytes.length) throw new PickleError('it ends too early');
    const taken = this.#bytes.subarray(this.position, end);
    this.position = end;
    return taken;
  }

  #byte(): number {
    return this.unsigned(1);
  }

  #top(): unknown {
    if (this.#stack.length === 0) throw new PickleError('its stack is empty');
    return this.#stack.at(-1);
  }

  #pop(): unknown {
    const value = this.#top();
    if (value === MARK) throw new PickleError('it takes a mark for a value');
    this.#stack.pop();
    return value;
  }

  #popMany(count: number): unknown[] {
    return Array.from({ length: count }, () => this.#pop()).reverse();
  }

  #sinceMark(): unknown[] {
    const mark = this.#stack.lastIndexOf(MARK);
    if (mark < 0) throw new PickleError('a mark is missing');
    const [, ...values] = this.#stack.splice(mark);
    return values;
  }
}

/** By opcode; names as in pickletools. */
const OPERATIONS: ReadonlyMap<number, (machine: PickleMachine) => unknown> = new Map([
  [0x80, (m) => m.skip(1)], // PROTO
  [0x95, (m) => m.skip(8)], // FRAME
  [0x28, (m) => m.mark()], // MARK
  [0x4e, (m) => m.push(null)], // NONE
  [0x88, (m) => m.push(true)], // NEWTRUE
  [0x89, (m) => m.push(false)], // NEWFALSE
  [0x4a, (m) => m.push(m.integer(4))], // BININT
  [0x4b, (m) => m.push(m.unsigned(1))], // BININT1
  [0x4d, (m) => m.push(m.unsigned(2))], // BININT2
  [0x8a, (m) => m.push(m.integer(m.unsigned(1)))], // LONG1
  [0x47, (m) => m.push(m.take(8).readDoubleBE())], // BINFLOAT
  [0x58, (m) => m.push(m.text(m.unsigned(4)))], // BINUNICODE
  [0x8c, (m) => m.push(m.text(m.unsigned(1)))], // SHORT_BINUNICODE
  [0x8d, (m) => m.push(m.text(m.length()))], // BINUNICODE8
  [0x54, (m) => m.push(m.text(m.unsigned(4)))], // BINSTRING, the text of Python 2
  [0x55, (m) => m.push(m.text(m.unsigned(1)))], // SHORT_BINSTRING
  [0x7d, (m) => m.push(new Map())], // EMPTY_DICT
  [0x5d, (m) => m.push([])], // EMPTY_LIST
  [0x29, (m) => m.push([])], // EMPTY_TUPLE
  [0x74, (m) => m.pushTuple()], // TUPLE
  [0x85, (m) => m.pushTuple(1)], // TUPLE1
  [0x86, (m) => m.pushTuple(2)], // TUPLE2
  [0x87, (m) => m.pushTuple(3)], // TUPLE3
  [0x61, (m) => m.append('one')], // APPEND
  [0x65, (m) => m.append('sinceMark')], // APPENDS
  [0x73, (m) => m.setItems('one')], // SETITEM
  [0x75, (m) => m.setItems('sinceMark')], // SETITEMS
  [0x62, (m) => m.dropState()], // BUILD
  [0x71, (m) => m.remember(m.unsigned(1))], // BINPUT
  [0x72, (m) => m.remember(m.unsigned(4))], // LONG_BINPUT
  [0x94, (m) => m.rememberNext()], // MEMOIZE
  [0x68, (m) => m.recall(m.unsigned(1))], // BINGET
  [0x6a, (m) => m.recall(m.unsigned(4))], // LONG_BINGET
  [0x63, (m) => m.pushGlobal(m.line(), m.line())], // GLOBAL
  [0x93, (m) => m.pushStackGlobal()], // STACK_GLOBAL
  [0x52, (m) => m.call()], // REDUCE
  [0x51, (m) => m.pushExternal()], // BINPERSID
]);

function shown(value: unknown): string {
  return typeof value === 'string' ? JSON.stringify(value.slice(0, 80)) : `a ${typeof value}`;
}
