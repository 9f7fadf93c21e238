/** Files of the T5 family as they are met, against the logits of Transformers 5.24 in float64. */
import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { loadModel, Trainer, type Model } from '../../src/index.ts';
import { useTemporaryDirectories } from '../support/directories.ts';
import { failureOf } from '../support/errors.ts';
import { expectClose } from '../support/tensors.ts';

const ROOT = path.join(import.meta.dirname, '../fixtures/golden-files');
const TOLERANCE = 1e-4;
const REFUSED = 'umt5';
const FORMS = readdirSync(ROOT, { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && entry.name !== REFUSED)
  .map(({ name }) => name);

interface Expected {
  readonly inputIds: number[][];
  readonly attentionMask: number[][];
  readonly decoderInputIds: number[][];
  readonly shape: number[];
  readonly logits: number[];
}

const newDirectory = useTemporaryDirectories();
const modelOf = (form: string): string => path.join(ROOT, form, 'model');

async function expectLogits(model: Model, form: string): Promise<void> {
  const file = path.join(ROOT, form, 'expected.json');
  const { shape, logits, ...batch } = JSON.parse(readFileSync(file, 'utf8')) as Expected;
  const result = await model.forward(batch);
  expectClose('logits', result.logits, { shape, data: Float32Array.from(logits) }, TOLERANCE);
}

test('all eleven forms are there', () => {
  expect(FORMS).toHaveLength(11);
});

describe.each(FORMS)('%s', (form) => {
  test('gives the logits of Transformers', async () => {
    await using model = await loadModel(modelOf(form));
    await expectLogits(model, form);
  });

  test('gives them again when it was saved and loaded', async () => {
    const saved = newDirectory();
    {
      await using model = await loadModel(modelOf(form));
      await model.save(saved);
    }
    await using model = await loadModel(saved);
    await expectLogits(model, form);
  });
});

test('a head that is a copy of the embedding is tied, another is not', async () => {
  const hasHead = async (form: string): Promise<boolean> => {
    await using model = await loadModel(modelOf(form));
    expect(model.config.tie_word_embeddings).toBe(!model.parameters().has('lm_head.weight'));
    return model.parameters().has('lm_head.weight');
  };
  expect(await hasHead('pytorch-bin')).toBe(false);
  expect(await hasHead('pytorch-bin-legacy')).toBe(false);
  expect(await hasHead('tied-scaled')).toBe(false);
  expect(await hasHead('new-v1.1-of-transformers-5')).toBe(false);
  expect(await hasHead('untied-as-transformers-5-saves')).toBe(true);
  expect(await hasHead('untied-as-transformers-4-saves')).toBe(true);
});

test('config.json and what is carried over are saved as they came, byte for byte', async () => {
  const saved = newDirectory();
  await using model = await loadModel(modelOf('tied-scaled'));
  await model.save(saved);
  for (const name of ['config.json', 'generation_config.json']) {
    const original = readFileSync(path.join(modelOf('tied-scaled'), name), 'utf8');
    expect(original).toContain(name === 'config.json' ? '"initializer_factor": 1.0' : '');
    expect(readFileSync(path.join(saved, name), 'utf8')).toBe(original);
  }
});

test('exact GELU learns: gradients are those of finite differences', async () => {
  await using model = await loadModel(modelOf('gelu'));
  const batch = { inputIds: [[5, 6, 7, 1]], labels: [[9, 10, 1]] };
  const trainer = new Trainer(model, { optimizer: { type: 'adamw', learningRate: 1e-3 } });
  const name = 'encoder.block.0.layer.1.DenseReluDense.wi.weight';
  const gradient = (await trainer.gradients(batch)).get(name)!.data;
  const { data, shape } = await model.readParameter(name);
  const lossAt = async (scale: number): Promise<number> => {
    const moved = data.map((value, i) => value + scale * gradient[i]!);
    await model.writeParameter(name, { data: moved, shape });
    return (await model.forward(batch)).loss!;
  };
  // Along the gradient the slope is its squared norm.
  const norm = gradient.reduce((sum, value) => sum + value * value, 0);
  const step = 0.005 / Math.sqrt(norm);
  const slope = ((await lossAt(step)) - (await lossAt(-step))) / (2 * step);
  expect(Math.abs(slope / norm - 1)).toBeLessThan(1e-3);
  await trainer.dispose();
});

test('mT5 stays mT5 when it is saved', async () => {
  const saved = newDirectory();
  await using model = await loadModel(modelOf('mt5'));
  await model.save(saved);
  const config = JSON.parse(readFileSync(path.join(saved, 'config.json'), 'utf8')) as object;
  expect(config).toMatchObject({ model_type: 'mt5', architectures: ['MT5ForConditionalGeneration'] });
});

test('UMT5 is refused by name', async () => {
  expect(await failureOf(() => loadModel(modelOf(REFUSED)))).toEqual({
    code: 'UNSUPPORTED',
    field: 'model_type',
  });
});
