/** What commands that compare variants have in common: progress by stages, and three reports. */
import path from 'node:path';
import type { CliContext } from './context.ts';
import { writeFiles } from './files.ts';
import { createProgress, type Progress } from './progress.ts';

/** Where a comparison stands: `done` of `total`, in any unit. */
export interface StageState {
  readonly stage: string;
  readonly done: number;
  readonly total: number;
  /** Training loss, while there is one. */
  readonly loss?: number;
}

export interface StageProgress {
  readonly update: (state: StageState) => void;
  readonly finish: () => void;
}

/** A reporter that begins with the first state, and names each new stage where lines stay. */
export function createStageProgress(
  label: string,
  { stderr: stream }: CliContext,
  { json = false }: { readonly json?: boolean },
): StageProgress {
  let progress: Progress | undefined;
  let current = '';
  return {
    update: ({ done, total, stage, loss }) => {
      progress ??= createProgress({ label, total, stream, json });
      if (stage !== current && stream.isTTY !== true) progress.log(stage);
      current = stage;
      progress.update({ step: done, label: stage, ...(loss !== undefined && { loss }) });
    },
    finish: () => progress?.finish(),
  };
}

/** Writes report.html, report.md and report.json, and says where. */
export async function writeReports<T>(
  directory: string,
  report: T,
  render: { readonly html: (report: T) => string; readonly markdown: (report: T) => string },
) {
  const files = {
    html: path.join(directory, 'report.html'),
    markdown: path.join(directory, 'report.md'),
    json: path.join(directory, 'report.json'),
  };
  await writeFiles({
    [files.html]: render.html(report),
    [files.markdown]: render.markdown(report),
    [files.json]: `${JSON.stringify(report, null, 2)}\n`,
  });
  return files;
}
