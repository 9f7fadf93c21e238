/** Running commands in this process, and small inputs for them. */
import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll } from '@jest/globals';
import { run } from '../../src/cli/run.ts';
import { createModel } from '../../src/index.ts';

const TOKENIZER = path.join(import.meta.dirname, '../../demo/model');

/** 4 heads, so that there is something to group; the vocabulary is the tokenizer's. */
const TINY_T5 = {
  vocab_size: 8192,
  d_model: 32,
  d_kv: 8,
  d_ff: 64,
  num_layers: 1,
  num_decoder_layers: 2,
  num_heads: 4,
  feed_forward_proj: 'gated-gelu',
};

export interface CliResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CliSurroundings {
  readonly stdin?: string;
  /** Whether standard output is a terminal. */
  readonly isTTY?: boolean;
  readonly signal?: AbortSignal;
}

/** Runs a command line as `main.ts` does, with everything it writes kept. */
export async function wgqa(
  args: readonly string[],
  { stdin = '', isTTY = false, signal = new AbortController().signal }: CliSurroundings = {},
): Promise<CliResult> {
  let [stdout, stderr] = ['', ''];
  const code = await run(args, {
    stdin: (async function* () {
      await Promise.resolve();
      yield Buffer.from(stdin);
    })(),
    stdout: { write: (text) => (stdout += text), isTTY, columns: 100 },
    stderr: { write: (text) => (stderr += text), isTTY: false, columns: 100 },
    signal,
  });
  return { code, stdout, stderr };
}

/** Runs a command with --json that must succeed, and parses what it prints. */
export async function wgqaJson(args: readonly string[], surroundings?: CliSurroundings) {
  const { code, stdout, stderr } = await wgqa([...args, '--json'], surroundings);
  if (code !== 0) throw new Error(`exit code ${code}: ${stderr}`);
  return JSON.parse(stdout) as Record<string, unknown>;
}

/** A temporary directory for the tests of one file. */
export function useTemporaryDirectory(): { path(...names: string[]): string } {
  let root = '';
  beforeAll(async () => {
    root = await mkdtemp(path.join(tmpdir(), 'wgqa-cli-'));
  });
  afterAll(async () => {
    await rm(root, { recursive: true, force: true });
  });
  return { path: (...names) => path.join(root, ...names) };
}

/** A random multi-head T5 with the demo's tokenizer. */
export async function writeTinyModel(directory: string): Promise<void> {
  const model = await createModel(TINY_T5, { seed: 3, threads: 1 });
  await mkdir(directory, { recursive: true });
  await model.save(directory);
  await model.dispose();
  for (const name of ['tokenizer.json', 'tokenizer_config.json']) {
    await copyFile(path.join(TOKENIZER, name), path.join(directory, name));
  }
}

const SUBJECTS = ['editor', 'compiler', 'library', 'game', 'server', 'font', 'parser', 'daemon'];

/** `count` pairs of a sentence and its subject, as JSON lines. */
export async function writePairs(file: string, count: number): Promise<void> {
  const lines = Array.from({ length: count }, (_, i) => {
    const subject = SUBJECTS[i % SUBJECTS.length] ?? '';
    return JSON.stringify({ source: `This package contains a ${subject}.`, target: subject });
  });
  await writeFile(file, `${lines.join('\n')}\n`);
}
