/** A training step beside oneDNN's time for its products, forward and backward. */
import { Trainer, type ComputeDtype, type Model, type TrainerOptions } from '../index.ts';
import { flopsOf, productRate, productSeconds } from './limits.ts';
import { compare, median, type Measurement } from './measurement.ts';
import { trainingProducts } from './products.ts';
import { sourcesOf } from './sources.ts';

export interface TrainingCase {
  readonly title: string;
  /** Of the products. */
  readonly dtype: ComputeDtype;
  readonly options: Partial<TrainerOptions>;
  readonly rows: number;
  readonly sourceTokens: number;
  readonly targetTokens: number;
  readonly repetitions: number;
  readonly atLeast?: number;
}

/** AdamW with dropout, as the authors of arXiv 2407.10855 trained; the model's weights change. */
export async function measureTrainingStep(
  model: Model,
  { title, dtype, options, rows, sourceTokens, targetTokens, repetitions, atLeast }: TrainingCase,
): Promise<Measurement[]> {
  const { config } = model;
  const products = trainingProducts(config, rows, sourceTokens, targetTokens);
  const flops = flopsOf(products);
  await using trainer = new Trainer(model, {
    preset: 'paper',
    schedule: { type: 'constant' },
    ...options,
  });
  const batch = {
    inputIds: sourcesOf(config.vocab_size, rows, sourceTokens),
    labels: sourcesOf(config.vocab_size, rows, targetTokens),
  };
  await trainer.step(batch);
  const steps = [];
  const rates: number[] = [];
  const same: number[] = [];
  for (let i = 0; i < repetitions; ++i) {
    steps.push(await trainer.step(batch));
    rates.push((await productRate(dtype)) / 1e9);
    same.push(await productSeconds(products, dtype));
  }
  const milliseconds = steps.map((step) => step.milliseconds);
  const middle = median(milliseconds);
  const shape = `${String(rows)} × ${String(sourceTokens)} source, ${String(targetTokens)} target tokens`;
  return [
    compare({
      name: `${title}, ${dtype}, ${shape}`,
      limitName: `oneDNN ${dtype}`,
      unit: 'GFLOP/s',
      values: milliseconds.map((one) => flops / one / 1e6),
      limits: rates,
      ...(atLeast !== undefined && { wanted: { atLeast } }),
      details: {
        stepMilliseconds: middle,
        ofSameProducts: (1000 * median(same)) / middle,
        inProducts: median(steps.map((step) => step.denseMilliseconds)) / middle,
        inAttention: median(steps.map((step) => step.attentionMilliseconds)) / middle,
        tokensPerSecond: (1000 * rows * (sourceTokens + targetTokens)) / middle,
      },
    }),
  ];
}
