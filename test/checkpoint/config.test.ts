import { describe, expect, test } from '@jest/globals';
import { eosTokenIds, parseConfig, rejectInFile } from '../../src/checkpoint/config.ts';
import { toNativeConfig } from '../../src/model/native-config.ts';

/** What the T5 v1.0 checkpoints say, written by a transformers of 2020: few keys. */
const OLD_T5_SMALL = {
  architectures: ['T5WithLMHeadModel'],
  d_ff: 2048,
  d_kv: 64,
  d_model: 512,
  decoder_start_token_id: 0,
  dropout_rate: 0.1,
  eos_token_id: 1,
  layer_norm_epsilon: 1e-6,
  model_type: 't5',
  n_positions: 512,
  num_heads: 8,
  num_layers: 6,
  pad_token_id: 0,
  relative_attention_num_buckets: 32,
  task_specific_params: { summarization: { prefix: 'summarize: ' } },
  vocab_size: 32128,
};

function parse(config: Record<string, unknown>) {
  return parseConfig(config, rejectInFile('config.json'));
}

describe('config.json', () => {
  test('of T5 v1.0 with few keys gets the defaults of Hugging Face', () => {
    expect(parse(OLD_T5_SMALL)).toMatchObject({
      num_decoder_layers: 6,
      relative_attention_max_distance: 128,
      feed_forward_proj: 'relu',
      dense_act_fn: 'relu',
      is_gated_act: false,
      tie_word_embeddings: true,
      scale_decoder_outputs: true,
    });
  });

  test('keeps the keys it does not know', () => {
    expect(parse(OLD_T5_SMALL)).toMatchObject({
      n_positions: 512,
      task_specific_params: OLD_T5_SMALL.task_specific_params,
    });
  });

  test('of T5 v1.1: gated-gelu is the tanh approximation, untied outputs are not scaled', () => {
    const config = parse({
      ...OLD_T5_SMALL,
      feed_forward_proj: 'gated-gelu',
      tie_word_embeddings: false,
      num_decoder_layers: 2,
    });
    expect(config).toMatchObject({
      dense_act_fn: 'gelu_new',
      is_gated_act: true,
      scale_decoder_outputs: false,
      num_decoder_layers: 2,
    });
    expect(toNativeConfig(config)).toMatchObject({
      activation: 'geluTanh',
      gated: true,
      tiedEmbeddings: false,
      encoderLayers: 6,
      decoderLayers: 2,
    });
  });

  test.each([
    ['relu', 'relu', false],
    ['gelu', 'gelu', false],
    ['gelu_new', 'geluTanh', false],
    ['gated-silu', 'silu', true],
    ['gated-gelu_pytorch_tanh', 'geluTanh', true],
  ])('feed_forward_proj %s is %s, gated %s', (projection, activation, gated) => {
    const config = parse({ ...OLD_T5_SMALL, feed_forward_proj: projection });
    expect(toNativeConfig(config)).toMatchObject({ activation, gated });
  });

  test('an activation that is not supported is refused with the allowed ones', () => {
    expect(() => parse({ ...OLD_T5_SMALL, feed_forward_proj: 'tanh' })).toThrow(
      expect.objectContaining({ code: 'UNSUPPORTED', field: 'feed_forward_proj' }),
    );
  });

  test('scale_decoder_outputs is its own key in newer files', () => {
    expect(parse({ ...OLD_T5_SMALL, scale_decoder_outputs: false })).toMatchObject({
      tie_word_embeddings: true,
      scale_decoder_outputs: false,
    });
  });

  test('null means not set, and the start token defaults to the padding token', () => {
    const config = parse({
      ...OLD_T5_SMALL,
      num_decoder_layers: null,
      decoder_start_token_id: null,
      pad_token_id: 3,
    });
    expect(config).toMatchObject({ num_decoder_layers: 6, decoder_start_token_id: 3 });
  });

  test('several end tokens', () => {
    expect(eosTokenIds(parse({ ...OLD_T5_SMALL, eos_token_id: [1, 7] }))).toEqual([1, 7]);
    expect(eosTokenIds(parse(OLD_T5_SMALL))).toEqual([1]);
  });

  test('grouping keys say which modules have fewer heads', () => {
    const folded = parse({ ...OLD_T5_SMALL, num_key_value_heads: 2 });
    expect(toNativeConfig(folded).kvHeads).toEqual({
      'decoder.self': 2,
      'decoder.cross': 2,
      'encoder.self': 8,
    });
    const wgqa = {
      kv_heads: 4,
      merge: 'weighted',
      granularity: 'row',
      init: 'random',
      modules: ['encoder.self'],
    };
    const weighted = toNativeConfig(parse({ ...OLD_T5_SMALL, num_key_value_heads: 4, wgqa }));
    expect(weighted.kvHeads).toEqual({ 'decoder.self': 8, 'decoder.cross': 8, 'encoder.self': 4 });
    expect(weighted).toMatchObject({
      mergedModules: ['encoder.self'],
      expandedModules: [],
      granularity: 'row',
      constraint: 'none',
    });
  });

  test('heads by layer reach native code as lists, where they differ', () => {
    const kvHeads = { 'decoder.self': [1, 2, 4, 8, 8, 1], 'decoder.cross': [2, 2, 2, 2, 2, 2] };
    const wgqa = {
      kv_heads: kvHeads,
      merge: 'mean',
      expansion: true,
      modules: ['decoder.cross', 'decoder.self'],
    };
    const native = toNativeConfig(parse({ ...OLD_T5_SMALL, num_key_value_heads: kvHeads, wgqa }));
    expect(native).toMatchObject({
      kvHeads: { 'decoder.self': kvHeads['decoder.self'], 'decoder.cross': 2, 'encoder.self': 8 },
      mergedModules: [],
      expandedModules: ['decoder.cross', 'decoder.self'],
    });
    expect(native).not.toHaveProperty('granularity');
  });

  test('a constraint is that of merge weights: a mean has none', () => {
    const wgqa = { kv_heads: 2, modules: ['decoder.self'], constraint: 'signed' };
    const weights = { merge: 'weighted', granularity: 'head', init: 'mean' };
    const constraintOf = (merge: object) => {
      const raw = { ...OLD_T5_SMALL, num_key_value_heads: 2, wgqa: { ...wgqa, ...merge } };
      return toNativeConfig(parse(raw)).constraint;
    };
    expect(constraintOf(weights)).toBe('signed');
    expect(constraintOf({ merge: 'mean' })).toBe('none');
  });
});
