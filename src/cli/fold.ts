/** `wgqa fold`: multiply merge weights into the projections. */
import type { Command } from 'commander';
import { loadModel } from '../index.ts';
import { formatInteger } from '../report/format.ts';
import { printJson, printLines, type CliContext } from './context.ts';
import { describeGrouping, headsOf, sizesOf } from './describe.ts';
import { prepareDirectory } from './files.ts';
import { addCommand, addStorageOptions, pick, type StorageOptions } from './options.ts';

interface Options extends StorageOptions {
  readonly json?: boolean;
}

export function addFoldCommand(program: Command, context: CliContext): void {
  const command = addCommand(
    program,
    'fold <model> <out>',
    'Replace heads and merge weights by their weighted sums: same logits, fewer parameters.',
    ['fold wgqa-trained wgqa-folded', 'fold wgqa-trained for-transformers --layout expanded'],
  );
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
  await prepareDirectory(out, force);
  await using model = await loadModel(source, { signal: context.signal });
  await using folded = await model.fold();
  await folded.save(out, pick(options, ['dtype', 'layout']));
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
