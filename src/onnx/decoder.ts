/**
 * The graphs of the decoder: the first step, which computes K and V of the source, later steps,
 * which take those and the K and V of earlier tokens as inputs, and both in one file.
 */
import { decoderBiases, maskBias, sizeOf, type Positions } from './bias.ts';
import { InitializerPool, Scope } from './graph.ts';
import {
  attention,
  crossKeyValue,
  feedForward,
  headsOf,
  norm,
  selfProjections,
  type Blueprint,
  type KeyValue,
} from './layers.ts';
import {
  cacheNames,
  DECODER_FILE,
  DECODER_WITH_PAST_FILE,
  ENCODER_ATTENTION_MASK,
  ENCODER_STATES,
  INPUT_IDS,
  LOGITS,
  MERGED_DECODER_FILE,
  past,
  present,
  USE_CACHE_BRANCH,
  type CacheKind,
  type CacheName,
} from './names.ts';
import { valueInfo, type GraphMessage, type ValueInfoMessage } from './schema.ts';
import type { OnnxModel } from './write-graph.ts';

const BOTH: readonly CacheKind[] = ['decoder', 'encoder'];

/** A decoder's body with what it gives out, by the names of the cache. */
interface Decoded {
  readonly scope: Scope;
  readonly logits: string;
  readonly presents: ReadonlyMap<CacheName, string>;
}

export function buildDecoder(blueprint: Blueprint): OnnxModel {
  const pool = new InitializerPool();
  const graph = toGraph(firstStep(new Scope(pool), blueprint), 'decoder', blueprint, [
    ...tokenInputs(),
    encoderStatesInput(blueprint),
  ]);
  return toModel(DECODER_FILE, graph, pool, blueprint);
}

export function buildDecoderWithPast(blueprint: Blueprint): OnnxModel {
  const pool = new InitializerPool();
  const graph = toGraph(laterStep(new Scope(pool), blueprint), 'decoder_with_past', blueprint, [
    ...tokenInputs(),
    ...pastInputs(blueprint),
  ]);
  return toModel(DECODER_WITH_PAST_FILE, graph, pool, blueprint);
}

/** Both steps behind one input, `use_cache_branch`; they share their weights. */
export function buildMergedDecoder(blueprint: Blueprint): OnnxModel {
  const pool = new InitializerPool();
  const first = toGraph(firstStep(new Scope(pool, 'first/'), blueprint), 'first', blueprint, []);
  const later = withEmptyCross(laterStep(new Scope(pool, 'later/'), blueprint), blueprint);
  const branches = {
    then_branch: prefixOutputs(toGraph(later, 'later', blueprint, []), 'later/'),
    else_branch: prefixOutputs(first, 'first/'),
  };
  const scope = new Scope(pool);
  const outputs = outputInfos(blueprint, BOTH);
  const values = scope.addMany('If', [USE_CACHE_BRANCH], branches, outputs.length);
  const graph = scope.toGraph(
    'decoder_merged',
    [
      ...tokenInputs(),
      encoderStatesInput(blueprint),
      ...pastInputs(blueprint, anyHeads),
      valueInfo(USE_CACHE_BRANCH, 'bool', [1]),
    ],
    outputs.map((info, i) => [values[i] ?? '', info]),
  );
  return toModel(MERGED_DECODER_FILE, graph, pool, blueprint);
}

function firstStep(scope: Scope, blueprint: Blueprint): Decoded {
  const positions = { firstQuery: scope.pool.integer(0), keys: sizeOf(scope, INPUT_IDS, 1) };
  const presents = new Map<CacheName, string>();
  const keep = (layer: number, kind: CacheKind, { key, value }: KeyValue): void => {
    presents.set(`${layer}.${kind}.key`, key).set(`${layer}.${kind}.value`, value);
  };
  const logits = decode(scope, blueprint, positions, {
    self: (layer, computed) => {
      keep(layer, 'decoder', computed);
      return computed;
    },
    cross: (layer) => {
      const heads = headsOf(blueprint.config, 'decoder.cross', layer);
      const weights = { name: crossName(layer), heads };
      const computed = crossKeyValue(scope, ENCODER_STATES, weights, blueprint);
      keep(layer, 'encoder', computed);
      return computed;
    },
  });
  return { scope, logits, presents };
}

function laterStep(scope: Scope, blueprint: Blueprint): Decoded {
  const firstQuery = sizeOf(scope, past('0.decoder.key'), 2);
  const keys = scope.add('Add', [firstQuery, sizeOf(scope, INPUT_IDS, 1)]);
  const presents = new Map<CacheName, string>();
  const append = (name: CacheName, computed: string): string => {
    const value = scope.add('Concat', [past(name), computed], { axis: 2 });
    presents.set(name, value);
    return value;
  };
  const logits = decode(
    scope,
    blueprint,
    { firstQuery, keys },
    {
      self: (layer, { key, value }) => ({
        key: append(`${layer}.decoder.key`, key),
        value: append(`${layer}.decoder.value`, value),
      }),
      cross: (layer) => ({
        key: past(`${layer}.encoder.key`),
        value: past(`${layer}.encoder.value`),
      }),
    },
  );
  return { scope, logits, presents };
}

/** Where the two steps differ: K and V to attend to. */
interface KeyValues {
  /** All of self-attention, given those of the new tokens. */
  readonly self: (layer: number, computed: KeyValue) => KeyValue;
  readonly cross: (layer: number) => KeyValue;
}

function decode(
  scope: Scope,
  blueprint: Blueprint,
  positions: Positions,
  keyValues: KeyValues,
): string {
  const { config, precision } = blueprint;
  const layers = Array.from({ length: config.num_decoder_layers }, (_, layer) =>
    headsOf(config, 'decoder.self', layer),
  );
  const biases = decoderBiases(scope, positions, blueprint, layers);
  const mask = maskBias(scope, ENCODER_ATTENTION_MASK);
  let states = precision.embed(scope, INPUT_IDS, 'shared.weight');
  for (const [layer, bias] of biases.entries()) {
    states = selfAttention(scope, states, { layer, bias, keyValues }, blueprint);
    states = crossAttention(scope, states, { layer, bias: mask, keyValues }, blueprint);
    states = feedForward(scope, states, `decoder.block.${layer}.layer.2`, blueprint);
  }
  states = norm(scope, states, 'decoder.final_layer_norm.weight', blueprint);
  if (config.scale_decoder_outputs) {
    states = scope.add('Mul', [states, scope.pool.float(config.d_model ** -0.5)]);
  }
  const table = config.tie_word_embeddings ? 'shared.weight' : 'lm_head.weight';
  return precision.score(scope, states, table);
}

interface AttentionLayer {
  readonly layer: number;
  readonly bias: string;
  readonly keyValues: KeyValues;
}

function selfAttention(
  scope: Scope,
  input: string,
  { layer, bias, keyValues }: AttentionLayer,
  blueprint: Blueprint,
): string {
  const name = `decoder.block.${layer}.layer.0.SelfAttention`;
  const heads = headsOf(blueprint.config, 'decoder.self', layer);
  const normalised = norm(scope, input, normName(layer, 0), blueprint);
  const { queries, ...computed } = selfProjections(scope, normalised, { name, heads }, blueprint);
  const mixed = attention(scope, queries, keyValues.self(layer, computed), bias, heads);
  return addProjected(scope, input, mixed, name, blueprint);
}

function crossAttention(
  scope: Scope,
  input: string,
  { layer, bias, keyValues }: AttentionLayer,
  blueprint: Blueprint,
): string {
  const name = crossName(layer);
  const heads = headsOf(blueprint.config, 'decoder.cross', layer);
  const normalised = norm(scope, input, normName(layer, 1), blueprint);
  const matrix = { name: `${name}.q.weight.T`, parts: [`${name}.q.weight`] };
  const queries = blueprint.precision.project(scope, normalised, matrix);
  const mixed = attention(scope, queries, keyValues.cross(layer), bias, heads);
  return addProjected(scope, input, mixed, name, blueprint);
}

const crossName = (layer: number): string => `decoder.block.${layer}.layer.1.EncDecAttention`;
const normName = (layer: number, sublayer: number): string =>
  `decoder.block.${layer}.layer.${sublayer}.layer_norm.weight`;

/** The output projection of attention, and the residual. */
function addProjected(
  scope: Scope,
  input: string,
  mixed: string,
  name: string,
  { precision }: Blueprint,
): string {
  const matrix = { name: `${name}.o.weight.T`, parts: [`${name}.o.weight`] };
  return scope.add('Add', [input, precision.project(scope, mixed, matrix)]);
}

function tokenInputs(): ValueInfoMessage[] {
  return [
    valueInfo(ENCODER_ATTENTION_MASK, 'int64', ['batch_size', 'encoder_sequence_length']),
    valueInfo(INPUT_IDS, 'int64', ['batch_size', 'decoder_sequence_length']),
  ];
}

function encoderStatesInput({ config }: Blueprint): ValueInfoMessage {
  const shape = ['batch_size', 'encoder_sequence_length', config.d_model];
  return valueInfo(ENCODER_STATES, 'float32', shape);
}

function kvHeadsOfCache({ config }: Blueprint, name: CacheName): number {
  const module = name.includes('decoder') ? 'decoder.self' : 'decoder.cross';
  return headsOf(config, module, layerOf(name)).kvHeads;
}

function pastInputs(blueprint: Blueprint, headsOfCache = kvHeadsOfCache as DimensionOf) {
  const { config } = blueprint;
  return cacheNames(config.num_decoder_layers, BOTH).map((name) => {
    const tokens = name.includes('decoder')
      ? 'past_decoder_sequence_length'
      : 'encoder_sequence_length';
    const shape = ['batch_size', headsOfCache(blueprint, name), tokens, config.d_kv];
    return valueInfo(past(name), 'float32', shape);
  });
}

type DimensionOf = (blueprint: Blueprint, name: CacheName) => number | string;

/**
 * transformers.js 3 and Optimum pass an empty past of `num_heads` heads to the first step, which
 * does not look at it: grouped models must not refuse it.
 */
const anyHeads: DimensionOf = (blueprint, name) => {
  const kvHeads = kvHeadsOfCache(blueprint, name);
  if (kvHeads === blueprint.config.num_heads) return kvHeads;
  const differ = typeof blueprint.config.num_key_value_heads === 'object';
  return `${kindOf(name)}_kv_heads${differ ? `_${layerOf(name)}` : ''}`;
};

const kindOf = (name: CacheName): CacheKind => (name.includes('decoder') ? 'decoder' : 'encoder');
const layerOf = (name: CacheName): number => Number.parseInt(name, 10);

function outputInfos(blueprint: Blueprint, kinds: readonly CacheKind[]): ValueInfoMessage[] {
  const { config } = blueprint;
  const shape = ['batch_size', 'decoder_sequence_length', config.vocab_size];
  return [
    valueInfo(LOGITS, 'float32', shape),
    ...cacheNames(config.num_decoder_layers, kinds).map((name) => {
      const tokens = `present_${kindOf(name)}_sequence_length`;
      const dims = ['batch_size', kvHeadsOfCache(blueprint, name), tokens, config.d_kv];
      return valueInfo(present(name), 'float32', dims);
    }),
  ];
}

function toGraph(
  { scope, logits, presents }: Decoded,
  name: string,
  blueprint: Blueprint,
  inputs: readonly ValueInfoMessage[],
): GraphMessage {
  const kinds = presents.has('0.encoder.key') ? BOTH : (['decoder'] as const);
  const order = cacheNames(blueprint.config.num_decoder_layers, kinds);
  const values = [logits, ...order.map((cacheName) => presents.get(cacheName) ?? '')];
  const outputs = outputInfos(blueprint, kinds);
  return scope.toGraph(
    name,
    inputs,
    outputs.map((info, i) => [values[i] ?? '', info]),
  );
}

/**
 * Both branches must have the same outputs, and giving out an input would copy it: as in Optimum's
 * files, the later step's K and V of the source are empty, and its readers keep those they have.
 */
function withEmptyCross({ scope, logits, presents }: Decoded, blueprint: Blueprint): Decoded {
  const { config } = blueprint;
  const all = new Map(presents);
  for (const name of cacheNames(config.num_decoder_layers, ['encoder'])) {
    const kvHeads = kvHeadsOfCache(blueprint, name);
    const shape = scope.pool.integers([0, kvHeads, 1, config.d_kv]);
    all.set(name, scope.add('ConstantOfShape', [shape]));
  }
  return { scope, logits, presents: all };
}

/** A branch's outputs are matched by place; their names must not be those of the file's. */
function prefixOutputs(graph: GraphMessage, prefix: string): GraphMessage {
  const names = new Set(graph.output.map(({ name }) => name));
  const rename = (name: string): string => (names.has(name) ? `${prefix}${name}` : name);
  return {
    ...graph,
    node: graph.node.map((node) => ({
      ...node,
      input: node.input.map(rename),
      output: node.output.map(rename),
    })),
    output: graph.output.map((info) => ({ ...info, name: rename(info.name) })),
  };
}

function toModel(
  file: string,
  graph: GraphMessage,
  pool: InitializerPool,
  { precision }: Blueprint,
): OnnxModel {
  return { name: `${file}${precision.suffix}.onnx`, graph, initializers: pool.all() };
}
