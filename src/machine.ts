/** What this installation is made of, and what it finds on the machine. */
import { addonFile, native } from './native.ts';

export interface MachineDescription {
  /** The addon's file, whether it can be loaded or not. */
  readonly addon: string;
  /** Its version. */
  readonly version: string;
  /** As the system calls itself: "linux x64". */
  readonly platform: string;
  readonly node: string;
  readonly devices: readonly DeviceState[];
  /** Those of the processor that kernels are compiled for. */
  readonly instructionSets: readonly string[];
  /** Whether the processor multiplies bfloat16 itself. */
  readonly bfloat16: boolean;
  /** That a model uses where it is not told. */
  readonly threads: number;
}

export interface DeviceState {
  readonly device: 'cpu' | 'cuda';
  /** Why it cannot be used; absent for one that can. */
  readonly problem?: string;
}

/** @throws WgqaError NATIVE_UNAVAILABLE */
export function describeMachine(): MachineDescription {
  const binding = native();
  const { instructionSets, bfloat16, threads } = binding.cpu();
  const problem = binding.whyNoCuda();
  return {
    addon: addonFile(),
    version: binding.version,
    platform: `${process.platform} ${process.arch}`,
    node: process.version,
    devices: [{ device: 'cpu' }, { device: 'cuda', ...(problem !== undefined && { problem }) }],
    instructionSets,
    bfloat16,
    threads,
  };
}
