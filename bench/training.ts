/**
 * A training step of T5-small's shape: how much of its time is spent inside dense matrix products,
 * the work that cannot be avoided.
 */
import { createModel, Trainer } from '../src/index.ts';
import { median, type Benchmark } from './measure.ts';
import { T5_SMALL } from './shapes.ts';

const ROWS = 8;
const SOURCE_TOKENS = 128;
const TARGET_TOKENS = 64;
const WARM_UP = 1;
const STEPS = 5;

export async function measureTraining(): Promise<Benchmark> {
  await using model = await createModel(T5_SMALL);
  await using trainer = new Trainer(model, { preset: 'paper', schedule: { type: 'constant' } });
  const batch = { inputIds: tokenRows(SOURCE_TOKENS), labels: tokenRows(TARGET_TOKENS) };
  const steps = [];
  for (let i = 0; i < WARM_UP + STEPS; ++i) steps.push(await trainer.step(batch));
  const measured = steps.slice(WARM_UP);
  const milliseconds = median(measured.map((step) => step.milliseconds));
  return {
    title: `training step, ${ROWS} x ${SOURCE_TOKENS} source and ${TARGET_TOKENS} target tokens`,
    measurements: [
      {
        name: 'T5-small, AdamW, dropout 0.1, float32',
        value: median(measured.map((step) => step.denseMilliseconds)),
        limitName: 'the whole step',
        limit: milliseconds,
        unit: 'ms',
        wanted: { atLeast: 0.6 },
        details: {
          attentionMilliseconds: median(measured.map((step) => step.attentionMilliseconds)),
          tokensPerSecond: (1000 * ROWS * (SOURCE_TOKENS + TARGET_TOKENS)) / milliseconds,
        },
      },
    ],
  };
}

/** Ids spread over the vocabulary, the end token left out. */
function tokenRows(length: number): number[][] {
  return Array.from({ length: ROWS }, (_, row) =>
    Array.from({ length }, (__, i) => 2 + ((7919 * row + 104_729 * i) % (T5_SMALL.vocab_size - 2))),
  );
}
