/**
 * Inference in bfloat16 and int8 against float32, on trained models. Rounding both factors of every
 * product is what a type costs: to bfloat16 (8 bits of mantissa), or to 255 steps per row of what is
 * multiplied and per output of the weight. The float64 model with just that rounding says how much
 * it is. The logits may be off by twice as much; measured is 1.0 times.
 */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Engine, loadModel, type Model, type Tensor } from '../../src/index.ts';
import { useTemporaryDirectories } from '../support/directories.ts';
import { loadGoldenModel, readGolden, type Golden } from '../support/golden.ts';
import { logSoftmax, type Matrix, type Rounding, type Row } from '../support/t5-float64.ts';
import { toFloat64 } from '../support/variants.ts';

const newDirectory = useTemporaryDirectories();

const ROUNDINGS = { bfloat16: toBfloat16Matrix, int8: toInt8Matrix } as const;
const TYPES = Object.keys(ROUNDINGS) as (keyof typeof ROUNDINGS)[];
const NAMES = ['t5-mha', 't5-mqa', 't5-row-wgqa2', 't5v11-mha', 't5v11-col-wgqa2'];

describe.each(TYPES.flatMap((dtype) => NAMES.map((name) => [dtype, name] as const)))(
  '%s, %s',
  (dtype, name) => {
    let golden: Golden;
    let float32: Model;
    let reduced: Model;
    /** Largest error of a logit that rounding the factors of products explains. */
    let expectedError: number;

    beforeAll(async () => {
      golden = await readGolden(name);
      float32 = await loadGoldenModel(name, golden);
      const directory = newDirectory();
      await float32.save(directory);
      reduced = await loadModel(directory, { dtype });
      expectedError = await roundingError(float32, rowsOf(golden), ROUNDINGS[dtype]);
    });

    afterAll(async () => {
      await Promise.all([float32.dispose(), reduced.dispose()]);
    });

    test('logits: no more than twice the error of rounding', async () => {
      const exact = await float32.forward(golden.batch);
      const rounded = await reduced.forward(golden.batch);
      const error = largestDifference(rounded.logits.data, exact.logits.data);
      expect(error).toBeGreaterThan(0);
      expect(error).toBeLessThan(2 * expectedError);
    });

    test('tokens: the same best one, except where two are closer than that error', async () => {
      const exact = await float32.forward(golden.batch);
      const rounded = await reduced.forward(golden.batch);
      const winners = bestTokens(rounded.logits);
      for (const [position, { token, scores }] of bestTokens(exact.logits).entries()) {
        const winner = winners[position]?.token ?? NaN;
        const margin = (scores[token] ?? NaN) - (scores[winner] ?? NaN);
        expect(margin).toBeLessThan(4 * expectedError);
      }
    });

    test('decoding over a bfloat16 cache: probabilities to the same error', async () => {
      await using engine = new Engine(reduced);
      for (const { source } of rowsOf(golden)) {
        const request = { inputIds: source, maxNewTokens: 10, logProbs: true };
        const [sequence] = (await engine.generate(request)).sequences;
        const { tokenIds = [], logProbs = [] } = sequence ?? {};
        const decoderInputIds = [[0, ...tokenIds.slice(0, -1)]];
        const { logits } = await float32.forward({ inputIds: [source], decoderInputIds });
        expect(tokenIds.length).toBeGreaterThan(0);
        for (const [step, { scores }] of bestTokens(logits).entries()) {
          const exact = logSoftmax(scores)[tokenIds[step] ?? NaN] ?? NaN;
          // A log-probability moves by at most twice what the logits move by.
          expect(Math.abs((logProbs[step] ?? NaN) - exact)).toBeLessThan(4 * expectedError);
        }
      }
    });
  },
);

/** The nearest bfloat16, ties to even. */
function roundToBfloat16(value: number): number {
  const bits = new Uint32Array(Float32Array.of(value).buffer);
  const [word = 0] = bits;
  bits[0] = ((word + 0x7fff + ((word >>> 16) & 1)) & 0xffff_0000) >>> 0;
  return new Float32Array(bits.buffer)[0] ?? NaN;
}

function toBfloat16Matrix(matrix: Matrix): Matrix {
  return { ...matrix, data: matrix.data.map(roundToBfloat16) };
}

/** Each row to multiples of a 127th of its largest magnitude. */
function toInt8Matrix(matrix: Matrix): Matrix {
  const data = Float64Array.from(matrix.data);
  for (let row = 0; row < matrix.rows; ++row) {
    const values = data.subarray(row * matrix.columns, (row + 1) * matrix.columns);
    const step = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0) / 127;
    if (step > 0)
      for (const [i, value] of values.entries()) values[i] = Math.round(value / step) * step;
  }
  return { ...matrix, data };
}

async function roundingError(model: Model, rows: readonly Row[], round: Rounding): Promise<number> {
  const exact = await toFloat64(model);
  const rounded = await toFloat64(model, round);
  const errors = rows.map((row) =>
    largestDifference(rounded.forward(row).logits.data, exact.forward(row).logits.data),
  );
  return Math.max(...errors);
}

function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let largest = 0;
  for (let i = 0; i < b.length; ++i) {
    largest = Math.max(largest, Math.abs((a[i] ?? NaN) - (b[i] ?? NaN)));
  }
  return largest;
}

interface Position {
  readonly token: number;
  readonly scores: Float64Array;
}

/** The best token and all logits of every position of a block [rows, columns, vocabulary]. */
function bestTokens(logits: Tensor): Position[] {
  const [rows = 0, columns = 0, vocabulary = 0] = logits.shape;
  return Array.from({ length: rows * columns }, (_, position) => {
    const start = position * vocabulary;
    const scores = Float64Array.from(logits.data.subarray(start, start + vocabulary));
    return { token: scores.indexOf(Math.max(...scores)), scores };
  });
}

/** The unpadded rows of a golden case with their decoder inputs. */
function rowsOf({ expected }: Golden): Row[] {
  const integers = (key: string): number[][] => {
    const { data = [], shape = [] } = expected.get(key) ?? {};
    const [rows = 0, columns = 0] = shape;
    return Array.from({ length: rows }, (_, row) =>
      Array.from({ length: columns }, (__, i) => Number(data[row * columns + i])),
    );
  };
  const masks = integers('attention_mask');
  const labels = integers('labels');
  return integers('input_ids').map((ids, row) => ({
    source: ids.filter((_, i) => masks[row]?.[i] === 1),
    decoderInputs: [0, ...(labels[row] ?? []).slice(0, -1).map((id) => (id < 0 ? 0 : id))],
  }));
}
