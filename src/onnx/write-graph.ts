/**
 * ONNX files, written tensor by tensor: protobufjs encodes structure, weights go past it. A message
 * is the concatenation of its fields, so a graph's initializers can follow its other fields.
 */
import type { OutputFile } from '../checkpoint/atomic-directory.ts';
import { WgqaError } from '../errors.ts';
import { initializerBytes, type Initializer } from './graph.ts';
import {
  DATA_TYPES,
  fieldHeader,
  IR_VERSION,
  messages,
  OPSET,
  type GraphMessage,
} from './schema.ts';

/** What protobuf, and with it every reader of ONNX, can address. */
export const MAX_PROTOBUF_BYTES = 2 ** 31 - 1;
/** Readers map external tensors into memory: each begins on a page. */
const EXTERNAL_ALIGNMENT = 4096;
/** Smaller tensors stay in the graph, where shape inference sees them. */
const SMALLEST_EXTERNAL_BYTES = 1024;

export interface OnnxModel {
  /** File name, "encoder_model.onnx". */
  readonly name: string;
  readonly graph: GraphMessage;
  readonly initializers: readonly Initializer[];
}

/** Called with the bytes of each tensor that was written. */
export type OnWritten = (bytes: number) => void;

/** One file, or with weights in `<name>_data` if it would have more than `maxBytes`. */
export function onnxFiles(model: OnnxModel, maxBytes: number, onWritten: OnWritten): OutputFile[] {
  const inline = new InlineLayout(model.initializers);
  const head = encodeHead(model);
  const bytes = head.model.length + head.graph.length + inline.bytes;
  if (bytes <= maxBytes) {
    return [{ name: model.name, chunks: () => fileChunks(head, inline, onWritten) }];
  }
  const data = `${model.name}_data`;
  const external = model.initializers.filter(
    (initializer) => initializerBytes(initializer) >= SMALLEST_EXTERNAL_BYTES,
  );
  const offsets = externalOffsets(external);
  const layout = new InlineLayout(model.initializers, { location: data, offsets });
  return [
    { name: data, chunks: () => dataChunks(external, offsets, onWritten) },
    { name: model.name, chunks: () => fileChunks(head, layout, onWritten) },
  ];
}

interface Head {
  readonly model: Uint8Array;
  readonly graph: Uint8Array;
}

function encodeHead({ graph }: OnnxModel): Head {
  const model = {
    irVersion: IR_VERSION,
    producerName: 'wgqa',
    opsetImport: [{ domain: '', version: OPSET }],
  };
  return {
    model: messages.Model.encode(model).finish(),
    graph: messages.Graph.encode(graph).finish(),
  };
}

interface External {
  readonly location: string;
  /** Of each external tensor in the data file, by name. */
  readonly offsets: ReadonlyMap<string, number>;
}

interface Entry {
  /** Everything of the tensor's field but its content. */
  readonly header: Uint8Array;
  /** Absent where the content lies in another file. */
  readonly content: Initializer | undefined;
}

/** The initializers as fields of a graph, with their content in place or in another file. */
class InlineLayout {
  readonly entries: readonly Entry[];
  readonly bytes: number;

  constructor(initializers: readonly Initializer[], external?: External) {
    this.entries = initializers.map((initializer) => {
      const offset = external?.offsets.get(initializer.name);
      return external === undefined || offset === undefined
        ? inlineEntry(initializer)
        : externalEntry(initializer, external.location, offset);
    });
    this.bytes = this.entries.reduce(
      (sum, { header, content }) => sum + header.length + (content ? initializerBytes(content) : 0),
      0,
    );
  }
}

function tensorFields({ name, type, shape }: Initializer) {
  return { name, dataType: DATA_TYPES[type], dims: shape };
}

function inlineEntry(initializer: Initializer): Entry {
  const bytes = initializerBytes(initializer);
  const fields = messages.Tensor.encode(tensorFields(initializer)).finish();
  const raw = fieldHeader(messages.Tensor, 'rawData', bytes);
  const length = fields.length + raw.length + bytes;
  const outer = fieldHeader(messages.Graph, 'initializer', length);
  return { header: Buffer.concat([outer, fields, raw]), content: initializer };
}

function externalEntry(initializer: Initializer, location: string, offset: number): Entry {
  const externalData = Object.entries({
    location,
    offset: String(offset),
    length: String(initializerBytes(initializer)),
  }).map(([key, value]) => ({ key, value }));
  const message = { ...tensorFields(initializer), externalData, dataLocation: 1 };
  const fields = messages.Tensor.encode(message).finish();
  const outer = fieldHeader(messages.Graph, 'initializer', fields.length);
  return { header: Buffer.concat([outer, fields]), content: undefined };
}

function externalOffsets(initializers: readonly Initializer[]): Map<string, number> {
  const offsets = new Map<string, number>();
  let end = 0;
  for (const initializer of initializers) {
    const offset = Math.ceil(end / EXTERNAL_ALIGNMENT) * EXTERNAL_ALIGNMENT;
    offsets.set(initializer.name, offset);
    end = offset + initializerBytes(initializer);
  }
  return offsets;
}

async function* fileChunks(
  head: Head,
  { entries, bytes }: InlineLayout,
  onWritten: OnWritten,
): AsyncGenerator<Uint8Array> {
  yield head.model;
  yield fieldHeader(messages.Model, 'graph', head.graph.length + bytes);
  yield head.graph;
  for (const { header, content } of entries) {
    yield header;
    if (content) yield await contentOf(content, onWritten);
  }
}

async function* dataChunks(
  initializers: readonly Initializer[],
  offsets: ReadonlyMap<string, number>,
  onWritten: OnWritten,
): AsyncGenerator<Uint8Array> {
  let end = 0;
  for (const initializer of initializers) {
    const offset = offsets.get(initializer.name) ?? end;
    yield Buffer.alloc(offset - end);
    yield await contentOf(initializer, onWritten);
    end = offset + initializerBytes(initializer);
  }
}

async function contentOf(initializer: Initializer, onWritten: OnWritten): Promise<Uint8Array> {
  const content = await initializer.read();
  const bytes = initializerBytes(initializer);
  if (content.byteLength !== bytes) {
    const problem = `gave ${content.byteLength} bytes to write, not ${bytes}`;
    throw new WgqaError('INTERNAL', `${initializer.name} ${problem}`);
  }
  onWritten(bytes);
  return content;
}
