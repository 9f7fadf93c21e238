/**
 * What was measured, kept for later processes: a small file for each key in the user's cache
 * directory. A cache that cannot be read or written is no error: it is measured again.
 */
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, open, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { isRecord } from '../options.ts';
import type { ComputeDtype } from '../native.ts';
import type { ProbeShape } from './probe.ts';

/** Everything that what is measured depends on. */
export interface MeasurementKey {
  readonly processor: string;
  /** The highest instruction set in force. */
  readonly isa: string;
  readonly threads: number;
  /** Of the package: kernels change. */
  readonly version: string;
  readonly rows: number;
  readonly shape: ProbeShape;
}

/** Median milliseconds of a step by type; a type that is not there is not supported. */
export type StepMilliseconds = Readonly<Partial<Record<ComputeDtype, number>>>;

const DTYPES: ReadonlySet<string> = new Set(['float32', 'float16', 'bfloat16', 'int8']);
/** Far above what is ever written. */
const MOST_BYTES = 1 << 16;

/** `$XDG_CACHE_HOME/wgqa`, or what the system has in its place. */
export function userCacheDirectory(
  env: Readonly<Record<string, string | undefined>> = process.env,
  platform: NodeJS.Platform = process.platform,
): string {
  const { XDG_CACHE_HOME: xdg, LOCALAPPDATA: local } = env;
  // A relative path must be ignored: XDG Base Directory Specification, "Environment variables".
  if (xdg !== undefined && path.isAbsolute(xdg)) return path.join(xdg, 'wgqa');
  if (platform === 'win32') {
    return path.join(local ?? path.join(homedir(), 'AppData', 'Local'), 'wgqa', 'Cache');
  }
  const folder = platform === 'darwin' ? ['Library', 'Caches'] : ['.cache'];
  return path.join(homedir(), ...folder, 'wgqa');
}

export function fileOf(directory: string, key: MeasurementKey): string {
  const hash = createHash('sha256').update(JSON.stringify(key)).digest('hex').slice(0, 32);
  return path.join(directory, 'step-times', `${hash}.json`);
}

/** Undefined where nothing, or nothing usable, is there. */
export async function recall(
  directory: string,
  key: MeasurementKey,
): Promise<StepMilliseconds | undefined> {
  try {
    const stored: unknown = JSON.parse(await readSmall(fileOf(directory, key)));
    if (!isRecord(stored) || !isDeepStrictEqual(stored['key'], { ...key })) return undefined;
    return isStepMilliseconds(stored['milliseconds']) ? stored['milliseconds'] : undefined;
  } catch {
    return undefined;
  }
}

async function readSmall(file: string): Promise<string> {
  const handle = await open(file, 'r');
  try {
    const buffer = Buffer.alloc(MOST_BYTES);
    const { bytesRead } = await handle.read(buffer, 0, MOST_BYTES, 0);
    if (bytesRead === MOST_BYTES) throw new RangeError('none of ours is as large');
    return buffer.toString('utf8', 0, bytesRead);
  } finally {
    await handle.close();
  }
}

function isStepMilliseconds(value: unknown): value is StepMilliseconds {
  if (!isRecord(value) || value['float32'] === undefined) return false;
  return Object.entries(value).every(
    ([name, one]) => DTYPES.has(name) && typeof one === 'number' && Number.isFinite(one) && one > 0,
  );
}

/** Does nothing where the directory cannot be written. */
export async function remember(
  directory: string,
  key: MeasurementKey,
  milliseconds: StepMilliseconds,
): Promise<void> {
  const file = fileOf(directory, key);
  const temporary = `${file}.${process.pid}-${randomBytes(6).toString('hex')}.tmp`;
  try {
    await mkdir(path.dirname(file), { recursive: true });
    await writeFile(temporary, `${JSON.stringify({ key, milliseconds }, undefined, 2)}\n`);
    await rename(temporary, file);
  } catch {
    await rm(temporary, { force: true }).catch(() => undefined);
  }
}
