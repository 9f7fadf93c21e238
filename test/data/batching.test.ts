import { describe, expect, test } from '@jest/globals';
import {
  createDataset,
  type Batch,
  type BatchingOptions,
  type Example,
} from '../../src/data/index.ts';

/** Examples whose source starts with their index and whose lengths vary between 1 and 60. */
function makeExamples(count: number): Example[] {
  return Array.from({ length: count }, (_, index) => ({
    inputIds: new Int32Array(1 + ((index * 37) % 60)).fill(index),
    labels: new Int32Array(1 + ((index * 11) % 7)).fill(index),
  }));
}

const indicesOf = (batches: Iterable<Batch>) =>
  [...batches].map((batch) => batch.inputIds.map((ids) => ids[0] ?? -1));

describe.each<[string, BatchingOptions]>([
  ['by examples', { batchSize: 8, seed: 3 }],
  ['by tokens', { maxTokens: 256, seed: 3 }],
  ['by both', { batchSize: 6, maxTokens: 200, seed: 3 }],
  ['in order', { batchSize: 8, shuffle: false }],
])('batches %s', (_, options) => {
  const examples = makeExamples(2003);
  const dataset = createDataset(examples, options);

  test('hold every example once in each epoch', () => {
    for (const epoch of [0, 1]) {
      const indices = indicesOf(dataset.batches(epoch)).flat();
      expect([...indices].sort((a, b) => a - b)).toEqual([...examples.keys()]);
    }
    expect(dataset.length).toBe(2003);
  });

  test('keep sources with their targets', () => {
    for (const { inputIds, labels } of dataset.batches(0)) {
      expect(labels.map((ids) => ids[0])).toEqual(inputIds.map((ids) => ids[0]));
    }
  });

  test('keep the limits, and are counted before they are made', () => {
    const batches = [...dataset.batches(1)];
    expect(batches).toHaveLength(dataset.batchCount(1));
    for (const { inputIds, labels } of batches) {
      expect(inputIds.length).toBeGreaterThan(0);
      expect(inputIds.length).toBeLessThanOrEqual(options.batchSize ?? Infinity);
      const tokens = [...inputIds, ...labels].reduce((sum, ids) => sum + ids.length, 0);
      expect(tokens).toBeLessThanOrEqual(options.maxTokens ?? Infinity);
    }
  });

  test('continue from any batch as if they had not stopped', () => {
    const whole = indicesOf(dataset.batches(1));
    for (const start of [0, 1, whole.length - 1, whole.length, whole.length + 5]) {
      const resumed = createDataset(examples, options).batches(1, start);
      expect(indicesOf(resumed)).toEqual(whole.slice(start));
    }
  });
});

describe('a shuffled order', () => {
  const examples = makeExamples(1000);
  const order = (seed: number, epoch: number) =>
    indicesOf(createDataset(examples, { batchSize: 8, seed }).batches(epoch));

  test('depends on the seed and the epoch, and on nothing else', () => {
    expect(order(1, 0)).toEqual(order(1, 0));
    expect(order(1, 1)).not.toEqual(order(1, 0));
    expect(order(2, 0)).not.toEqual(order(1, 0));
    expect(order(2 ** 32 + 1, 0)).not.toEqual(order(1, 0)); // the seed's upper bits count
  });

  test('is the same in every version', () => {
    // Fixed, so that a run resumed under a later version sees the batches it would have seen.
    expect(order(7, 2)[0]).toEqual([172, 545, 485, 185, 5, 65, 365, 845]);
  });

  test('puts examples of like length together', () => {
    const spread = (batches: number[][]) =>
      batches.reduce((sum, batch) => {
        const lengths = batch.map((index) => examples[index]?.inputIds.length ?? 0);
        return sum + Math.max(...lengths) - Math.min(...lengths);
      }, 0) / batches.length;
    // Lengths from 1 to 60: eight at random span some 46, eight neighbours of 512 sorted ones 1.
    expect(spread(order(1, 0))).toBeLessThan(3);
  });

  test('does not go from short to long', () => {
    const lengths = order(1, 0).map((batch) => examples[batch[0] ?? 0]?.inputIds.length ?? 0);
    const ascents = lengths.filter((length, i) => length > (lengths[i - 1] ?? Infinity)).length;
    // Of 124 neighbours about half ascend in a random order, all but a few in a sorted one.
    expect(ascents).toBeGreaterThan(40);
    expect(ascents).toBeLessThan(84);
  });
});

describe('createDataset rejects', () => {
  const examples = makeExamples(3);
  const empty = { inputIds: new Int32Array(), labels: Int32Array.of(1) };
  const cases: [string, Example[], BatchingOptions, string][] = [
    ['no limit', examples, {}, 'batchSize'],
    ['a batch of none', examples, { batchSize: 0 }, 'batchSize'],
    ['half an example', examples, { batchSize: 1.5 }, 'batchSize'],
    ['a negative seed', examples, { batchSize: 1, seed: -1 }, 'seed'],
    ['no examples', [], { batchSize: 1 }, 'examples'],
    ['an empty source', [...examples, empty], { batchSize: 1 }, 'examples[3]'],
    ['an example that fits no batch', examples, { maxTokens: 20 }, 'examples[1]'],
  ];
  test.each(cases)('%s', (_, given, options, field) => {
    expect(() => createDataset(given, options)).toThrow(
      expect.objectContaining({ name: 'WgqaError', code: 'INVALID_ARGUMENT', field }),
    );
  });

  test.each([-1, 0.5, NaN])('epoch and start %p', (value) => {
    const dataset = createDataset(examples, { batchSize: 1 });
    expect(() => dataset.batchCount(value)).toThrow(expect.objectContaining({ field: 'epoch' }));
    expect(() => dataset.batches(0, value)).toThrow(expect.objectContaining({ field: 'start' }));
  });
});
