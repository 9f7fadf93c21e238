/** `wgqa convert` with all that prepares a conversion, and what `wgqa inspect` says of the result. */
import { beforeAll, describe, expect, test } from '@jest/globals';
import { readdir, writeFile } from 'node:fs/promises';
import { loadModel } from '../../src/index.ts';
import { useTemporaryDirectory, wgqa, wgqaJson, writePairs, writeTinyModel } from './fixtures.ts';

const temporary = useTemporaryDirectory();
let model = '';
let pairs = '';

beforeAll(async () => {
  model = temporary.path('model');
  pairs = temporary.path('pairs.jsonl');
  await writeTinyModel(model);
  await writePairs(pairs, 8);
});

/** K and V of a head: 8 channels in float32. */
const HEAD_BYTES = 2 * 8 * 4;
const WEIGHTED = ['--kv-heads', '2', '--merge', 'weighted'];

let outputs = 0;
const newOutput = (): string => temporary.path(`out-${String(++outputs)}`);

describe('convert', () => {
  test.each<[string[], Record<string, unknown>]>([
    [['--constraint', 'softmax'], { constraint: 'softmax' }],
    [
      ['--constraint', 'signed', '--granularity', 'row'],
      { constraint: 'signed', granularity: 'row' },
    ],
    [['--grouping', 'similarity'], { grouping: 'similarity' }],
    [['--alignment', 'orthogonal'], { alignment: 'orthogonal' }],
    [['--expansion'], { expansion: true }],
  ])('%j', async (args, conversion) => {
    const out = newOutput();
    const report = await wgqaJson(['convert', model, out, ...WEIGHTED, ...args]);
    const expected = {
      kv_heads: 2,
      merge: 'weighted',
      granularity: 'head',
      init: 'mean',
      ...conversion,
      modules: ['decoder.self', 'decoder.cross'],
    };
    expect(report['conversion']).toEqual(expected);
    expect(report).not.toHaveProperty('budget');
    await using loaded = await loadModel(out);
    expect(loaded.config.wgqa).toEqual(expected);
  });

  test('weighs heads by calibration text, as many pairs as asked for', async () => {
    const weights = [];
    const leastSquares = [...WEIGHTED, '--init', 'least-squares', '--calibration', pairs];
    for (const also of [[], ['--calibration-pairs', '8'], ['--calibration-pairs', '2']]) {
      const out = newOutput();
      const result = await wgqa(['convert', model, out, ...leastSquares, ...also]);
      expect(result).toMatchObject({ code: 0, stderr: '' });
      expect(result.stdout).toContain('started at the least-squares fit; not folded');
      await using loaded = await loadModel(out);
      const name = 'decoder.block.1.layer.1.EncDecAttention.v.merge_weight';
      weights.push((await loaded.readParameter(name)).data);
    }
    expect(weights[1]).toEqual(weights[0]);
    expect(weights[2]).not.toEqual(weights[0]);
  });

  test('tells in a line what it did', async () => {
    const all = [
      '--constraint',
      'softmax',
      '--grouping',
      'similarity',
      '--alignment',
      'orthogonal',
    ];
    const { stdout } = await wgqa([
      'convert',
      model,
      newOutput(),
      ...WEIGHTED,
      ...all,
      '--expansion',
    ]);
    const [line, parameters] = stdout.split('\n');
    expect(line).toMatch(/: 2 K\/V heads, grouped by similarity, aligned, weighted sums with a /);
    expect(line).toContain('a weight per head (positive weights that sum to one), started at');
    expect(line).toMatch(/, weighted expansion; not folded$/);
    // K and V of two modules in two layers: four heads, and four heads of eight channels.
    expect(parameters).toContain(` ${8 * 4 + 8 * 32} of them merge or expansion weights`);
  });
});

describe('convert within a budget', () => {
  const budget = (bytes: number): string[] => ['--kv-bytes', String(bytes), '--calibration', pairs];

  test('chooses the heads of each layer, and says what they take', async () => {
    const out = newOutput();
    const maxBytes = 10 * HEAD_BYTES;
    const report = await wgqaJson(['convert', model, out, '--merge', 'mean', ...budget(maxBytes)]);
    const found = report['budget'] as { kvHeads: Record<string, number[]>; bytes: number };
    expect(found).toMatchObject({ loss: expect.any(Number), sensitivities: expect.any(Array) });
    const heads = Object.values(found.kvHeads).flat();
    expect(heads).toHaveLength(4);
    expect(found.bytes).toBe(HEAD_BYTES * heads.reduce((sum, one) => sum + one, 0));
    expect(found.bytes).toBeLessThanOrEqual(maxBytes);
    expect(report['conversion']).toMatchObject({ kv_heads: found.kvHeads, merge: 'mean' });
    const inspected = await wgqaJson(['inspect', out]);
    expect(inspected['conversion']).toMatchObject({ kv_heads: found.kvHeads });
  });

  test('counts tokens, and goes with a preset, alignment and expansion', async () => {
    const tokens = ['--source-tokens', '10', '--target-tokens', '3'];
    const least = (10 + 3) * 2 * HEAD_BYTES;
    const out = newOutput();
    const also = ['--preset', 'COLWGQA', '--alignment', 'orthogonal', '--expansion'];
    const result = await wgqa(['convert', model, out, ...also, ...budget(least), ...tokens]);
    expect(result.code).toBe(0);
    expect(result.stdout).toContain('decoder.self 1 1, decoder.cross 1 1 K/V heads, aligned');
    expect(result.stdout).toMatch(
      /^K and V take 1\.63 KiB; the loss on the calibration text was [\d.]+ before the conversion and is [\d.]+ after it$/m,
    );
    const small = await wgqa([
      'convert',
      model,
      newOutput(),
      ...also,
      ...budget(least - 1),
      ...tokens,
    ]);
    expect(small).toMatchObject({ code: 2, stdout: '' });
    expect(small.stderr).toContain(`--kv-bytes must be at least ${least}, one head in each layer`);
  });

  test('measures for nobody once it is aborted', async () => {
    const out = newOutput();
    const args = ['convert', model, out, '--merge', 'mean', ...budget(10 * HEAD_BYTES)];
    const { code, stderr } = await wgqa([...args, '--json'], { signal: AbortSignal.abort() });
    expect(code).toBe(1);
    expect(JSON.parse(stderr)).toMatchObject({ error: { code: 'ABORTED' } });
    expect(await readdir(out).catch(() => [])).toEqual([]);
  });
});

describe('what fits nothing', () => {
  const CALIBRATION = ['--calibration', 'pairs.jsonl'];
  test.each<[string[], string]>([
    [['--kv-bytes', '4096', '--merge', 'mean'], '--kv-bytes needs --calibration'],
    [[], 'give --kv-heads, --preset or --kv-bytes: how many K/V heads to keep'],
    [['--merge', 'mean'], 'give --kv-heads, --preset or --kv-bytes'],
    [['--preset', 'WGQA', '--init', 'least-squares'], '--init least-squares needs --calibration'],
    [
      ['--kv-bytes', '4096', '--merge', 'mean', '--kv-heads', '2', ...CALIBRATION],
      "option '--kv-bytes <n>' cannot be used with option '--kv-heads <n>'",
    ],
    [
      ['--kv-bytes', '4096', '--merge', 'mean', '--modules', 'decoder.self', ...CALIBRATION],
      "cannot be used with option '--modules <list>'",
    ],
    [
      ['--kv-bytes', '4096', '--merge', 'mean', '--grouping', 'similarity', ...CALIBRATION],
      'cannot be used with --grouping similarity',
    ],
    [['--kv-bytes', '0'], 'It must be an integer >= 1.'],
    [['--source-tokens', '9', '--preset', 'GQA'], '--source-tokens needs --kv-bytes'],
    [['--target-tokens', '9', '--preset', 'GQA'], '--target-tokens needs --kv-bytes'],
    [['--source-tokens', 'many'], 'It must be an integer >= 1.'],
    [['--calibration-pairs', '0'], 'It must be an integer >= 1.'],
    [['--init', 'zero'], 'Allowed choices are mean, random, least-squares'],
    [['--constraint', 'tanh'], 'Allowed choices are none, softmax, signed'],
    [['--grouping', 'random'], 'Allowed choices are neighbouring, similarity'],
    [['--alignment', 'diagonal'], 'Allowed choices are none, orthogonal'],
  ])('is bad usage: %j', async (args, says) => {
    const { code, stdout, stderr } = await wgqa(['convert', 'a', 'b', ...args]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain(says);
  });

  test.each<[string[], Record<string, unknown>]>([
    [
      ['--init', 'random', '--constraint', 'softmax', '--kv-heads', '3'],
      { code: 'INVALID_ARGUMENT', field: '--kv-heads' },
    ],
    [['--calibration', 'nowhere.jsonl'], { code: 'NOT_FOUND' }],
  ])('fails: %j', async (args, error) => {
    const out = newOutput();
    const result = await wgqa(['convert', model, out, ...WEIGHTED, ...args, '--json']);
    expect(result).toMatchObject({ code: error['code'] === 'NOT_FOUND' ? 1 : 2, stdout: '' });
    expect(JSON.parse(result.stderr)).toMatchObject({ error });
    await expect(readdir(out)).rejects.toThrow('ENOENT');
  });

  test('fails: text without pairs', async () => {
    const empty = temporary.path('empty.jsonl');
    await writeFile(empty, '');
    const args = ['convert', model, newOutput(), ...WEIGHTED, '--calibration', empty];
    const { code, stdout, stderr } = await wgqa(args);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toContain(`${empty}: no text pairs`);
    expect(stderr).toMatch(/\[INVALID_FILE\]\n$/);
  });
});

describe('inspect', () => {
  test('states heads and bytes of each layer', async () => {
    const out = newOutput();
    await using source = await loadModel(model);
    const kvHeads = { 'decoder.self': [1, 4], 'decoder.cross': [2, 2] };
    await using converted = await source.convert({ kvHeads, merge: 'mean' });
    await converted.save(out);
    expect(await wgqaJson(['inspect', out])).toMatchObject({
      conversion: { kv_heads: kvHeads, merge: 'mean' },
      modules: [
        { module: 'encoder.self', heads: 4, kvHeads: 4 },
        { module: 'decoder.self', heads: 4, kvHeads: [1, 4] },
        { module: 'decoder.cross', heads: 4, kvHeads: 2 },
      ],
      cacheBytesPerToken: {
        float32: { selfAttention: 5 * HEAD_BYTES, crossAttention: 4 * HEAD_BYTES },
        bfloat16: { selfAttention: 2.5 * HEAD_BYTES, crossAttention: 2 * HEAD_BYTES },
      },
    });
    const { stdout } = await wgqa(['inspect', out]);
    expect(stdout).toMatch(/^K\/V heads +encoder\.self 4, decoder\.self 1 4, decoder\.cross 2$/m);
    expect(stdout).toMatch(
      /^Grouping +decoder\.self 1 4, decoder\.cross 2 2 K\/V heads, mean of their groups$/m,
    );
  });

  test('tells expansion weights, before folding and no more after', async () => {
    const [out, folded] = [newOutput(), newOutput()];
    await wgqaJson(['convert', model, out, '--preset', 'MQA', '--expansion']);
    const before = await wgqa(['inspect', out, '--tensors']);
    expect(before.stdout).toMatch(/^Parameters .*, 256 merge or expansion weights, /m);
    expect(before.stdout).toMatch(
      /^Grouping .* mean of their groups, weighted expansion; not folded$/m,
    );
    expect(before.stdout).toMatch(/SelfAttention\.k\.expansion_weight +4 × 8 × 1 +float32$/m);
    await wgqaJson(['fold', out, folded]);
    const after = await wgqa(['inspect', folded, '--tensors']);
    expect(after.stdout).not.toMatch(/expansion/);
    expect(after.stdout).toMatch(/^Grouping +1 K\/V heads$/m);
  });
});
