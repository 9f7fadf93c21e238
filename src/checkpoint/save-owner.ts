/**
 * Who made a temporary directory of a save: told by its name, so that a later save can remove what a
 * dead process left and leaves alone what a living one is writing.
 */
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { readdir, rm, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import path from 'node:path';
import { systemCode } from './io-errors.ts';

export const STAGING_PREFIX = '.wgqa-save-';
/** Of another machine or container no process can be seen; its saves take no longer than this. */
const LONGEST_SAVE_MILLISECONDS = 24 * 60 * 60 * 1000;

let machine: string | undefined;

/** The name of a new staging directory of this process. */
export function newStagingName(): string {
  const owner = [machineTag(), process.pid, startOf(process.pid) ?? 0];
  return `${STAGING_PREFIX}${owner.join('-')}-${randomBytes(6).toString('hex')}`;
}

/**
 * Whether the maker of `directory` has ended, whose name, or an earlier name, is `name`. Where that
 * cannot be seen, only an old directory counts as left behind.
 */
export async function isLeftBehind(directory: string, name: string): Promise<boolean> {
  const [tag, pid, start] = name.slice(STAGING_PREFIX.length).split('-');
  if (tag === machineTag()) return !isRunning(Number(pid), Number(start));
  const { mtimeMs } = await stat(directory);
  return Date.now() - mtimeMs > LONGEST_SAVE_MILLISECONDS;
}

/** Removes what dead processes left in `directory`; that it cannot is no reason to fail. */
export async function removeLeftovers(directory: string): Promise<void> {
  const names = await readdir(directory).catch(() => []);
  for (const name of names) {
    if (!name.startsWith(STAGING_PREFIX)) continue;
    const left = path.join(directory, name);
    const isDead = await isLeftBehind(left, name).catch(() => false);
    if (isDead) await rm(left, { recursive: true, force: true }).catch(() => undefined);
  }
}

function isRunning(pid: number, start: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    // Others mean that it runs as somebody else.
    if (systemCode(error) === 'ESRCH') return false;
  }
  // A new process may have the number of one that ended.
  const actual = startOf(pid);
  return actual === undefined || actual === start;
}

/** When a process started, in ticks since the machine did; undefined where that cannot be read. */
function startOf(pid: number): number | undefined {
  const text = attempt(() => readFileSync(`/proc/${pid}/stat`, 'latin1'));
  // The second field is a name in parentheses, which may hold spaces; the start is field 22.
  const fields = text?.slice(text.lastIndexOf(')') + 2).split(' ');
  return fields === undefined ? undefined : Number(fields[19]);
}

/** The same for all processes that can see one another. */
function machineTag(): string {
  if (machine === undefined) {
    const processes = attempt(() => readlinkSync('/proc/self/ns/pid'));
    const boot = attempt(() => readFileSync('/proc/sys/kernel/random/boot_id', 'latin1'));
    const identity = [hostname(), boot, processes].join('\n');
    machine = createHash('sha256').update(identity).digest('hex').slice(0, 12);
  }
  return machine;
}

/** Only Linux has these files. */
function attempt(read: () => string): string | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
