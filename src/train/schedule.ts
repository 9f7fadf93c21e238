/** Learning rates over time. */
import { invalidArgument } from '../errors.ts';
import type { ScheduleOptions } from './types.ts';

/**
 * Learning rate of the step after `step` steps, as `get_linear_schedule_with_warmup` and
 * `get_constant_schedule_with_warmup` of Hugging Face Transformers define it: with a warm-up, the
 * first step has rate 0.
 * @throws WgqaError INVALID_ARGUMENT if the schedule needs `totalSteps` and has none
 */
export function learningRateAt(step: number, peak: number, schedule: ScheduleOptions): number {
  const warmup = warmupSteps(schedule);
  if (step < warmup) return (peak * step) / warmup;
  if (schedule.type === 'constant') return peak;
  const total = totalSteps(schedule);
  return peak * Math.max(0, (total - step) / Math.max(1, total - warmup));
}

function warmupSteps(schedule: ScheduleOptions): number {
  if (!schedule.warmupRatio) return schedule.warmupSteps ?? 0;
  return Math.ceil(schedule.warmupRatio * totalSteps(schedule));
}

function totalSteps({ totalSteps: total }: ScheduleOptions): number {
  if (total !== undefined) return total;
  throw invalidArgument('schedule.totalSteps', 'given, unless training runs by fit()', total);
}
