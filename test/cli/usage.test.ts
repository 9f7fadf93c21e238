import { describe, expect, test } from '@jest/globals';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { wgqa } from './fixtures.ts';

const COMMANDS = [
  'pull',
  'inspect',
  'convert',
  'train',
  'fold',
  'export',
  'evaluate',
  'generate',
  'bench',
  'demo',
];

describe('help', () => {
  test('lists every command and the exit codes', async () => {
    const { code, stdout, stderr } = await wgqa(['--help']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    for (const command of COMMANDS) expect(stdout).toMatch(new RegExp(`^  ${command} `, 'm'));
    expect(stdout).toContain('0 done, 1 failed, 2 bad usage');
  });

  test.each(COMMANDS)('of %s has options and examples', async (command) => {
    const { code, stdout } = await wgqa([command, '--help']);
    expect(code).toBe(0);
    expect(stdout).toContain('--json');
    expect(stdout).toContain(`Examples:\n  $ `);
    expect(stdout).toContain(`wgqa ${command}`);
  });

  test('the version is that of the package', async () => {
    const text = await readFile(path.join(import.meta.dirname, '../../package.json'), 'utf8');
    const { version } = JSON.parse(text) as { version: string };
    expect(await wgqa(['--version'])).toMatchObject({ code: 0, stdout: `${version}\n` });
  });
});

describe('bad usage ends with 2 and says what is allowed', () => {
  test.each([
    { args: [], says: 'Usage: wgqa' },
    { args: ['explode'], says: "unknown command 'explode'" },
    { args: ['inspect'], says: "missing required argument 'model'" },
    { args: ['inspect', 'm', 'n'], says: 'too many arguments' },
    { args: ['convert', 'a', 'b', '--frobnicate'], says: "unknown option '--frobnicate'" },
    { args: ['convert', 'a', 'b', '--preset', 'XYZ'], says: 'Allowed choices are MHA, GQA' },
    { args: ['convert', 'a', 'b', '--kv-heads', 'two'], says: 'It must be an integer >= 1.' },
    { args: ['convert', 'a', 'b', '--modules', 'decoder.left'], says: 'one of encoder.self' },
    { args: ['generate', 'm', 'x', '--num-beams', '0'], says: 'It must be an integer >= 1.' },
    { args: ['generate', 'm', 'x', '--top-p', '1.5'], says: 'to 1.' },
    { args: ['generate', 'm', 'x', '--temperature', ''], says: 'a number > 0.' },
    { args: ['train', 'm', 'p', '--out', 'o', '--resume'], says: '--resume needs --checkpoint' },
    { args: ['train', 'm', 'p'], says: "required option '--out <dir>'" },
    { args: ['train', 'm', 'p', '--out', 'o', '--steps', '1', '--epochs', '1'], says: 'cannot be' },
    { args: ['evaluate', 'm', 'p', '--metrics', 'loss,luck'], says: 'one of loss, rouge, bleu' },
    {
      args: ['generate', 'm', 'x', '--dtype', 'float64'],
      says: 'Allowed choices are float32, float16, bfloat16, int8, auto.',
    },
    {
      args: ['evaluate', 'm', 'p', '--cache-dtype', 'float64'],
      says: 'Allowed choices are float32, float16, bfloat16, int8.',
    },
    { args: ['export', 'm', 'o', '--quantize', 'int4'], says: 'Allowed choices are int8' },
    { args: ['bench', '--cases', 'decode,luck'], says: 'one of decode, encoder' },
    { args: ['bench', '--shape', 't5-huge'], says: 'Allowed choices are t5-small, t5-base' },
    { args: ['bench', '--batch', '1,0'], says: 'It must be an integer from 1 to 1024.' },
    { args: ['bench', 'm', '--shape', 't5-small'], says: 'either a model or --shape' },
    { args: ['demo', '--variants', 'GQA,XGQA'], says: 'Each item must be one of MHA' },
  ])('$args', async ({ args, says }) => {
    const { code, stdout, stderr } = await wgqa(args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain(says);
  });

  test('with --json as an object', async () => {
    const { code, stderr } = await wgqa(['inspect', 'm', '--json', '--loud']);
    expect(code).toBe(2);
    expect(JSON.parse(stderr)).toEqual({
      error: { code: 'INVALID_ARGUMENT', message: expect.stringContaining('--loud') },
    });
  });
});
