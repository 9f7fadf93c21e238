/** Graphs while they are built: nodes of one scope, and initializers that all scopes of a file share. */
import {
  attributeMessage,
  type AttributeValue,
  type DataType,
  type GraphMessage,
  type NodeMessage,
  type ValueInfoMessage,
} from './schema.ts';

/** A constant tensor, whose content is produced when it is written. */
export interface Initializer {
  readonly name: string;
  readonly type: DataType;
  readonly shape: readonly number[];
  /** Little-endian, row-major. */
  readonly read: () => Promise<Uint8Array> | Uint8Array;
}

const ELEMENT_BYTES: Readonly<Record<DataType, number>> = {
  float32: 4,
  uint8: 1,
  int8: 1,
  int32: 4,
  int64: 8,
  bool: 1,
};

export function initializerBytes({ type, shape }: Pick<Initializer, 'type' | 'shape'>): number {
  return shape.reduce((product, size) => product * size, ELEMENT_BYTES[type]);
}

/** The initializers of one file, by name. */
export class InitializerPool {
  readonly #initializers = new Map<string, Initializer>();

  /** The initializer's name; one that is there already stays. */
  add(initializer: Initializer): string {
    const { name } = initializer;
    if (!this.#initializers.has(name)) this.#initializers.set(name, initializer);
    return name;
  }

  float(value: number): string {
    const name = `float/${String(value)}`;
    return this.add({ name, type: 'float32', shape: [], read: () => bytesOf([value]) });
  }

  /** A vector, as axes and shapes are given. */
  integers(values: readonly number[]): string {
    return this.#int64(`integers/${values.join('_')}`, values, [values.length]);
  }

  integer(value: number): string {
    return this.#int64(`integer/${String(value)}`, [value], []);
  }

  all(): readonly Initializer[] {
    return [...this.#initializers.values()];
  }

  #int64(name: string, values: readonly number[], shape: readonly number[]): string {
    const read = (): Uint8Array => new Uint8Array(BigInt64Array.from(values, BigInt).buffer);
    return this.add({ name, type: 'int64', shape, read });
  }
}

function bytesOf(values: readonly number[]): Uint8Array {
  return new Uint8Array(Float32Array.from(values).buffer);
}

type Attributes = Readonly<Record<string, AttributeValue>>;

/** Nodes in the order in which they compute. A name stands for the value that it names. */
export class Scope {
  readonly pool: InitializerPool;
  readonly #nodes: NodeMessage[] = [];
  readonly #prefix: string;

  /** `prefix` keeps the names of two scopes of one file apart. */
  constructor(pool: InitializerPool, prefix = '') {
    this.pool = pool;
    this.#prefix = prefix;
  }

  /** Adds a node; the name of its output. */
  add(opType: string, inputs: readonly string[], attributes: Attributes = {}): string {
    return this.#push(opType, inputs, attributes, 1)[0] ?? '';
  }

  /** Adds a node of several outputs. */
  addMany(
    opType: string,
    inputs: readonly string[],
    attributes: Attributes,
    count: number,
  ): string[] {
    return this.#push(opType, inputs, attributes, count);
  }

  /** The graph of all nodes. `outputs` say which value is given out, under which name. */
  toGraph(
    name: string,
    inputs: readonly ValueInfoMessage[],
    outputs: readonly (readonly [value: string, info: ValueInfoMessage])[],
  ): GraphMessage {
    const renamed = new Map(outputs.map(([value, info]) => [value, info.name]));
    const rename = (value: string): string => renamed.get(value) ?? value;
    const node = this.#nodes.map((each) => ({
      ...each,
      input: each.input.map(rename),
      output: each.output.map(rename),
    }));
    return { node, name, input: inputs, output: outputs.map(([, info]) => info) };
  }

  #push(
    opType: string,
    inputs: readonly string[],
    attributes: Attributes,
    count: number,
  ): string[] {
    const name = `${this.#prefix}${opType}_${String(this.#nodes.length)}`;
    const output = Array.from({ length: count }, (_, i) =>
      i === 0 ? name : `${name}_${String(i)}`,
    );
    const attribute = Object.entries(attributes).map(([key, value]) =>
      attributeMessage(key, value),
    );
    this.#nodes.push({ input: inputs, output, name, opType, attribute });
    return output;
  }
}
