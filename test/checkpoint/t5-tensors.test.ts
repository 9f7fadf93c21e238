import path from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { readCheckpoint } from '../../src/checkpoint/checkpoint.ts';
import { parseConfig, rejectInFile } from '../../src/checkpoint/config.ts';
import { readSafetensorsHeader } from '../../src/checkpoint/safetensors.ts';
import { scalarCount, t5Parameters } from '../../src/checkpoint/t5-tensors.ts';
import { convertedConfig, PRESETS, resolveConvertOptions } from '../../src/convert/index.ts';
import type { PresetName } from '../../src/index.ts';
import { goldenModelDirectory } from '../support/golden.ts';

const T5_BASE = parseConfig(
  {
    model_type: 't5',
    vocab_size: 32128,
    d_model: 768,
    d_kv: 64,
    d_ff: 3072,
    num_layers: 12,
    num_heads: 12,
  },
  rejectInFile('config.json'),
);

describe('the declared parameters', () => {
  test.each(['t5-mha', 't5v11-mha'])('are those of the file of %s', async (name) => {
    const directory = goldenModelDirectory(name);
    const { tensors } = await readSafetensorsHeader(path.join(directory, 'model.safetensors'));
    const { config } = await readCheckpoint({ directory });
    const inFile = [...tensors.values()].map(({ name: tensor, shape }) => [tensor, shape]);
    expect(Object.fromEntries(t5Parameters(config))).toEqual(Object.fromEntries(inFile));
  });

  test('of T5-base number 222,903,552', () => {
    expect(scalarCount(t5Parameters(T5_BASE))).toBe(222_903_552);
  });
});

/** Totals of Section 5 of arXiv 2407.10855: 24 modules, K and V, 12 heads. */
const MERGE_WEIGHTS = { head: 576, column: 36_864, row: 442_368 };

describe('T5-base converted to', () => {
  test.each(Object.keys(PRESETS) as PresetName[])('%s', (name) => {
    const options = resolveConvertOptions({ preset: name }, T5_BASE);
    const before = scalarCount(t5Parameters(T5_BASE));
    const after = scalarCount(t5Parameters(convertedConfig(T5_BASE, options)));
    const { merge, granularity } = PRESETS[name];
    // 24 modules times K and V, each losing (12 - G) of 12 heads of 64 x 768.
    const pooled = 48 * (Number(options.kvHeads) - 12) * 64 * 768;
    expect(after - before).toBe(merge === 'weighted' ? MERGE_WEIGHTS[granularity] : pooled);
    const expectedHeads = name.endsWith('MHA') ? 12 : name.endsWith('MQA') ? 1 : 6;
    expect(options.kvHeads).toBe(expectedHeads);
  });

  test('all fifteen rows of the table', () => {
    expect(Object.keys(PRESETS)).toHaveLength(15);
  });
});
