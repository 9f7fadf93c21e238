/** Results on disk: one JSON file for each benchmark, and one page of them all. */
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describeDevice, type DeviceDescription } from './device.ts';
import { INSTRUCTION_SETS, type InstructionSet } from './instruction-sets.ts';
import { share, type Benchmark } from './measurement.ts';
import { renderPage } from './page.ts';

/** What was run, and under which limit, if any. */
export interface Run {
  readonly benchmark: string;
  readonly limit?: InstructionSet | undefined;
}

export interface Result extends Benchmark, Run {
  /** Unique: the name of its file. */
  readonly name: string;
  readonly device: DeviceDescription;
}

/** `decoding`, or `decoding.avx2`. */
function nameOf({ benchmark, limit }: Run): string {
  return limit === undefined ? benchmark : `${benchmark}.${limit}`;
}

const PAGE = 'index.html';

/** Writes `<benchmark>[.<limit>].json` into `directory`, which is made if need be. */
export async function writeResult(
  directory: string,
  run: Run,
  benchmark: Benchmark,
): Promise<Result> {
  const name = nameOf(run);
  const device = describeDevice();
  const measurements = benchmark.measurements.map((one) => ({ ...one, share: share(one) }));
  const stored = { ...benchmark, measurements, device };
  await mkdir(directory, { recursive: true });
  const text = `${JSON.stringify(stored, undefined, 2)}\n`;
  await replaceFile(path.join(directory, `${name}.json`), text);
  return { ...stored, ...run, name };
}

/** The results of `benchmarks` that are there, in that order, each without a limit first. */
export async function readResults(
  directory: string,
  benchmarks: readonly string[],
): Promise<Result[]> {
  const results: Result[] = [];
  for (const benchmark of benchmarks) {
    for (const limit of [undefined, ...INSTRUCTION_SETS]) {
      const name = nameOf({ benchmark, limit });
      const file = path.join(directory, `${name}.json`);
      const text = await readFile(file, 'utf8').catch(() => undefined);
      if (text === undefined) continue;
      const stored = JSON.parse(text) as Omit<Result, 'name' | keyof Run>;
      results.push({ ...stored, name, benchmark, limit });
    }
  }
  return results;
}

/** Writes the page; resolves to its path. */
export async function writePage(directory: string, results: readonly Result[]): Promise<string> {
  const file = path.join(directory, PAGE);
  await replaceFile(file, renderPage(results));
  return file;
}

async function replaceFile(file: string, text: string): Promise<void> {
  const temporary = `${file}.${String(process.pid)}`;
  await writeFile(temporary, text);
  await rename(temporary, file);
}
