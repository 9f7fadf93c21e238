/** `wgqa info`: what this installation is, and what it finds on the machine. */
import type { Command } from 'commander';
import { describeMachine, type DeviceState, type MachineDescription } from '../machine.ts';
import { printJson, printLines, type CliContext } from './context.ts';
import { addCommand } from './options.ts';
import { packageVersion } from './version.ts';

interface Options {
  readonly json?: boolean;
}

export function addInfoCommand(program: Command, context: CliContext): void {
  addCommand(
    program,
    'info',
    'Show versions, devices, instruction sets, and where the native addon is.',
    ['wgqa info', 'wgqa info --json'],
  ).action(({ json }: Options) => {
    const wgqa = packageVersion();
    const machine = describeMachine();
    if (json) printJson(context, { wgqa, ...machine });
    else printLines(context, ...formatInfo(wgqa, machine));
  });
}

function formatInfo(wgqa: string, machine: MachineDescription): string[] {
  const { addon, version, node, platform, devices, instructionSets, bfloat16, threads } = machine;
  const facts: [string, string][] = [
    ['wgqa', wgqa],
    ['Addon', `${version}, ${addon}`],
    ['Node', `${node}, ${platform}`],
    ['Devices', devices.map(describeDevice).join('; ')],
    ['Instructions', instructionSets.join(', ')],
    ['bfloat16', bfloat16 ? 'multiplied by the processor' : 'converted to be multiplied'],
    ['Threads', String(threads)],
  ];
  return facts.map(([term, fact]) => `${term.padEnd(13)}  ${fact}`);
}

function describeDevice({ device, problem }: DeviceState): string {
  return problem === undefined ? device : `no ${device}: ${problem}`;
}
