/** The machine that figures belong to. */
import { availableParallelism, cpus, totalmem } from 'node:os';
import { native } from '../native.ts';

export interface DeviceDescription {
  /** As the operating system names it. */
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  /** Of the last level, where the system tells. */
  readonly cacheBytes: number | undefined;
  readonly instructionSets: readonly string[];
  /** The highest of them in force, which `WGQA_ISA` limits, as it names them. */
  readonly isa?: string;
  readonly threads: number;
  readonly node: string;
}

export function describeDevice(): DeviceDescription {
  const { threads, instructionSets, isa, lastLevelCacheBytes } = native().cpu();
  return {
    cpu: cpus()[0]?.model ?? process.arch,
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    cacheBytes: lastLevelCacheBytes > 0 ? lastLevelCacheBytes : undefined,
    instructionSets,
    isa,
    threads,
    node: process.version,
  };
}
