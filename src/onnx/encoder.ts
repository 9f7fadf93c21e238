/** The graph of the encoder: token ids and mask in, states out. */
import { encoderBias } from './bias.ts';
import { InitializerPool, Scope } from './graph.ts';
import {
  attention,
  feedForward,
  headsOf,
  norm,
  selfProjections,
  type Blueprint,
  type Heads,
} from './layers.ts';
import { ATTENTION_MASK, ENCODER_FILE, INPUT_IDS, LAST_HIDDEN_STATE } from './names.ts';
import { valueInfo } from './schema.ts';
import type { OnnxModel } from './write-graph.ts';

export function buildEncoder(blueprint: Blueprint): OnnxModel {
  const { config, precision } = blueprint;
  const scope = new Scope(new InitializerPool());
  const heads = headsOf(config, 'encoder.self', 0);
  const bias = encoderBias(scope, INPUT_IDS, ATTENTION_MASK, blueprint, heads);
  let states = precision.embed(scope, INPUT_IDS, 'shared.weight');
  for (let layer = 0; layer < config.num_layers; ++layer) {
    states = encoderBlock(scope, states, { layer, bias, heads }, blueprint);
  }
  states = norm(scope, states, 'encoder.final_layer_norm.weight', blueprint);
  const tokens = ['batch_size', 'encoder_sequence_length'];
  const output = valueInfo(LAST_HIDDEN_STATE, 'float32', [...tokens, config.d_model]);
  const inputs = [INPUT_IDS, ATTENTION_MASK].map((name) => valueInfo(name, 'int64', tokens));
  return {
    name: `${ENCODER_FILE}${precision.suffix}.onnx`,
    graph: scope.toGraph('encoder', inputs, [[states, output]]),
    initializers: scope.pool.all(),
  };
}

function encoderBlock(
  scope: Scope,
  input: string,
  { layer, bias, heads }: { layer: number; bias: string; heads: Heads },
  blueprint: Blueprint,
): string {
  const prefix = `encoder.block.${layer}.layer`;
  const name = `${prefix}.0.SelfAttention`;
  const normalised = norm(scope, input, `${prefix}.0.layer_norm.weight`, blueprint);
  const { queries, ...keyValue } = selfProjections(scope, normalised, { name, heads }, blueprint);
  const mixed = attention(scope, queries, keyValue, bias, heads);
  const output = { name: `${name}.o.weight.T`, parts: [`${name}.o.weight`] };
  const attended = scope.add('Add', [input, blueprint.precision.project(scope, mixed, output)]);
  return feedForward(scope, attended, `${prefix}.1`, blueprint);
}
