/** The folder of one run: what it says of itself, and what is left of one that was cut off. */
import { existsSync } from 'node:fs';
import { appendFile, mkdir, readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { textFile, writeDirectory } from '../checkpoint/atomic-directory.ts';
import { readError, systemCode, writeError } from '../checkpoint/io-errors.ts';
import { readJsonFile, type JsonObject } from '../checkpoint/json.ts';
import { WgqaError } from '../errors.ts';
import { isRecord } from '../options.ts';
import type { FinishedRun, RunKey, RunOutput, RunResult } from './results.ts';

const IDENTITY = 'run.json';
const RESULT = 'result.json';
const OUTPUTS = 'outputs.jsonl';
const CURVE = 'curve.jsonl';
const STATE = 'state';
const MAX_RESULT_BYTES = 256 << 20;
const MAX_IDENTITY_BYTES = 1 << 10;

/** A line of `curve.jsonl`: the validation loss, and how fast the steps since the last line were. */
export interface CurveLine {
  readonly step: number;
  readonly loss: number;
  /** Means; 0 at step 0. */
  readonly stepMilliseconds: number;
  readonly stepTokens: number;
}

/** `<out>/runs/<data set>/<variant>/seed-<n>` */
export function runDirectory(out: string, { dataset, variant, seed }: RunKey): string {
  return path.join(out, 'runs', dataset, variant, `seed-${seed}`);
}

/** Where the trainer saves its state. */
export function stateDirectory(run: string): string {
  return path.join(run, STATE);
}

/**
 * Whether the trainer has saved a state; what a kill has left of the first one is removed.
 * @throws WgqaError IO
 */
export async function holdsState(run: string): Promise<boolean> {
  const state = stateDirectory(run);
  // What makes a checkpoint one is written last.
  if (existsSync(path.join(state, 'config.json'))) return true;
  try {
    await rm(state, { recursive: true, force: true });
    return false;
  } catch (error) {
    throw writeError(error, state);
  }
}

/**
 * Makes the folder of a run, or goes on in that of the same run.
 * @throws WgqaError INVALID_ARGUMENT if it is another run's; INVALID_FILE, NO_SPACE, IO
 */
export async function openRun(run: string, identity: string): Promise<void> {
  const file = path.join(run, IDENTITY);
  const found = await readIfThere(file, MAX_IDENTITY_BYTES);
  if (found !== undefined) {
    if (found['identity'] === identity) return;
    throw new WgqaError(
      'INVALID_ARGUMENT',
      `${run} holds a run with another base model, other data or other options`,
      { field: run, allowed: 'a folder of the same plan, or a new one' },
    );
  }
  try {
    await mkdir(run, { recursive: true });
  } catch (error) {
    throw writeError(error, run);
  }
  await writeDirectory(run, [textFile(IDENTITY, `${JSON.stringify({ identity })}\n`)]);
}

/**
 * The result of a finished run, undefined for another.
 * @throws WgqaError INVALID_FILE, IO
 */
export async function readResult(run: string): Promise<RunResult | undefined> {
  const file = path.join(run, RESULT);
  const result = await readIfThere(file, MAX_RESULT_BYTES);
  if (result === undefined) return undefined;
  if (typeof result['identity'] === 'string' && isRecord(result['scores'])) {
    return result as unknown as RunResult;
  }
  throw new WgqaError('INVALID_FILE', `${file} is no result of a run`, { field: file });
}

async function readIfThere(file: string, maxBytes: number): Promise<JsonObject | undefined> {
  try {
    return await readJsonFile(file, maxBytes);
  } catch (error) {
    if (error instanceof WgqaError && error.code === 'NOT_FOUND') return undefined;
    throw error;
  }
}

/** What a finished run generated. @throws WgqaError INVALID_FILE, NOT_FOUND, IO */
export async function readOutputs(run: string): Promise<RunOutput[]> {
  const file = path.join(run, OUTPUTS);
  const lines = (await readText(file)).trimEnd().split('\n');
  return lines.map((line, index) => {
    const value = parseLine(line);
    if (isOutput(value)) return value;
    const field = `${file}:${index + 1}`;
    throw new WgqaError('INVALID_FILE', `${field}: no output of a run`, { field });
  });
}

function isOutput(value: unknown): value is RunOutput {
  return (
    isRecord(value) &&
    ['target', 'output'].every((key) => typeof value[key] === 'string') &&
    ['lossSum', 'tokens'].every((key) => Number.isFinite(value[key]))
  );
}

/** Makes the run a finished one: all of it or nothing. @throws WgqaError NO_SPACE, IO */
export async function writeRun(run: string, { result, outputs }: FinishedRun): Promise<void> {
  const lines = outputs.map((output) => `${JSON.stringify(output)}\n`);
  await writeDirectory(run, [
    textFile(OUTPUTS, lines.join('')),
    textFile(RESULT, `${JSON.stringify(result, null, 1)}\n`),
  ]);
  await rm(stateDirectory(run), { recursive: true, force: true });
}

/** @throws WgqaError NO_SPACE, IO */
export async function appendCurve(run: string, line: CurveLine): Promise<void> {
  const file = path.join(run, CURVE);
  try {
    await appendFile(file, `${JSON.stringify(line)}\n`);
  } catch (error) {
    throw writeError(error, file);
  }
}

/** What was evaluated, by step; a line that was cut off does not count. @throws WgqaError IO */
export async function readCurve(run: string): Promise<CurveLine[]> {
  const text = await readText(path.join(run, CURVE), '');
  return text.split('\n').map(parseLine).filter(isCurveLine);
}

/**
 * Leaves the curve as it was at `step`, the state that training goes on from: later points will be
 * evaluated again, and a line that a kill cut off would spoil the next one.
 * @throws WgqaError NO_SPACE, IO
 */
export async function trimCurve(run: string, step: number): Promise<void> {
  const lines = (await readCurve(run)).filter((line) => line.step <= step);
  const text = lines.map((line) => `${JSON.stringify(line)}\n`).join('');
  await writeDirectory(run, [textFile(CURVE, text)]);
}

function isCurveLine(value: unknown): value is CurveLine {
  return (
    isRecord(value) &&
    ['step', 'loss', 'stepMilliseconds', 'stepTokens'].every((key) => Number.isFinite(value[key]))
  );
}

function parseLine(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

async function readText(file: string, missing?: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (missing !== undefined && systemCode(error) === 'ENOENT') return missing;
    throw readError(error, file);
  }
}
