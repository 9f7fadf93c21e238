/** `wgqa export`: write a model as ONNX graphs. */
import { Option, type Command } from 'commander';
import { exportOnnx, loadModel, type ExportOnnxOptions } from '../index.ts';
import { formatBytes } from '../report/format.ts';
import { printJson, printLines, type CliContext } from './context.ts';
import { describeGrouping } from './describe.ts';
import { prepareDirectory } from './files.ts';
import { addCommand, pick } from './options.ts';
import { createProgress, type Progress } from './progress.ts';

interface Options extends Pick<ExportOnnxOptions, 'quantize'> {
  readonly json?: boolean;
  readonly force?: boolean;
}

export function addExportCommand(program: Command, context: CliContext): void {
  addCommand(
    program,
    'export <model> <out>',
    'Write a model as ONNX, for ONNX Runtime, Optimum and transformers.js. Merge weights are folded.',
    [
      'wgqa export t5-base-gqa3 t5-base-gqa3-onnx',
      'wgqa export t5-base-gqa3 t5-base-gqa3-onnx --quantize int8 --force',
    ],
  )
    .addOption(
      new Option(
        '--quantize <type>',
        'weights in int8, inputs of products quantised at run time; beside a float32 export',
      ).choices(['int8']),
    )
    .option('--force', 'write into a directory that is not empty')
    .action(async (source: string, out: string, options: Options) => {
      await exportModel(source, out, options, context);
    });
}

async function exportModel(
  source: string,
  out: string,
  { json = false, force, ...options }: Options,
  context: CliContext,
): Promise<void> {
  const { signal, stderr } = context;
  await prepareDirectory(out, force);
  await using model = await loadModel(source, { signal });
  let progress: Progress | undefined;
  const onProgress = (step: number, total: number): void => {
    progress ??= createProgress({ label: 'writing', unit: 'bytes', total, stream: stderr, json });
    progress.update({ step });
  };
  const given = { ...pick(options, ['quantize']), signal, onProgress };
  const { files, weightBytes } = await exportOnnx(model, out, given).finally(() =>
    progress?.finish(),
  );
  if (json) {
    printJson(context, { out, files, weightBytes });
    return;
  }
  printLines(
    context,
    `${out}: ${describeGrouping(model.config)}, as ONNX`,
    ...files.map((file) => `  ${file}`),
    `${formatBytes(weightBytes)} of weights`,
  );
}
