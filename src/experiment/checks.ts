/** What only the base model can tell of a plan, asked before hours of training. */
import { convertedConfig } from '../convert/index.ts';
import { isFoldable } from '../checkpoint/grouping.ts';
import { invalidArgument, WgqaError } from '../errors.ts';
import { Engine, type Model, type Tokenizer } from '../index.ts';
import type { ExperimentData } from './data.ts';
import type { EvaluationPlan, ExperimentPlan } from './plan.ts';
import { resolveVariant } from './variants.ts';

/** @throws WgqaError INVALID_ARGUMENT naming the variant's field */
export function checkVariants({ variants }: ExperimentPlan, { config }: Model): void {
  variants.forEach((variant, index) => {
    const { trained, trainable } = variant;
    const field = `variants[${index}]`;
    const options = named(field, () => resolveVariant(variant, config));
    if (!trained || trainable === 'all') return;
    if (isFoldable(convertedConfig(config, options))) return;
    throw invalidArgument(`${field}.trainable`, "'all' without merge weights", trainable);
  });
}

/**
 * Generates for one source as every run will.
 * @throws WgqaError INVALID_ARGUMENT naming the generation option; ABORTED
 */
export async function checkGeneration(
  model: Model,
  tokenizer: Tokenizer,
  { generation }: EvaluationPlan,
  { test }: ExperimentData,
  signal: AbortSignal | undefined,
): Promise<void> {
  await using engine = new Engine(model, { tokenizer });
  const request = { ...generation, inputIds: test[0]?.inputIds ?? new Int32Array() };
  try {
    await engine.generate(request, signal ? { signal } : {});
  } catch (error) {
    throw inField('evaluation.generation', error);
  }
}

function named<T>(field: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw inField(field, error);
  }
}

/** The option's error, with the place of the option in the plan. */
function inField(field: string, error: unknown): unknown {
  if (!(error instanceof WgqaError) || error.code !== 'INVALID_ARGUMENT') return error;
  const place = error.field === undefined ? field : `${field}.${error.field}`;
  return new WgqaError('INVALID_ARGUMENT', `${place}: ${error.message}`, {
    field: place,
    cause: error,
    ...(error.allowed !== undefined && { allowed: error.allowed }),
  });
}
