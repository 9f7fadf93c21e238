import { describe, expect, test } from '@jest/globals';
import { parsePlan } from '../../src/experiment/plan.ts';
import {
  baselineOf,
  isCalibrated,
  isMeanPooled,
  resolveVariant,
} from '../../src/experiment/variants.ts';
import { parseConfig } from '../../src/checkpoint/config.ts';
import { invalidArgument } from '../../src/errors.ts';
import { TINY_V11 } from '../support/tiny-model.ts';

const CONFIG = parseConfig(TINY_V11, invalidArgument);

function variantOf(variant: object) {
  const dataset = { name: 'a', train: ['t'], validation: ['v'], test: ['e'] };
  return parsePlan({ base: 'm', datasets: [dataset], variants: [variant] }, '/').variants[0]!;
}

describe('the plain mean', () => {
  test.each([
    [{ preset: 'GQA' }, true],
    [{ preset: 'MQA' }, true],
    [{ name: 'x', kvHeads: 1, merge: 'mean' }, true],
    [{ preset: 'MHA' }, false],
    [{ preset: 'WGQA' }, false],
    [{ preset: 'GQA', grouping: 'similarity' }, false],
    [{ preset: 'GQA', alignment: 'orthogonal' }, false],
    [{ preset: 'GQA', expansion: true }, false],
    [{ preset: 'GQA', distillation: {} }, false],
    [{ preset: 'GQA', trained: false }, true],
    [{ preset: 'GQA', trainable: 'merge' }, false],
    [{ name: 'x', merge: 'mean', budget: { maxBytes: 9999 } }, false],
  ])('%j: %p', (options, expected) => {
    const variant = variantOf(options);
    const resolved = resolveVariant(variant, CONFIG);
    expect(isMeanPooled(variant, resolved, CONFIG.num_heads)).toBe(expected);
  });
});

test.each([
  [{ preset: 'WGQA' }, false],
  [{ preset: 'WGQA', init: 'random' }, false],
  [{ preset: 'WGQA', init: 'least-squares' }, true],
  [{ preset: 'GQA', grouping: 'similarity' }, true],
  [{ preset: 'GQA', alignment: 'orthogonal' }, true],
  [{ name: 'x', merge: 'mean', budget: { maxBytes: 9999 } }, true],
])('conversions that look at text: %j %p', (options, expected) => {
  expect(isCalibrated(variantOf(options))).toBe(expected);
});

describe('the baseline of a variant', () => {
  const candidate = (name: string, kvBytes: number, isPooled = false, isTrained = true) => ({
    name,
    kvBytes,
    isTrained,
    isMeanPooled: isPooled,
  });
  const all = [
    candidate('MHA', 8),
    candidate('GQA', 4, true),
    candidate('MQA', 1, true),
    candidate('WGQA', 4),
    candidate('between', 3),
    candidate('WMQA', 1),
    candidate('MHA as shipped', 8, false, false),
    candidate('GQA as converted', 4, true, false),
    candidate('aligned as converted', 4, false, false),
    candidate('MQA aligned as converted', 1, false, false),
  ];

  test.each([
    ['MHA', undefined],
    ['GQA', undefined],
    ['MQA', undefined],
    ['WGQA', 'GQA'],
    ['between', 'GQA'],
    ['WMQA', 'MQA'],
    ['MHA as shipped', undefined],
    ['GQA as converted', undefined],
    ['aligned as converted', 'GQA as converted'],
    ['MQA aligned as converted', 'GQA as converted'],
  ])('%s: %s', (name, expected) => {
    expect(
      baselineOf(
        all.find((one) => one.name === name)!,
        all,
      ),
    ).toBe(expected);
  });
});
