/**
 * The gradients of merge weights and merged heads in closed form. With W_g = sum over h of w_h * W_h,
 * and D = dL/dW_g taken from the folded model, where W_g is a parameter:
 * dL/dw_h = D * W_h summed over what w_h is shared by, and dL/dW_h = w_h * D.
 */
import { describe, expect, test } from '@jest/globals';
import { Trainer, type MergeGranularity, type Model, type Tensor } from '../../src/index.ts';
import { expectClose } from '../support/tensors.ts';
import { TINY_V10, TINY_V11, tinyBatch, tinyModel } from '../support/tiny-model.ts';

const { num_heads: HEADS, d_kv: WIDTH, d_model: COLUMNS } = TINY_V10;
const KV_HEADS = 2;
// Both sides are float32 sums over the same batch in another order; measured up to 3e-7.
const TOLERANCE = 1e-5;

const CASES = [
  ['head', 'v1.0', TINY_V10],
  ['row', 'v1.0', TINY_V10],
  ['column', 'v1.0', TINY_V10],
  ['head', 'v1.1', TINY_V11],
  ['row', 'v1.1', TINY_V11],
  ['column', 'v1.1', TINY_V11],
] as const;

describe.each(CASES)('by %s, T5 %s', (granularity, _architecture, config) => {
  test('gradients of merge weights and heads follow from those of the merged matrix', async () => {
    await using multiHead = await tinyModel(config);
    await using merged = await convert(multiHead, granularity);
    await using folded = await merged.fold();
    const gradients = await gradientsOf(merged);
    const foldedGradients = await gradientsOf(folded);
    const projections = projectionsOf(merged);
    expect(projections).toHaveLength(2 * 2 * config.num_decoder_layers);
    for (const name of projections) {
      const heads = await merged.readParameter(`${name}.weight`);
      const weights = await merged.readParameter(`${name}.merge_weight`);
      const group = foldedGradients.get(`${name}.weight`);
      if (group === undefined) throw new Error(`no gradient of ${name}`);
      const expected = closedForm(heads, weights, group);
      expectClose(name, gradients.get(`${name}.weight`), expected.heads, TOLERANCE);
      expectClose(name, gradients.get(`${name}.merge_weight`), expected.weights, TOLERANCE);
    }
  });
});

function convert(model: Model, granularity: MergeGranularity): Promise<Model> {
  return model.convert({
    kvHeads: KV_HEADS,
    merge: 'weighted',
    granularity,
    init: 'random',
    seed: 2,
  });
}

function projectionsOf(model: Model): string[] {
  const suffix = '.merge_weight';
  return [...model.parameters().keys()].flatMap((name) =>
    name.endsWith(suffix) ? [name.slice(0, -suffix.length)] : [],
  );
}

async function gradientsOf(model: Model): Promise<Map<string, Tensor>> {
  await using trainer = new Trainer(model, { optimizer: { type: 'adamw', learningRate: 0 } });
  return await trainer.gradients(tinyBatch());
}

/** heads [H * d_kv, d_model], weights [H, d_kv or 1, d_model or 1], group [G * d_kv, d_model]. */
function closedForm(heads: Tensor, weights: Tensor, group: Tensor) {
  const [, rows = 1, columns = 1] = weights.shape;
  const ofHeads = new Float64Array(heads.data.length);
  const ofWeights = new Float64Array(weights.data.length);
  for (let i = 0; i < heads.data.length; ++i) {
    const head = Math.floor(i / (WIDTH * COLUMNS));
    const row = rows === 1 ? 0 : Math.floor(i / COLUMNS) % WIDTH;
    const column = columns === 1 ? 0 : i % COLUMNS;
    const weight = (head * rows + row) * columns + column;
    const kvHead = Math.floor(head / (HEADS / KV_HEADS));
    const derivative = group.data[kvHead * WIDTH * COLUMNS + (i % (WIDTH * COLUMNS))] ?? NaN;
    ofHeads[i] = (weights.data[weight] ?? NaN) * derivative;
    ofWeights[weight] = (ofWeights[weight] ?? NaN) + (heads.data[i] ?? NaN) * derivative;
  }
  return {
    heads: { data: Float32Array.from(ofHeads), shape: heads.shape },
    weights: { data: Float32Array.from(ofWeights), shape: weights.shape },
  };
}
