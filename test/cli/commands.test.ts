import { beforeAll, describe, expect, test } from '@jest/globals';
import { readFile, readdir, writeFile } from 'node:fs/promises';
import { loadOnnx } from '../../src/index.ts';
import { useTemporaryDirectory, wgqa, wgqaJson, writePairs, writeTinyModel } from './fixtures.ts';

const temporary = useTemporaryDirectory();
let model = '';
let pairs = '';

beforeAll(async () => {
  model = temporary.path('model');
  pairs = temporary.path('pairs.jsonl');
  await writeTinyModel(model);
  await writePairs(pairs, 12);
});

describe('inspect', () => {
  test('states heads, parameters and the bytes of K and V by hand', async () => {
    const report = await wgqaJson(['inspect', model]);
    expect(report).toMatchObject({
      conversion: null,
      modules: [
        { module: 'encoder.self', heads: 4, kvHeads: 4 },
        { module: 'decoder.self', heads: 4, kvHeads: 4 },
        { module: 'decoder.cross', heads: 4, kvHeads: 4 },
      ],
      // K and V × 2 layers × 4 heads × 8 × 4 bytes
      cacheBytesPerToken: { float32: { selfAttention: 512, crossAttention: 512 } },
    });
    const { total } = report['parameters'] as { total: number };
    expect(report['bytes']).toBe(4 * total);
    expect(report).not.toHaveProperty('tensors');
  });

  test('lists tensors on request', async () => {
    const { code, stdout } = await wgqa(['inspect', model, '--tensors']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^shared\.weight +8192 × 32 +float32$/m);
    expect(stdout).toContain('multi-head, not converted');
  });
});

test('inspect tells an expanded model from one that is not converted', async () => {
  const expanded = temporary.path('expanded');
  const convert = ['convert', model, expanded, '--kv-heads', '2', '--layout', 'expanded'];
  expect(await wgqa(convert)).toMatchObject({ code: 0 });
  expect(await wgqaJson(['inspect', expanded])).toMatchObject({ repeatedKvHeads: 2 });
  expect((await wgqa(['inspect', expanded])).stdout).toContain('each K/V head stands 2 times');
  expect(await wgqaJson(['inspect', model])).toMatchObject({ repeatedKvHeads: 1 });
});

test('convert, train, fold and generate, one after another', async () => {
  const [converted, trained, folded] = ['converted', 'trained', 'folded'].map((name) =>
    temporary.path(name),
  ) as [string, string, string];
  expect(await wgqaJson(['convert', model, converted, '--preset', 'COLWGQA'])).toMatchObject({
    conversion: { kv_heads: 2, merge: 'weighted', granularity: 'column', init: 'mean' },
    // 2 layers × 2 modules × K and V × 4 heads × 8 columns
    parameters: { merge: 256 },
  });
  const training = ['--steps', '6', '--batch-size', '4', '--threads', '1', '--dropout', '0'];
  const result = await wgqaJson(['train', converted, pairs, '--out', trained, ...training]);
  expect(result).toMatchObject({ step: 6 });
  expect(await wgqaJson(['fold', trained, folded])).toMatchObject({
    modules: expect.arrayContaining([{ module: 'decoder.self', heads: 4, kvHeads: 2 }]),
  });
  const prompt = 'This package contains a game.';
  const texts = [];
  for (const directory of [trained, folded]) {
    texts.push(await wgqa(['generate', directory, prompt, '--max-new-tokens', '6']));
  }
  expect(texts[0]).toMatchObject({ code: 0, stderr: '' });
  expect(texts[1]).toEqual(texts[0]);
});

test('export writes graphs that generate the same text', async () => {
  const out = temporary.path('onnx');
  const { files } = await wgqaJson(['export', model, out]);
  expect(files).toContain('onnx/decoder_model_merged.onnx');
  expect(files).toContain('tokenizer.json');
  const again = await wgqa(['export', model, out, '--quantize', 'int8']);
  expect(again).toMatchObject({ code: 1, stderr: expect.stringContaining('not empty') });
  const int8 = await wgqa(['export', model, out, '--quantize', 'int8', '--force']);
  expect(int8).toMatchObject({ code: 0 });
  expect(int8.stdout).toContain('onnx/encoder_model_quantized.onnx');
  const prompt = 'This package contains a game.';
  const text = await wgqa(['generate', model, prompt, '--max-new-tokens', '6']);
  await using engine = await loadOnnx(out);
  const { sequences } = await engine.generate({ prompt, maxNewTokens: 6 });
  expect(`${sequences[0]?.text ?? ''}\n`).toBe(text.stdout);
});

describe('failures end with 1, one line, and nothing written', () => {
  test('K/V heads that do not divide the heads', async () => {
    const out = temporary.path('never');
    const args = ['convert', model, out, '--kv-heads', '3', '--merge', 'mean'];
    const { code, stdout, stderr } = await wgqa(args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(/^wgqa: --kv-heads must be a divisor of 4 .*\[INVALID_ARGUMENT\]\n$/);
    const { stderr: json } = await wgqa([...args, '--json']);
    expect(JSON.parse(json)).toMatchObject({
      error: {
        code: 'INVALID_ARGUMENT',
        field: '--kv-heads',
        allowed: expect.stringMatching(/^a divisor of 4 \(1, 2, 4\)/),
      },
    });
    await expect(readdir(out)).rejects.toThrow('ENOENT');
  });

  test.each([
    { args: () => ['inspect', temporary.path('nowhere')], code: 'NOT_FOUND' },
    { args: () => ['export', temporary.path('nowhere'), temporary.path('o')], code: 'NOT_FOUND' },
    { args: () => ['generate', model, '--file', temporary.path('none')], code: 'NOT_FOUND' },
    { args: () => ['evaluate', model, temporary.path('none.tsv')], code: 'NOT_FOUND' },
  ])('$code', async ({ args, code }) => {
    const result = await wgqa(args());
    expect(result).toMatchObject({ code: 1, stdout: '' });
    expect(result.stderr).toMatch(new RegExp(`^wgqa: .*\\[${code}.*\\]\\n$`));
  });

  test('a directory that is not empty, unless --force', async () => {
    const out = temporary.path('taken');
    expect(await wgqa(['convert', model, out, '--preset', 'GQA'])).toMatchObject({ code: 0 });
    const second = await wgqa(['convert', model, out, '--preset', 'MQA']);
    expect(second).toMatchObject({ code: 1, stderr: expect.stringContaining('not empty') });
    expect(await wgqa(['convert', model, out, '--preset', 'MQA', '--force'])).toMatchObject({
      code: 0,
    });
    expect(await wgqaJson(['inspect', out])).toMatchObject({ conversion: { kv_heads: 1 } });
  });
});

describe('generate', () => {
  const short = ['--max-new-tokens', '4', '--min-new-tokens', '2'];

  test('has one line for each line, blank ones too', async () => {
    const file = temporary.path('blank.txt');
    await writeFile(file, 'a game\n\na font\n');
    const args = ['generate', model, '--file', file, '--prefix', 'describe: ', ...short];
    const { code, stdout } = await wgqa(args);
    expect(code).toBe(0);
    expect(stdout.replace(/\n$/, '').split('\n')).toHaveLength(3);
  });

  test('numbers the sequences of a prompt, and says where sampling is off', async () => {
    const sampled = ['--do-sample', '--num-return-sequences', '2', ...short];
    const { stdout } = await wgqa(['generate', model, 'a game', ...sampled]);
    expect(stdout).toMatch(/^1\/2: .*\n2\/2: .*\n$/);
    const { code, stderr } = await wgqa(['generate', model, 'a game', '--top-p', '0.9', ...short]);
    expect({ code, stderr }).toEqual({
      code: 0,
      stderr: expect.stringMatching(/^wgqa: warning: --top-p .*--do-sample.*\n$/),
    });
  });

  test('prints what was done before a prompt that fails', async () => {
    const prompts = ['a game', 'a font'];
    const whole = await wgqa(['generate', model, ...prompts, ...short]);
    const file = temporary.path('one-long-line.txt');
    await writeFile(file, `${prompts.join('\n')}\n${'x'.repeat(1_000_001)}\n`);
    const { code, stdout, stderr } = await wgqa(['generate', model, '--file', file, ...short]);
    expect(code).toBe(1);
    expect(stderr).toContain(`${file}:3: the line has over 1000000 characters`);
    expect(whole.stdout.startsWith(stdout)).toBe(true);
  });

  test("the budget and blocks of the cache are the engine's", async () => {
    const args = ['generate', model, 'a game', ...short, '--device', 'cpu'];
    const whole = await wgqa(args);
    expect(await wgqa([...args, '--block-size', '4', '--cache-bytes', '4000000'])).toEqual(whole);
    const small = await wgqa([...args, '--cache-bytes', '1']);
    expect(small).toMatchObject({ code: 2, stdout: '' });
    expect(small.stderr).toContain('--cache-bytes must be');
  });

  test('takes prompts from arguments, a file and standard input alike', async () => {
    const prompts = ['a game', 'a font'];
    const file = temporary.path('prompts.txt');
    await writeFile(file, `${prompts.join('\n')}\r\n`);
    const expected = await wgqa(['generate', model, ...prompts, ...short]);
    expect(expected).toMatchObject({ code: 0 });
    expect(expected.stdout.trimEnd().split('\n')).toHaveLength(2);
    expect(await wgqa(['generate', model, '--file', file, ...short])).toEqual(expected);
    const stdin = prompts.join('\n');
    expect(await wgqa(['generate', model, ...short], { stdin })).toEqual(expected);
    const prefixed = ['generate', model, 'game', 'font', '--prefix', 'a ', ...short];
    expect(await wgqa(prefixed)).toEqual(expected);
  });

  test('streams on a terminal what it prints elsewhere at once', async () => {
    const args = ['generate', model, 'a parser', ...short];
    expect(await wgqa(args, { isTTY: true })).toEqual(await wgqa(args));
  });

  test('begins each text with a forced prefix, streamed or not', async () => {
    const args = ['generate', model, 'a parser', ...short, '--forced-prefix', 'This  package'];
    const whole = await wgqa(args);
    expect(whole.stdout).toMatch(/^This package/);
    expect(await wgqa(args, { isTTY: true })).toEqual(whole);
  });

  test('gives up after a timeout', async () => {
    const long = ['--max-new-tokens', '5000', '--min-new-tokens', '5000', '--timeout', '20'];
    const { code, stderr } = await wgqa(['generate', model, 'a parser', ...long, '--json']);
    expect(code).toBe(1);
    expect(JSON.parse(stderr)).toMatchObject({ error: { code: 'TIMEOUT' } });
  });

  test('passes options on by their Hugging Face names', async () => {
    const options = [
      '--num-beams',
      '3',
      '--num-return-sequences',
      '2',
      '--early-stopping',
      'never',
    ];
    const more = ['--no-repeat-ngram-size', '1', '--length-penalty', '0.5', '--log-probs'];
    const { results } = (await wgqaJson([
      'generate',
      model,
      'a',
      ...short,
      ...options,
      ...more,
    ])) as {
      results: { prompt: string; sequences: { tokenIds: number[]; logProbs: number[] }[] }[];
    };
    expect(results).toHaveLength(1);
    const sequences = results[0]?.sequences ?? [];
    expect(sequences).toHaveLength(2);
    for (const { tokenIds, logProbs } of sequences) {
      expect(new Set(tokenIds).size).toBe(tokenIds.length); // no token twice
      expect(logProbs).toHaveLength(tokenIds.length);
    }
  });
});

describe('evaluate', () => {
  test('scores generated texts and writes them', async () => {
    const outputs = temporary.path('outputs', 'texts.jsonl');
    const args = ['evaluate', model, pairs, '--limit', '5', '--max-new-tokens', '4'];
    const report = await wgqaJson([...args, '--metrics', 'loss,rouge,bleu', '--outputs', outputs]);
    expect(report).toMatchObject({
      pairs: 5,
      rouge: { rouge1: { fmeasure: expect.any(Number) } },
      bleu: { signature: expect.stringContaining('tok:13a') },
      cacheBytesPerToken: { selfAttention: 512, crossAttention: 512 },
    });
    expect(report['perplexity']).toBeCloseTo(Math.exp(report['loss'] as number), 6);
    const lines = (await readFile(outputs, 'utf8')).trimEnd().split('\n');
    expect(lines).toHaveLength(5);
    expect(JSON.parse(lines[3] ?? '')).toEqual({
      source: 'This package contains a game.',
      target: 'game',
      output: expect.any(String),
    });
  });

  test('the loss alone generates nothing', async () => {
    const report = await wgqaJson(['evaluate', model, pairs, '--metrics', 'loss']);
    expect(Object.keys(report)).toEqual(['model', 'pairs', 'loss', 'perplexity', 'targetTokens']);
  });
});
