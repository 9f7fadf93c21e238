/** `wgqa fold`: multiply merge weights into the projections. */
import type { Command } from 'commander';
import { loadModel } from '../index.ts';
import { formatInteger } from '../report/format.ts';
import { printJson, printLines, type CliContext } from './context.ts';
import { describeGrouping, headsOf, sizesOf } from './describe.ts';
import { prepareDirectory } from './files.ts';
import {
  addCommand,
  addStorageOptions,
  deviceOption,
  machineOptions,
  pick,
  threadsOption,
  type MachineOptions,
  type StorageOptions,
} from './options.ts';

interface Options extends StorageOptions, MachineOptions {
  readonly json?: boolean;
}

export function addFoldCommand(program: Command, context: CliContext): void {
  const command = addCommand(
    program,
    'fold <model> <out>',
    'Replace heads and merge weights by their weighted sums: same logits, fewer parameters.\n' +
      "Stored in the checkpoint's type: in float32, logits are the same but for rounding.",
    [
      'wgqa fold wgqa-trained wgqa-folded',
      'wgqa fold wgqa-trained for-transformers --layout expanded',
    ],
  );
  command.optionsGroup('Computation:').addOption(deviceOption()).addOption(threadsOption());
  addStorageOptions(command).action(async (source: string, out: string, options: Options) => {
    await fold(source, out, options, context);
  });
}

async function fold(
  source: string,
  out: string,
  { json, force, ...options }: Options,
  context: CliContext,
): Promise<void> {
  const { signal } = context;
  await prepareDirectory(out, force);
  await using model = await loadModel(source, { ...machineOptions(options), signal });
  await using folded = await model.fold({ signal });
  await folded.save(out, { ...pick(options, ['dtype', 'layout']), signal });
  const before = model.parameterCount;
  const after = sizesOf(folded).parameters.total;
  if (json) {
    printJson(context, { out, modules: headsOf(folded.config), parameters: { before, after } });
    return;
  }
  printLines(
    context,
    `${out}: ${describeGrouping(folded.config)}`,
    `${formatInteger(before)} parameters before, ${formatInteger(after)} after`,
  );
}
