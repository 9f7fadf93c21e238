/**
 * What a training run must have in common with the one whose checkpoint it continues. It stands in
 * the checkpoint's directory from the start, so that a continuation with other data or options is
 * refused instead of giving a model that nobody can explain.
 */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { WgqaError, type TrainerOptions } from '../index.ts';
import { writeFiles } from './files.ts';

const FILE = 'run.json';

export interface RunIdentity {
  /** SHA-256 of all token ids, in order. */
  readonly data: string;
  readonly batchSize: number;
  readonly maxBatchTokens?: number;
  readonly trainer: TrainerOptions;
  readonly distillation?: {
    /** SHA-256 of the teacher's checkpoint. */
    readonly teacher: string;
    readonly weight?: number;
    readonly temperature?: number;
  };
}

export async function writeIdentity(directory: string, identity: RunIdentity): Promise<void> {
  await writeFiles({ [path.join(directory, FILE)]: `${JSON.stringify(identity, null, 2)}\n` });
}

/** @throws WgqaError NOT_FOUND without a run to continue, INVALID_ARGUMENT if it differs */
export async function checkIdentity(directory: string, identity: RunIdentity): Promise<void> {
  const saved = await readIdentity(path.join(directory, FILE));
  // Through JSON, as the saved one: what is undefined is absent.
  const current = JSON.parse(JSON.stringify(identity)) as Readonly<Record<string, unknown>>;
  for (const key of new Set([...Object.keys(saved), ...Object.keys(current)])) {
    if (isDeepStrictEqual(saved[key], current[key])) continue;
    const allowed = key in saved ? JSON.stringify(saved[key]) : 'absent';
    const message = `${key} differs from the run that ${directory} holds`;
    throw new WgqaError('INVALID_ARGUMENT', message, { field: key, allowed });
  }
}

async function readIdentity(file: string): Promise<Readonly<Record<string, unknown>>> {
  const text = await readFile(file, 'utf8');
  try {
    return JSON.parse(text) as Readonly<Record<string, unknown>>;
  } catch (cause) {
    throw new WgqaError('INVALID_FILE', `${file} is not valid JSON`, { field: file, cause });
  }
}
