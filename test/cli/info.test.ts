/** What tells of the program itself: `info`, `completion`, and how text is shown. */
import { execFileSync } from 'node:child_process';
import { expect, test } from '@jest/globals';
import { visible, visibleJson } from '../../src/cli/visible.ts';
import { wgqa, wgqaJson } from './fixtures.ts';

test('info names versions, devices, instruction sets and the addon', async () => {
  const info = await wgqaJson(['info']);
  expect(info).toMatchObject({
    wgqa: expect.stringMatching(/^\d+\.\d+\.\d+/),
    version: info['wgqa'],
    addon: expect.stringMatching(/wgqa\.node$/),
    node: process.version,
    devices: [{ device: 'cpu' }, expect.objectContaining({ device: 'cuda' })],
    instructionSets: expect.arrayContaining([expect.any(String)]),
  });
  const { code, stdout } = await wgqa(['info']);
  expect(code).toBe(0);
  expect(stdout).toContain(String(info['addon']));
});

/** What bash offers for the last of `words`. */
async function completions(...words: string[]): Promise<string[]> {
  const { stdout } = await wgqa(['completion', 'bash']);
  const quoted = words.map((word) => `'${word}'`).join(' ');
  const program = `${stdout}
COMP_WORDS=(${quoted}); COMP_CWORD=${words.length - 1}; _wgqa; printf '%s\\n' "\${COMPREPLY[@]}"`;
  return execFileSync('bash', ['-c', program], { encoding: 'utf8' }).trim().split('\n');
}

test('bash completes commands, options and their words', async () => {
  expect(await completions('wgqa', 'ex')).toEqual(['export', 'experiment']);
  expect(await completions('wgqa', 'convert', '--kv')).toEqual(['--kv-heads', '--kv-bytes']);
  expect(await completions('wgqa', 'convert', '--merge', '')).toEqual(['mean', 'weighted']);
  expect(await completions('wgqa', 'generate', '--device', 'c')).toEqual(['cpu', 'cuda']);
  expect(await completions('wgqa', 'completion', 'z')).toEqual(['zsh']);
  expect(await completions('wgqa', 'fold', 'model', '--he')).toEqual(['--help']);
});

test.each(['zsh', 'fish'])('the script for %s has every command', async (shell) => {
  const { code, stdout } = await wgqa(['completion', shell]);
  expect(code).toBe(0);
  for (const name of ['inspect', 'convert', 'train', 'generate', 'completion']) {
    expect(stdout).toContain(name);
  }
  expect(stdout).toContain('kv-heads');
});

test('another shell is bad usage', async () => {
  expect(await wgqa(['completion', 'cmd'])).toMatchObject({ code: 2, stdout: '' });
});

test('control characters are spelled out', () => {
  expect(visible('a\u001b[2J\u0007\u009b1m\tb\n')).toBe('a\\x1b[2J\\x07\\x9b1m\tb\n');
  const json = visibleJson({ text: '\u001b\u009b\u007f' });
  expect(json).toBe('{"text":"\\u001b\\u009b\\u007f"}');
  expect(JSON.parse(json)).toEqual({ text: '\u001b\u009b\u007f' });
});
