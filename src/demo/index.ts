/**
 * The demo: one multi-head T5 becomes every variant, each is fine-tuned alike, folded, scored and
 * timed.
 */
import { loadModel, loadTokenizer } from '../index.ts';
import type { DemoReport } from '../report/index.ts';
import { loadDemoData } from './data.ts';
import type { DemoOptions } from './options.ts';
import { WorkMeter } from './progress.ts';
import { createReport } from './report.ts';
import { runVariant, scoreUntouched, type VariantOutcome } from './variant.ts';

export {
  DEFAULT_PLAN,
  QUICK_PLAN,
  type DemoOptions,
  type DemoPlan,
  type DemoProgress,
} from './options.ts';

/**
 * Runs the whole comparison; the same options give the same report but for its times.
 * @throws WgqaError what loading, training or decoding failed with; ABORTED
 */
export async function runDemo(options: DemoOptions): Promise<DemoReport> {
  const { modelDirectory, dataDirectory, plan, device, threads, signal } = options;
  const createdAt = new Date();
  const tokenizer = await loadTokenizer(modelDirectory);
  const data = await loadDemoData(dataDirectory, tokenizer, plan, signal);
  await using base = await loadModel(modelDirectory, {
    ...(device !== undefined && { device }),
    ...(threads !== undefined && { threads }),
    ...(signal && { signal }),
  });
  const meter = new WorkMeter(plan, data, options.onProgress);
  const run = { base, tokenizer, data, plan, meter, signal };
  const outcomes: VariantOutcome[] = [await scoreUntouched(run, 'MHA (before)')];
  for (const preset of plan.presets) outcomes.push(await runVariant(run, preset));
  return createReport({ options, base, data, outcomes, createdAt });
}
