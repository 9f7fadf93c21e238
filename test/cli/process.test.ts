/** What only a process of its own shows: signals, and output that nobody reads. */
import { beforeAll, expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, readdir } from 'node:fs/promises';
import path from 'node:path';
import { useTemporaryDirectory, writePairs, writeTinyModel } from './fixtures.ts';

const ROOT = path.join(import.meta.dirname, '../..');
const temporary = useTemporaryDirectory();

beforeAll(async () => {
  await writeTinyModel(temporary.path('model'));
  await writePairs(temporary.path('pairs.jsonl'), 16);
});

function start(args: readonly string[]) {
  const command = ['--import', 'tsx', path.join(ROOT, 'src/cli/main.ts'), ...args];
  return spawn(process.execPath, command, { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
}

test('SIGINT while training saves the checkpoint, also when it comes twice at once', async () => {
  const [state, metrics] = [temporary.path('state'), temporary.path('metrics.jsonl')];
  const child = start([
    ...['train', temporary.path('model'), temporary.path('pairs.jsonl')],
    ...['--out', temporary.path('out'), '--steps', '1000000', '--batch-size', '4'],
    ...['--checkpoint', state, '--metrics', metrics, '--threads', '1'],
  ]);
  let stderr = '';
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const ended = once(child, 'exit');
  while ((await readFile(metrics, 'utf8').catch(() => '')) === '') {
    if (child.exitCode !== null) throw new Error(stderr);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  child.kill('SIGINT');
  child.kill('SIGINT');
  expect(await ended).toEqual([130, null]);
  expect(stderr).toContain('wgqa: interrupted by SIGINT [ABORTED]');
  const leftovers = (await readdir(state)).filter((name) => name.endsWith('.tmp'));
  expect(leftovers).toEqual([]);
  const { step } = JSON.parse(await readFile(path.join(state, 'trainer.json'), 'utf8')) as {
    step: number;
  };
  expect(step).toBeGreaterThan(0);
});

test('a reader that leaves is no failure', async () => {
  const child = start(['inspect', temporary.path('model'), '--tensors', '--json']);
  child.stdout.destroy();
  let stderr = '';
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  expect(await once(child, 'exit')).toEqual([0, null]);
  expect(stderr).toBe('');
});

/** Runs to the end through a shell, which connects the streams. */
async function shell(command: string): Promise<{ code: unknown; stdout: string; stderr: string }> {
  const program = `${process.execPath} --import tsx ${path.join(ROOT, 'src/cli/main.ts')}`;
  const child = spawn('bash', ['-c', command.replaceAll('WGQA', program)], { cwd: ROOT });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const [code] = (await once(child, 'close')) as unknown[];
  return { code, stdout, stderr };
}

test('a full output is one line and code 1', async () => {
  const { code, stderr } = await shell(`WGQA inspect ${temporary.path('model')} >/dev/full`);
  expect(code).toBe(1);
  expect(stderr).toBe('wgqa: standard output cannot be written: the disk is full [NO_SPACE]\n');
});

test('work goes on when nobody reads its messages', async () => {
  const out = temporary.path('unheard');
  const train = `train ${temporary.path('model')} ${temporary.path('pairs.jsonl')} --out ${out}`;
  const code = temporary.path('code');
  await shell(`{ WGQA ${train} --steps 3 2>&1 >/dev/null; echo $? >${code}; } | true`);
  expect(await readFile(code, 'utf8')).toBe('0\n');
  expect(await readdir(out)).toContain('model.safetensors');
});
