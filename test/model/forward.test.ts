import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import {
  createModel,
  Engine,
  type ForwardInput,
  type Model,
  type Tensor,
} from '../../src/index.ts';
import { errorOf, failureOf } from '../support/errors.ts';
import { expectClose, relativeError } from '../support/tensors.ts';
import { randomRows, tinyBatch, tinyModel, TINY_V10, TINY_V11 } from '../support/tiny-model.ts';

// The same sums in another order: a few roundings of float32.
const ROUNDING = 1e-5;

/** Rows [start, end) of the first axis's `row`-th block of a [rows, columns, width] tensor. */
function slice(tensor: Tensor | undefined, row: number, start: number, end: number): Tensor {
  const [, columns = 0, width = 0] = tensor?.shape ?? [];
  const first = (row * columns + start) * width;
  const last = (row * columns + end) * width;
  return {
    data: tensor?.data.slice(first, last) ?? new Float32Array(),
    shape: [end - start, width],
  };
}

describe.each([
  ['T5 v1.0', TINY_V10],
  ['T5 v1.1', TINY_V11],
])('%s', (_name, config) => {
  let model: Model;

  beforeAll(async () => {
    model = await tinyModel(config);
  });

  afterAll(async () => {
    await model.dispose();
  });

  test('a batch of n is n batches of one', async () => {
    const { inputIds, labels } = tinyBatch();
    const together = await model.forward({ inputIds, labels });
    for (const [i, row] of inputIds.entries()) {
      const target = labels[i] ?? [];
      const alone = await model.forward({ inputIds: [row], labels: [target] });
      const logits = slice(together.logits, i, 0, target.length);
      expectClose(`logits ${i}`, logits, slice(alone.logits, 0, 0, target.length), ROUNDING);
      const states = slice(together.encoderStates, i, 0, row.length);
      expectClose(`states ${i}`, states, slice(alone.encoderStates, 0, 0, row.length), ROUNDING);
    }
  });

  test('padding left or right of the tokens changes nothing', async () => {
    const [row = []] = randomRows(5, [6]);
    const decoderInputIds = [[0, 5, 9]];
    const plain = await model.forward({ inputIds: [row], decoderInputIds });
    const left: ForwardInput = {
      inputIds: [[0, 0, 0, ...row]],
      attentionMask: [[0, 0, 0, 1, 1, 1, 1, 1, 1]],
      decoderInputIds,
    };
    const right = {
      inputIds: { data: BigInt64Array.from([...row, 0, 0, 0].map(BigInt)), shape: [1, 9] },
      attentionMask: { data: Int32Array.of(1, 1, 1, 1, 1, 1, 0, 0, 0), shape: [1, 9] },
      decoderInputIds,
    };
    for (const [input, start] of [
      [left, 3],
      [right, 0],
    ] as const) {
      const padded = await model.forward(input);
      expectClose('logits', padded.logits, plain.logits, ROUNDING);
      expect(padded.encoderStates?.shape).toEqual([1, 9, 16]);
      const states = slice(padded.encoderStates, 0, start, start + 6);
      expectClose('states', states, slice(plain.encoderStates, 0, 0, 6), ROUNDING);
      const padding = slice(padded.encoderStates, 0, start === 0 ? 6 : 0, start === 0 ? 9 : 3);
      expect(padding.data.every((value) => value === 0)).toBe(true);
    }
  });

  test('a position does not see the decoder inputs behind it', async () => {
    const [source = [], target = []] = randomRows(9, [5, 7]);
    const full = await model.forward({ inputIds: [source], decoderInputIds: [target] });
    for (let length = 1; length < target.length; ++length) {
      const prefix = { inputIds: [source], decoderInputIds: [target.slice(0, length)] };
      const { logits } = await model.forward(prefix);
      expectClose(
        `prefix of ${length}`,
        logits,
        {
          ...slice(full.logits, 0, 0, length),
          shape: [1, length, 40],
        },
        ROUNDING,
      );
    }
  });

  test('labels give decoder inputs shifted right, and the mean loss of those that count', async () => {
    const labels = [[4, -100, 6, 1]];
    const shifted = [[0, 4, 0, 6]];
    const inputIds = [[3, 8, 1]];
    const result = await model.forward({ inputIds, labels });
    const { logits } = await model.forward({ inputIds, decoderInputIds: shifted });
    expectClose('logits', result.logits, logits, 0);
    const losses = [0, 2, 3].map((position) => {
      const { data } = slice(logits, 0, position, position + 1);
      const sum = data.reduce((total, logit) => total + Math.exp(logit), 0);
      return Math.log(sum) - (data[labels[0]?.[position] ?? 0] ?? NaN);
    });
    expect(result.loss).toBeCloseTo(losses.reduce((a, b) => a + b) / 3, 5);
  });

  test('without labels and decoder inputs, the decoder gets its start token', async () => {
    const inputIds = [[3, 8, 1]];
    const { logits, loss } = await model.forward({ inputIds });
    const { logits: expected } = await model.forward({ inputIds, decoderInputIds: [[0]] });
    expect(loss).toBeUndefined();
    expectClose('logits', logits, expected, 0);
  });

  test('bfloat16 inference stays near float32', async () => {
    const short = await createModel(config, { seed: 7, dtype: 'bfloat16' });
    const { inputIds, labels } = tinyBatch();
    const exact = await model.forward({ inputIds, labels });
    const rounded = await short.forward({ inputIds, labels });
    const error = relativeError(rounded.logits.data, exact.logits.data);
    // bfloat16 keeps 8 bits: 2^-9 per rounding, and some ten roundings on the way. An error of 0
    // would mean that the type was ignored.
    expect(error).toBeLessThan(3e-2);
    expect(error).toBeGreaterThan(1e-5);
    await short.dispose();
  });

  test('float16 inference stays nearer still, where a GPU is', async () => {
    let short: Model;
    try {
      short = await createModel(config, { seed: 7, device: 'cuda', dtype: 'float16' });
    } catch (error) {
      process.stderr.write(`float16 is not tested here: ${String(error)}\n`);
      return;
    }
    await using engine = new Engine(short);
    const { inputIds, labels } = tinyBatch();
    const exact = await model.forward({ inputIds, labels });
    const rounded = await short.forward({ inputIds, labels });
    const error = relativeError(rounded.logits.data, exact.logits.data);
    // Three bits more than bfloat16.
    expect(error).toBeLessThan(3e-2 / 8);
    expect(error).toBeGreaterThan(1e-6);
    const { sequences } = await engine.generate({ inputIds: [3, 4, 1], maxNewTokens: 8 });
    expect(sequences[0]?.tokenIds.length).toBeGreaterThan(0);
    await engine.close();
    await short.dispose();
  });
});

describe('input that forward refuses', () => {
  let model: Model;
  beforeAll(async () => {
    model = await tinyModel();
  });
  afterAll(async () => {
    await model.dispose();
  });

  const good = [[3, 4, 1]];
  test.each<[string, unknown, string]>([
    ['no ids', {}, 'inputIds'],
    ['no rows', { inputIds: [] }, 'inputIds'],
    ['an empty row', { inputIds: [[3, 1], []] }, 'inputIds[1]'],
    ['an id beyond the vocabulary', { inputIds: [[3], [3, 4, 40]] }, 'inputIds[1][2]'],
    ['a negative id', { inputIds: [[-1]] }, 'inputIds[0][0]'],
    ['-100 in the source', { inputIds: [[-100]] }, 'inputIds[0][0]'],
    ['a fractional id', { inputIds: [[3, 0.5]] }, 'inputIds[0][1]'],
    ['an id that is text', { inputIds: [['3']] }, 'inputIds[0][0]'],
    ['a hole in a row', { inputIds: [Object.assign([3], { length: 2 })] }, 'inputIds[0][1]'],
    [
      'a shape that does not fit',
      { inputIds: { data: new Int32Array(6), shape: [2, 2] } },
      'inputIds.shape',
    ],
    ['a float array', { inputIds: { data: new Float32Array(4), shape: [2, 2] } }, 'inputIds.data'],
    [
      'a mask with other rows',
      { inputIds: good, attentionMask: [[1, 1, 1], [1]] },
      'attentionMask',
    ],
    ['a mask of other length', { inputIds: good, attentionMask: [[1, 1]] }, 'attentionMask[0]'],
    ['a mask of zeros', { inputIds: good, attentionMask: [[0, 0, 0]] }, 'attentionMask[0]'],
    ['a mask with a hole', { inputIds: good, attentionMask: [[1, 0, 1]] }, 'attentionMask[0]'],
    ['a mask with a 2', { inputIds: good, attentionMask: [[1, 2, 1]] }, 'attentionMask[0][1]'],
    ['labels of other rows', { inputIds: good, labels: [[1], [1]] }, 'labels'],
    ['labels that never count', { inputIds: good, labels: [[-100, -100]] }, 'labels'],
    ['a label beyond the vocabulary', { inputIds: good, labels: [[40]] }, 'labels[0][0]'],
    [
      'decoder inputs of other rows',
      { inputIds: good, decoderInputIds: [[0], [0]] },
      'decoderInputIds',
    ],
    [
      'decoder inputs of another length than labels',
      { inputIds: good, labels: [[3, 1]], decoderInputIds: [[0]] },
      'decoderInputIds[0]',
    ],
  ])('%s', async (_name, input, field) => {
    const error = await errorOf(() => model.forward(input as ForwardInput));
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', field });
    expect(error.allowed).toBeTruthy();
  });

  test('more logits than memory holds', async () => {
    const wordy = await tinyModel({ ...TINY_V10, d_model: 4, vocab_size: 1 << 20 });
    const labels = [Array.from({ length: 1 << 17 }, () => 3)];
    const work = () => wordy.forward({ inputIds: [[3]], labels });
    expect(await failureOf(work)).toEqual({ code: 'OUT_OF_MEMORY', field: 'inputIds' });
    await wordy.dispose();
  });

  test('an aborted signal', async () => {
    const reason = new Error('enough');
    const work = model.forward({ inputIds: good }, { signal: AbortSignal.abort(reason) });
    expect(await errorOf(() => work)).toMatchObject({ code: 'ABORTED', cause: reason });
  });
});
