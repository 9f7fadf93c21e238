/** Export of what conversions make: heads by layer, and weights that only folding removes. */
import { readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import {
  Engine,
  exportOnnx,
  isConversionWeight,
  loadModel,
  loadOnnx,
  type ConvertOptions,
  type GenerationRequest,
  type Model,
} from '../../src/index.ts';
import { LONG } from '../support/decoding.ts';
import { useTemporaryDirectories } from '../support/directories.ts';
import { goldenModelDirectory } from '../support/golden.ts';
import { integers, openGraph, toTensor } from '../support/onnx.ts';
import { expectClose, relativeError } from '../support/tensors.ts';
import { randomRows } from '../support/tiny-model.ts';

/** Both sides compute in float32, in different orders: the row "end to end" of CONTRIBUTING.md. */
const TOLERANCE = 1e-4;
/** Inputs have one scale per tensor: 1.0 % to 2.2 % were measured. See export.test.ts. */
const INT8_TOLERANCE = 3e-2;

/** Of six heads and two decoder layers. */
const KV_HEADS = { 'decoder.self': [1, 6], 'decoder.cross': [3, 2] } as const;
const SOURCES = randomRows(41, [5, 12]);

const temporary = useTemporaryDirectories();
const source = await loadModel(goldenModelDirectory('t5v11-wgqa3'));

afterAll(async () => {
  await source.dispose();
});

/** Conversion weights are changed, so that leaving one out shows. */
async function convertedModel(options: ConvertOptions): Promise<Model> {
  const model = await source.convert(options);
  const names = [...model.parameters().keys()].filter(isConversionWeight);
  for (const [n, name] of names.entries()) {
    const { data, shape } = await model.readParameter(name);
    const changed = data.map((value, i) => value * (1 + 0.3 * Math.sin(5 * n + i)));
    await model.writeParameter(name, { data: changed, shape });
  }
  return model;
}

const CASES: readonly (readonly [string, ConvertOptions])[] = [
  ['pooled by layer', { kvHeads: KV_HEADS, merge: 'mean' }],
  ['cross-attention alone', { kvHeads: { 'decoder.cross': [1, 6] }, merge: 'mean' }],
  ['weighted by layer', { kvHeads: KV_HEADS, merge: 'weighted', granularity: 'row' }],
  ['pooled and expanded', { kvHeads: 3, merge: 'mean', expansion: true }],
  ['expanded alone', { kvHeads: 6, merge: 'mean', expansion: true }],
  [
    'everything',
    {
      kvHeads: 2,
      merge: 'weighted',
      constraint: 'signed',
      grouping: 'similarity',
      alignment: 'orthogonal',
      expansion: true,
      modules: ['encoder.self', 'decoder.self', 'decoder.cross'],
    },
  ],
];

describe.each(CASES)('%s', (_name, options) => {
  test('generates the tokens of the engine', async () => {
    await using model = await convertedModel(options);
    await using native = new Engine(model);
    const directory = temporary();
    await exportOnnx(model, directory);
    await using engine = await loadOnnx(directory, { threads: 1 });
    for (const inputIds of SOURCES) {
      for (const search of [{}, { numBeams: 3, numReturnSequences: 3 }]) {
        const request: GenerationRequest = { inputIds, ...LONG, maxNewTokens: 10, ...search };
        const tokens = ({ sequences }: Awaited<ReturnType<Engine['generate']>>) =>
          sequences.map(({ tokenIds }) => tokenIds);
        expect(tokens(await engine.generate(request))).toEqual(
          tokens(await native.generate(request)),
        );
      }
    }
  });

  test('has its logits, in int8 close to them', async () => {
    await using model = await convertedModel(options);
    const [inputIds = []] = SOURCES;
    const decoderInputIds = [[0, 4, 9, 17, 2]];
    const { logits } = await model.forward({ inputIds: [inputIds], decoderInputIds });
    for (const quantize of [undefined, 'int8'] as const) {
      const directory = temporary();
      await exportOnnx(model, directory, quantize && { quantize });
      const suffix = quantize ? '_quantized' : '';
      const mask = integers([inputIds.map(() => 1)]);
      const encoder = await openGraph(directory, `encoder_model${suffix}`);
      const states = await encoder.run({ input_ids: integers([inputIds]), attention_mask: mask });
      const decoder = await openGraph(directory, `decoder_model${suffix}`);
      const outputs = await decoder.run({
        encoder_attention_mask: mask,
        encoder_hidden_states: states['last_hidden_state']!,
        input_ids: integers(decoderInputIds),
      });
      const actual = toTensor(outputs['logits']);
      expectClose('logits', actual, logits, quantize ? INT8_TOLERANCE : TOLERANCE);
      if (quantize) expect(relativeError(actual.data, logits.data)).toBeGreaterThan(TOLERANCE);
    }
  });
});

test('heads by layer run from the merged file alone', async () => {
  await using model = await convertedModel({ kvHeads: KV_HEADS, merge: 'mean' });
  await using native = new Engine(model);
  const directory = temporary();
  await exportOnnx(model, directory);
  for (const file of ['decoder_model.onnx', 'decoder_with_past_model.onnx']) {
    await rm(path.join(directory, 'onnx', file));
  }
  await using engine = await loadOnnx(directory, { threads: 1 });
  const request = { inputIds: SOURCES[1] ?? [], ...LONG, maxNewTokens: 8, numBeams: 2 };
  const [actual, expected] = [await engine.generate(request), await native.generate(request)];
  expect(actual.sequences[0]?.tokenIds).toEqual(expected.sequences[0]?.tokenIds);
});

test('int8 by layer runs in an engine of its own directory', async () => {
  await using model = await convertedModel({ kvHeads: KV_HEADS, merge: 'weighted' });
  const directory = temporary();
  await exportOnnx(model, directory, { quantize: 'int8' });
  await using engine = await loadOnnx(directory, { threads: 1 });
  const [inputIds = []] = SOURCES;
  const request = { inputIds, ...LONG, maxNewTokens: 8, numBeams: 2 };
  const { sequences } = await engine.generate(request);
  expect(sequences[0]?.tokenIds).toHaveLength(8);
  const config = await readFile(path.join(directory, 'config.json'), 'utf8');
  expect(JSON.parse(config)).toMatchObject({
    num_key_value_heads: KV_HEADS,
    num_key_value_modules: ['decoder.self', 'decoder.cross'],
  });
  expect(JSON.parse(config)).not.toHaveProperty('wgqa');
});
