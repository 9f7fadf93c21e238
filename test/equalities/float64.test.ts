/** The whole model against the float64 model: results, and gradients by finite differences. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Trainer, type Model, type Tensor } from '../../src/index.ts';
import type { Float64T5, Parameter, Row } from '../support/t5-float64.ts';
import { relativeError } from '../support/tensors.ts';
import { randomIntegers, randomRows, tinyBatch } from '../support/tiny-model.ts';
import {
  blockRow,
  makeVariant,
  teacherForcedRows,
  toFloat64,
  VARIANTS,
} from '../support/variants.ts';

// Seven layers of float32 products of depth 40 or less: measured up to 1e-6.
const FORWARD_TOLERANCE = 5e-6;
// The same of a gradient, which passes the layers twice: measured up to 2e-6.
const GRADIENT_TOLERANCE = 1e-5;
// Truncation (h^2) and rounding (1e-16 / h) of a central difference are both below 1e-9 here.
const DIFFERENCE = 1e-5;

// Every difference costs two passes of the slow model: a small batch keeps them short.
const SMALL_BATCH = { inputIds: randomRows(3, [6, 3]), labels: randomRows(4, [4, 6]) };

describe.each(VARIANTS)('$name', (variant) => {
  const rows = teacherForcedRows(SMALL_BATCH);
  let model: Model;
  let reference: Float64T5;

  beforeAll(async () => {
    model = await makeVariant(variant);
    reference = await toFloat64(model);
  });

  afterAll(async () => {
    await model.dispose();
  });

  test('encoder states, logits and loss', async () => {
    const batch = tinyBatch();
    const batchRows = teacherForcedRows(batch);
    const { encoderStates, logits, loss } = await model.forward(batch);
    for (const [i, row] of batchRows.entries()) {
      const expected = reference.forward(row);
      const states = blockRow(encoderStates as Tensor, i, row.source.length);
      const scores = blockRow(logits, i, row.decoderInputs.length);
      expect(relativeError(states, expected.encoderStates.data)).toBeLessThan(FORWARD_TOLERANCE);
      expect(relativeError(scores, expected.logits.data)).toBeLessThan(FORWARD_TOLERANCE);
    }
    const expectedLoss = reference.loss(batchRows);
    expect(relativeError([loss ?? NaN], [expectedLoss])).toBeLessThan(FORWARD_TOLERANCE);
  });

  test('gradients along a random direction of every parameter', async () => {
    const random = randomIntegers(11);
    for (const [name, gradient, parameter] of await gradientsOf(model, reference)) {
      const direction = Float64Array.from(gradient.data, () => random(2001) / 1000 - 1);
      const expected = directionalDerivative(reference, rows, parameter, direction);
      const actual = inner(gradient.data, direction);
      const size = Math.sqrt(inner(gradient.data, gradient.data));
      expect(size).toBeGreaterThan(0);
      expectNear(`${name} along a direction`, actual, expected, GRADIENT_TOLERANCE * size);
    }
  });

  test('the largest element of every fifth gradient', async () => {
    const sample = (await gradientsOf(model, reference)).filter((_, i) => i % 5 === 0);
    for (const [name, gradient, parameter] of sample) {
      const magnitudes = gradient.data.map(Math.abs);
      const element = magnitudes.indexOf(magnitudes.reduce((a, b) => Math.max(a, b), 0));
      const actual = gradient.data[element] ?? NaN;
      const direction = new Float64Array(gradient.data.length);
      direction[element] = 1;
      const expected = directionalDerivative(reference, rows, parameter, direction);
      expectNear(`${name}[${element}]`, actual, expected, GRADIENT_TOLERANCE * Math.abs(actual));
    }
  });
});

type Gradient = readonly [string, Tensor, Parameter];

/** Each parameter's name, gradient and float64 values. */
async function gradientsOf(model: Model, reference: Float64T5): Promise<Gradient[]> {
  await using trainer = new Trainer(model, { optimizer: { type: 'adamw', learningRate: 0 } });
  const gradients = await trainer.gradients(SMALL_BATCH);
  expect([...gradients.keys()].sort()).toEqual([...model.parameters().keys()].sort());
  return [...gradients].map(([name, gradient]) => {
    return [name, gradient, reference.parameters.get(name) as Parameter];
  });
}

/** Central difference of the loss while `parameter` moves along `direction`. */
function directionalDerivative(
  reference: Float64T5,
  rows: readonly Row[],
  parameter: Parameter,
  direction: Float64Array,
): number {
  const data = parameter.data as Float64Array;
  const start = data.slice();
  const lossAt = (distance: number): number => {
    data.forEach((_, i) => (data[i] = (start[i] ?? NaN) + distance * (direction[i] ?? NaN)));
    return reference.loss(rows);
  };
  const difference = (lossAt(DIFFERENCE) - lossAt(-DIFFERENCE)) / (2 * DIFFERENCE);
  data.set(start);
  return difference;
}

function inner(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; ++i) sum += (a[i] ?? NaN) * (b[i] ?? NaN);
  return sum;
}

/** Fails with the name unless |actual - expected| <= tolerance. */
function expectNear(name: string, actual: number, expected: number, tolerance: number): void {
  const near = Math.abs(actual - expected) <= tolerance;
  expect({ name, actual, expected, tolerance, near }).toMatchObject({ near: true });
}
