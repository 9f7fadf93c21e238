/**
 * Models of Debian's SentencePiece, read from their lone files, against its own ids and texts. See
 * scripts/tokenizer/sentencepiece_fixtures.py.
 */
import { describe, expect, test } from '@jest/globals';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32, gunzipSync } from 'node:zlib';
import { loadTokenizer, type Tokenizer } from '../../src/tokenizer/index.ts';

const FIXTURES = join(import.meta.dirname, '../fixtures/sentencepiece');

interface Expected {
  readonly randomIds: number[];
  readonly randomSortedIds: number[];
  readonly randomTexts: number[];
  readonly nastyIds: number[][];
  readonly nastyTexts: string[];
}

async function unzipped(name: string): Promise<Buffer> {
  return gunzipSync(await readFile(join(FIXTURES, name)));
}

async function json(name: string): Promise<unknown> {
  return JSON.parse((await unzipped(`${name}.json.gz`)).toString('utf8'));
}

async function load(name: string): Promise<Tokenizer> {
  const directory = await mkdtemp(join(tmpdir(), 'wgqa-test-'));
  try {
    await writeFile(join(directory, 'tokenizer.model'), await unzipped(`${name}.model.gz`));
    // SentencePiece itself adds no tokens around a text.
    await writeFile(join(directory, 'tokenizer_config.json'), '{"add_bos_token": false}');
    return await loadTokenizer(directory);
  } finally {
    await rm(directory, { recursive: true });
  }
}

const checksum = (ids: Iterable<number>) => crc32([...ids].join(' '));
const graphemes = new Intl.Segmenter('und', { granularity: 'grapheme' });

/**
 * Whether characters change together. SentencePiece looks for the longest text in its map; the library
 * takes what a user sees as one character, or each code point.
 */
function changesTogether(text: string): boolean {
  const oneByOne = Array.from(text, (character) => character.normalize('NFKC')).join('');
  if (oneByOne !== text.normalize('NFKC')) return true;
  return [...graphemes.segment(text)].some(({ segment }) => Array.from(segment).length > 1);
}

/** Whether a text begins with the mark itself, of which SentencePiece drops several when decoding. */
const beginsWithMark = (text: string) => /^\s*[\u2581\p{Zs}\p{Cc}]/u.test(text.normalize('NFKC'));

const { random, nasty } = (await json('texts')) as { random: string[]; nasty: string[] };

test('the fixtures hold as many texts as they should', () => {
  expect([random.length, nasty.length]).toEqual([10_000, 500]);
});

describe.each([
  // With a map, what changes together differs in some texts; without, nothing does.
  ['unigram-nmt_nfkc', 60],
  ['unigram-nfkc', 60],
  ['unigram-nmt_nfkc_cf', 120],
  ['unigram-nfkc_cf', 120],
  ['unigram-bytes', 250],
  ['bpe-nfkc', 60],
  ['unigram-identity', 0],
  ['unigram-spaces', 0],
  ['bpe-bytes', 0],
] as const)('%s', (name, mostDifferent) => {
  test('random texts', async () => {
    const expected = (await json(name)) as Expected;
    const tokenizer = await load(name);
    const encoded = await tokenizer.encodeBatchAsync(random);
    const different = random.flatMap((text, i) => {
      const ids = encoded[i]!;
      if (checksum(ids) === expected.randomIds[i]) {
        if (ids.includes(tokenizer.unkTokenId ?? -1) || beginsWithMark(text)) return [];
        return crc32(tokenizer.decode(ids)) === expected.randomTexts[i] ? [] : [`decoded: ${text}`];
      }
      // SentencePiece adds up in single precision: of "0|00" and "00|0", rounding decides.
      const isTie = checksum(ids.toSorted()) === expected.randomSortedIds[i];
      return [isTie || changesTogether(text) ? '' : text];
    });
    expect(different.filter((text) => text !== '')).toEqual([]);
    expect(different.length).toBeLessThanOrEqual(mostDifferent);
  });

  test('nasty texts', async () => {
    const expected = (await json(name)) as Expected;
    const tokenizer = await load(name);
    const exact = nasty.filter((text) => mostDifferent === 0 || !changesTogether(text));
    expect(exact.length).toBeGreaterThan(350);
    for (const text of exact) {
      const i = nasty.indexOf(text);
      const ids = tokenizer.encode(text);
      expect([text, ...ids]).toEqual([text, ...expected.nastyIds[i]!]);
      if (ids.includes(tokenizer.unkTokenId ?? -1) || beginsWithMark(text)) continue;
      expect(tokenizer.decode(ids)).toBe(expected.nastyTexts[i]);
    }
  });
});
