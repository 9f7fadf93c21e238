/** The model that a trainer distils from. */
import { invalidArgument, WgqaError } from '../errors.ts';
import { implementationOf, type Model, type T5Model } from '../model/index.ts';
import { isRecord } from '../options.ts';
import type { SavedOptions } from './state.ts';
import type { TrainerOptions } from './types.ts';

/**
 * The model behind `teacher`, if `student` can learn from it. `field` names it in errors.
 * @throws WgqaError INVALID_ARGUMENT, DISPOSED
 */
export function checkTeacher(teacher: unknown, student: T5Model, field: string): T5Model {
  const implementation = implementationOf(teacher, field);
  const { config, device } = student;
  if (implementation === student) {
    throw invalidArgument(field, 'another model than the one that is trained', teacher);
  }
  if (implementation.config.vocab_size !== config.vocab_size) {
    const vocabulary = implementation.config.vocab_size;
    throw invalidArgument(field, `a model with vocab_size ${config.vocab_size}`, vocabulary);
  }
  if (implementation.device !== device) {
    throw invalidArgument(field, `a model on device '${device}'`, implementation.device);
  }
  return implementation;
}

/**
 * Saved options with the teacher that they need again.
 * @throws WgqaError INVALID_ARGUMENT unless `teacher` is given iff the run was distilled
 */
export function withTeacher(saved: SavedOptions, teacher: Model | undefined): TrainerOptions {
  const { distillation, ...options } = saved;
  if ((distillation === undefined) !== (teacher === undefined)) {
    const allowed = distillation ? 'the model that taught this run' : 'absent: nothing taught it';
    throw invalidArgument('teacher', allowed, teacher);
  }
  if (distillation === undefined || teacher === undefined) return options;
  if (!isRecord(distillation)) {
    const message = 'distillation of the saved trainer must be an object';
    throw new WgqaError('INVALID_FILE', message, { field: 'distillation', allowed: 'an object' });
  }
  return { ...options, distillation: { ...distillation, teacher } };
}
