/** The part of onnx.proto that the exported graphs use, as data for protobufjs, and its types. */
import protobuf from 'protobufjs/light.js';

/** Opset 20 brought Gelu by tanh; ONNX Runtime takes 21 since 1.18. */
export const OPSET = 21;
export const IR_VERSION = 10;

/** TensorProto.DataType. */
export const DATA_TYPES = { float32: 1, uint8: 2, int8: 3, int32: 6, int64: 7, bool: 9 } as const;
export type DataType = keyof typeof DATA_TYPES;

/** AttributeProto.AttributeType. */
const ATTRIBUTE_TYPES = { int: 2, string: 3, graph: 5, ints: 7 } as const;

export interface AttributeMessage {
  readonly name: string;
  readonly type: number;
  readonly i?: number;
  readonly s?: Uint8Array;
  readonly g?: GraphMessage;
  readonly ints?: readonly number[];
}

export interface NodeMessage {
  readonly input: readonly string[];
  readonly output: readonly string[];
  readonly name: string;
  readonly opType: string;
  readonly attribute: readonly AttributeMessage[];
}

type DimensionMessage = { readonly dimValue: number } | { readonly dimParam: string };

export interface ValueInfoMessage {
  readonly name: string;
  readonly type: {
    readonly tensorType: {
      readonly elemType: number;
      readonly shape: { readonly dim: readonly DimensionMessage[] };
    };
  };
}

/** A graph without its initializers, which are written one by one. */
export interface GraphMessage {
  readonly node: readonly NodeMessage[];
  readonly name: string;
  readonly input: readonly ValueInfoMessage[];
  readonly output: readonly ValueInfoMessage[];
}

export type AttributeValue = number | string | readonly number[] | GraphMessage;

export function attributeMessage(name: string, value: AttributeValue): AttributeMessage {
  if (typeof value === 'number') return { name, type: ATTRIBUTE_TYPES.int, i: value };
  if (typeof value === 'string') {
    return { name, type: ATTRIBUTE_TYPES.string, s: Buffer.from(value) };
  }
  if ('node' in value) return { name, type: ATTRIBUTE_TYPES.graph, g: value };
  return { name, type: ATTRIBUTE_TYPES.ints, ints: value };
}

/** A tensor of a graph's interface: dimensions by size, or by name where they vary. */
export function valueInfo(
  name: string,
  type: DataType,
  shape: readonly (number | string)[],
): ValueInfoMessage {
  const dim = shape.map((size) =>
    typeof size === 'number' ? { dimValue: size } : { dimParam: size },
  );
  return { name, type: { tensorType: { elemType: DATA_TYPES[type], shape: { dim } } } };
}

type Field = [type: string, id: number, rule?: 'repeated'];

function message(fields: Readonly<Record<string, Field>>): protobuf.IType {
  const entries = Object.entries(fields).map(([name, [type, id, rule]]) => [
    name,
    rule === undefined ? { type, id } : { type, id, rule },
  ]);
  return { fields: Object.fromEntries(entries) as protobuf.IType['fields'] };
}

const SCHEMA = protobuf.Root.fromJSON({
  nested: {
    Model: message({
      irVersion: ['int64', 1],
      producerName: ['string', 2],
      producerVersion: ['string', 3],
      graph: ['Graph', 7],
      opsetImport: ['OperatorSet', 8, 'repeated'],
    }),
    OperatorSet: message({ domain: ['string', 1], version: ['int64', 2] }),
    Graph: message({
      node: ['Node', 1, 'repeated'],
      name: ['string', 2],
      initializer: ['Tensor', 5, 'repeated'],
      input: ['ValueInfo', 11, 'repeated'],
      output: ['ValueInfo', 12, 'repeated'],
    }),
    Node: message({
      input: ['string', 1, 'repeated'],
      output: ['string', 2, 'repeated'],
      name: ['string', 3],
      opType: ['string', 4],
      attribute: ['Attribute', 5, 'repeated'],
    }),
    Attribute: message({
      name: ['string', 1],
      i: ['int64', 3],
      s: ['bytes', 4],
      g: ['Graph', 6],
      ints: ['int64', 8, 'repeated'],
      type: ['int32', 20],
    }),
    Tensor: message({
      dims: ['int64', 1, 'repeated'],
      dataType: ['int32', 2],
      name: ['string', 8],
      rawData: ['bytes', 9],
      externalData: ['StringEntry', 13, 'repeated'],
      dataLocation: ['int32', 14],
    }),
    StringEntry: message({ key: ['string', 1], value: ['string', 2] }),
    ValueInfo: message({ name: ['string', 1], type: ['Type', 2] }),
    Type: message({ tensorType: ['TensorType', 1] }),
    TensorType: message({ elemType: ['int32', 1], shape: ['Shape', 2] }),
    Shape: message({ dim: ['Dimension', 1, 'repeated'] }),
    Dimension: message({ dimValue: ['int64', 1], dimParam: ['string', 2] }),
  },
});

export const messages = {
  Model: SCHEMA.lookupType('Model'),
  Graph: SCHEMA.lookupType('Graph'),
  Tensor: SCHEMA.lookupType('Tensor'),
} as const;

const LENGTH_DELIMITED = 2;

/** What stands before a message or bytes of `length` in the field of a message. */
export function fieldHeader(
  { fields }: protobuf.Type,
  field: 'graph' | 'initializer' | 'rawData',
  length: number,
): Uint8Array {
  const { id = 0 } = fields[field] ?? {};
  const tag = (id << 3) | LENGTH_DELIMITED;
  return protobuf.Writer.create().uint32(tag).uint32(length).finish();
}
