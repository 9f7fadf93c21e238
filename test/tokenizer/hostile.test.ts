/**
 * Tokenizer files that would end the process, hang it or fill its memory, were the library given them as
 * they are. A failure of these tests may take the test runner with it.
 */
import { describe, expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { WgqaError } from '../../src/errors.ts';
import { readCharsMap } from '../../src/tokenizer/description/chars-map.ts';
import { patternProblem } from '../../src/tokenizer/description/pattern.ts';
import { loadTokenizer } from '../../src/tokenizer/index.ts';
import { readFile } from 'node:fs/promises';
import { directoryWith, unigramTokenizer } from './fixtures.ts';
import { mutate, randomFrom, randomTexts } from './mutations.ts';

type Json = Record<string, unknown>;

const load = async (json: object) => loadTokenizer(await directoryWith({ 'tokenizer.json': json }));
const changed = (change: object) => ({ ...unigramTokenizer(), ...change });
const bpe = (more: object) =>
  changed({ model: { type: 'BPE', vocab: { a: 0, b: 1, '##b': 2, ab: 3 }, merges: [], ...more } });
const template = (single: object[], tokens: object = {}) =>
  changed({ post_processor: { type: 'TemplateProcessing', single, special_tokens: tokens } });
const text = { Sequence: { id: 'A', type_id: 0 } };
const replace = (pattern: object, content: string) => ({ type: 'Replace', pattern, content });
const sequence = (list: string, parts: object[]) => ({ type: 'Sequence', [list]: parts });
const splitAt = (Regex: string) =>
  changed({
    pre_tokenizer: { type: 'Split', pattern: { Regex }, behavior: 'Isolated', invert: false },
  });

const deep = (() => {
  let part: object = { type: 'NFC' };
  for (let i = 0; i < 200; ++i) part = sequence('normalizers', [part]);
  return part;
})();

describe('refused is', () => {
  test.each<[string, Json, string, string]>([
    [
      'a chunk of no characters',
      changed({ pre_tokenizer: { type: 'FixedLength', length: 0 } }),
      'INVALID_FILE',
      'pre_tokenizer.length',
    ],
    [
      'a cut from the end of each token',
      changed({ decoder: { type: 'Strip', content: 'a', start: 0, stop: 3 } }),
      'INVALID_FILE',
      'decoder',
    ],
    [
      'a template whose token is nowhere',
      template([text, { SpecialToken: { id: 'x' } }]),
      'INVALID_FILE',
      'post_processor.special_tokens["x"]',
    ],
    [
      'a template with a second text',
      template([{ Sequence: { id: 'B' } }]),
      'INVALID_FILE',
      'post_processor.single[0]',
    ],
    [
      'a template with the text twice',
      template([text, text]),
      'INVALID_FILE',
      'post_processor.single',
    ],
    [
      'a merge without its result',
      bpe({
        merges: [
          ['a', '##b'],
          ['b', 'a'],
        ],
        continuing_subword_prefix: '##',
      }),
      'INVALID_FILE',
      'model.merges[1]',
    ],
    ['a merge of half a pair', bpe({ merges: ['a'] }), 'INVALID_FILE', 'model.merges[0]'],
    [
      'an expression that tracks back',
      splitAt('(a+a+)+y'),
      'UNSUPPORTED',
      'pre_tokenizer.pattern.Regex',
    ],
    [
      'an expression that matches nothing',
      splitAt('a*'),
      'UNSUPPORTED',
      'pre_tokenizer.pattern.Regex',
    ],
    [
      'replacements that double',
      changed({
        normalizer: sequence(
          'normalizers',
          Array.from({ length: 30 }, () => replace({ String: 'a' }, 'aa')),
        ),
      }),
      'UNSUPPORTED',
      'normalizer',
    ],
    [
      'a long replacement',
      changed({ decoder: replace({ String: 'a' }, 'a'.repeat(1000)) }),
      'INVALID_FILE',
      'decoder.content',
    ],
    [
      'a huge piece',
      changed({ model: { type: 'Unigram', unk_id: 0, vocab: [['a'.repeat(200_000), 0]] } }),
      'INVALID_FILE',
      'model.vocab[0]',
    ],
    [
      'words without limit',
      changed({ model: { type: 'WordPiece', vocab: { a: 0 }, max_input_chars_per_word: 1e9 } }),
      'INVALID_FILE',
      'model.max_input_chars_per_word',
    ],
    ['parts within parts', changed({ normalizer: deep }), 'INVALID_FILE', 'normalizer'],
    [
      'a map that is cut off',
      changed({ normalizer: { type: 'Precompiled', precompiled_charsmap: 'AAAA' } }),
      'INVALID_FILE',
      'normalizer.precompiled_charsmap',
    ],
  ])('%s', async (_, json, code, field) => {
    const error: unknown = await load(json).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code });
    expect((error as WgqaError).field).toContain(`tokenizer.json: ${field}`);
  });
});

test('a file without a token for a text is told so when the text comes', async () => {
  const tokenizer = await load(
    changed({ model: { type: 'Unigram', unk_id: null, vocab: [['a', 0]] } }),
  );
  expect(() => tokenizer.encode('☃')).toThrow(expect.objectContaining({ code: 'INVALID_FILE' }));
});

test('a prefix of nothing is no prefix', async () => {
  const parts = [{ type: 'Prepend', prepend: '' }, { type: 'Lowercase' }];
  const tokenizer = await load(changed({ normalizer: sequence('normalizers', parts) }));
  expect([...tokenizer.encode('AB')]).toEqual([7, 1]);
});

describe('character maps', () => {
  test('with a byte changed do no harm', async () => {
    const json = JSON.parse(await readFile('demo/model/tokenizer.json', 'utf8')) as {
      normalizer: { normalizers: { precompiled_charsmap: string }[] };
    };
    const [precompiled] = json.normalizer.normalizers;
    const bytes = Buffer.from(precompiled!.precompiled_charsmap, 'base64');
    expect(readCharsMap(bytes)).toEqual({ growth: 18 });
    const random = randomFrom(3);
    const texts = Array.from({ length: 50 }, () =>
      Array.from({ length: 40 }, () => String.fromCodePoint(1 + random(0xd7ff))).join(''),
    );
    let used = 0;
    for (let i = 0; i < 60 && used < 10; ++i) {
      const damaged = Buffer.from(bytes);
      damaged[random(damaged.length)] = random(256);
      if (typeof readCharsMap(damaged) === 'string') continue;
      used += 1;
      precompiled!.precompiled_charsmap = damaged.toString('base64');
      const tokenizer = await load(json);
      expect(await tokenizer.encodeBatchAsync(texts)).toHaveLength(50);
    }
    expect(used).toBeGreaterThan(0);
  });

  test('that lead outside are refused', () => {
    const units = Uint32Array.from([(5000 << 10) >>> 0, 0, 0, 0]);
    const size = Uint8Array.of(16, 0, 0, 0);
    const map = Buffer.concat([size, Buffer.from(units.buffer), Buffer.from('a\0')]);
    expect(readCharsMap(map)).toBe('has a link that leads outside');
  });
});

describe('patterns', () => {
  const raw = String.raw;
  test.each([
    raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`,
    raw`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
    raw` ?[^(\s|[.,!?…。，、।۔،])]+`,
    raw`[一-龥ࠀ-一가-퟿]+`,
    ' {2,}',
    raw`\p{N}{1,3}`,
    raw`\A | \z`,
    '[[:alpha:]&&[^a]]x{3}',
  ])('of linear time: %s', (pattern) => {
    expect(patternProblem(pattern)).toBeUndefined();
  });

  test.each([
    ...['(a+)+$', '(a|a)*b', 'a*a*b', raw`\s+$`, '(a{1,16}){1,16}b', '(?:a?){16}b', 'a{1,100}b'],
    ...[
      'a?',
      '',
      '(a',
      'a)',
      '[a',
      'a**?',
      raw`(a)\1`,
      raw`(?<n>a)\k<n>`,
      '(?#x)',
      raw`\p`,
      'a{,}',
    ],
    ...['(?=a*)b', `${'('.repeat(50)}a${')'.repeat(50)}`, 'a'.repeat(3000), '+a'],
  ])('refused: %s', (pattern) => {
    expect(patternProblem(pattern)).toEqual(expect.any(String));
  });
});

test('files changed at random are used or refused, and streams give what decode gives', async () => {
  const random = randomFrom(11);
  let used = 0;
  for (let i = 0; i < 300; ++i) {
    const json = mutate(random);
    try {
      const tokenizer = await load(json);
      for (const sample of randomTexts(random)) {
        const ids = await tokenizer.encodeAsync(sample);
        const stream = tokenizer.createTextStream();
        const streamed = [...ids].map((id) => stream.push([id])).join('') + stream.end();
        expect(streamed).toBe(tokenizer.decode(ids));
      }
      used += 1;
    } catch (error) {
      if (!(error instanceof WgqaError)) throw error;
      expect(['INVALID_FILE', 'UNSUPPORTED']).toContain(error.code);
    }
  }
  expect(used).toBeGreaterThan(100);
});

test('a process ends in order while texts are encoded', () => {
  const program = `
    import { loadTokenizer } from './src/tokenizer/index.ts';
    const tokenizer = await loadTokenizer('demo/model');
    for (let i = 0; i < 4; ++i) void tokenizer.encodeAsync('a b '.repeat(50_000));
    setTimeout(() => process.exit(7), 20);`;
  const args = ['--import', 'tsx', '--input-type=module', '--eval', program];
  const cwd = join(import.meta.dirname, '../..');
  expect(() => execFileSync(process.execPath, args, { cwd, stdio: 'pipe' })).toThrow(
    expect.objectContaining({ status: 7, signal: null }),
  );
});

test('an idle tokenizer does not keep a process alive', () => {
  const program = `
    import { loadTokenizer } from './src/tokenizer/index.ts';
    const tokenizer = await loadTokenizer('demo/model');
    process.stdout.write(String((await tokenizer.encodeAsync('a')).length + tokenizer.encode('a').length));`;
  const args = ['--import', 'tsx', '--input-type=module', '--eval', program];
  const cwd = join(import.meta.dirname, '../..');
  expect(execFileSync(process.execPath, args, { cwd, encoding: 'utf8' })).toBe('4');
});
