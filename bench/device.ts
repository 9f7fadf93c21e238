/** The machine that figures belong to. */
import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, totalmem } from 'node:os';
import { native } from '../src/native.ts';

export interface DeviceDescription {
  /** As the operating system names it. */
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly cacheBytes: number | undefined;
  readonly instructionSets: readonly string[];
  readonly threads: number;
  readonly node: string;
}

export function describeDevice(): DeviceDescription {
  const { threads, instructionSets } = native().cpu();
  return {
    cpu: cpus()[0]?.model ?? process.arch,
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    cacheBytes: lastLevelCache(),
    instructionSets,
    threads,
    node: process.version,
  };
}

/** Size of the first core's largest cache, where Linux tells. */
function lastLevelCache(): number | undefined {
  try {
    const text = readFileSync('/sys/devices/system/cpu/cpu0/cache/index3/size', 'utf8');
    const [, kilobytes] = /^(\d+)K/.exec(text) ?? [];
    return kilobytes === undefined ? undefined : 1024 * Number(kilobytes);
  } catch {
    return undefined;
  }
}
