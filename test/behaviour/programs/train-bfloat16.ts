/** One training step in mixed precision; prints its loss, or the code and field of its error. */
import { createModel, Trainer, WgqaError } from '../../../src/index.ts';
import { TINY_V10, tinyBatch } from '../../support/tiny-model.ts';

await using model = await createModel(TINY_V10, { seed: 7 });
await using trainer = new Trainer(model, {
  optimizer: { type: 'adamw', learningRate: 1e-2 },
  computeDtype: 'bfloat16',
});
try {
  const { loss } = await trainer.step(tinyBatch());
  process.stdout.write(JSON.stringify({ loss, steps: trainer.stepCount }));
} catch (error) {
  if (!(error instanceof WgqaError)) throw error;
  const { code, field, allowed } = error;
  process.stdout.write(JSON.stringify({ code, field, allowed, steps: trainer.stepCount }));
}
