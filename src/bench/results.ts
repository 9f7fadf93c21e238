/** Results on disk: one JSON file for each benchmark, and one page of them all. */
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describeDevice, type DeviceDescription } from './device.ts';
import { share, type Benchmark } from './measurement.ts';
import { renderPage } from './page.ts';

export interface Result extends Benchmark {
  /** Unique: the name of its file. */
  readonly name: string;
  readonly device: DeviceDescription;
}

const PAGE = 'index.html';

/** Writes `<name>.json` into `directory`, which is made if need be. */
export async function writeResult(
  directory: string,
  name: string,
  benchmark: Benchmark,
): Promise<Result> {
  const device = describeDevice();
  const measurements = benchmark.measurements.map((one) => ({ ...one, share: share(one) }));
  const stored = { ...benchmark, measurements, device };
  await mkdir(directory, { recursive: true });
  const text = `${JSON.stringify(stored, undefined, 2)}\n`;
  await replaceFile(path.join(directory, `${name}.json`), text);
  return { ...stored, name };
}

/** The results among `names` that are there, in that order. */
export async function readResults(directory: string, names: readonly string[]): Promise<Result[]> {
  const results: Result[] = [];
  for (const name of names) {
    const text = await readFile(path.join(directory, `${name}.json`), 'utf8').catch(
      () => undefined,
    );
    if (text !== undefined) results.push({ ...(JSON.parse(text) as Omit<Result, 'name'>), name });
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
