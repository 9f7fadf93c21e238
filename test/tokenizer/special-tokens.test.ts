import { describe, expect, test } from '@jest/globals';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { findTokenizer, loadTokenizer } from '../../src/tokenizer/index.ts';
import { directoryWith, unigramTokenizer } from './fixtures.ts';

const SIZE = 14; // of unigramTokenizer's vocabulary

const withFiles = async (files: Record<string, unknown>) =>
  loadTokenizer(await directoryWith({ 'tokenizer.json': unigramTokenizer(), ...files }));

describe('tokens that tokenizer.json does not have', () => {
  test('of tokenizer_config.json are found in texts, and left out where they are special', async () => {
    const added_tokens_decoder = {
      14: { content: '<sep>', special: true },
      15: { content: 'abc', special: false, normalized: false },
    };
    const tokenizer = await withFiles({ 'tokenizer_config.json': { added_tokens_decoder } });
    const ids = tokenizer.encode('c<sep>abc');
    expect([...ids]).toEqual([3, 6, 14, 15, 1]);
    expect(tokenizer.decode(ids)).toBe('cabc');
    expect(tokenizer.decode(ids, { skipSpecialTokens: false })).toBe('c<sep>abc</s>');
  });

  test('get the ids that the file says, where ids between are left out', async () => {
    const added_tokens_decoder = { 20: { content: '<far>', special: true } };
    const tokenizer = await withFiles({ 'tokenizer_config.json': { added_tokens_decoder } });
    expect([...tokenizer.encode('<far>')]).toEqual([20, 1]);
    expect(tokenizer.vocabSize).toBe(21);
    expect(tokenizer.tokenOf(17)).toBeUndefined();
    expect(tokenizer.decode([5, 17, 6], { skipSpecialTokens: false })).toBe('bc');
  });

  test('of special_tokens_map.json become special, new ones in lists get the next ids', async () => {
    const tokenizer = await withFiles({
      'special_tokens_map.json': {
        eos_token: { content: 'b', lstrip: false },
        additional_special_tokens: ['<extra_id_0>', { content: 'a' }],
      },
    });
    expect(tokenizer.eosTokenId).toBe(5);
    expect(tokenizer.idOf('<extra_id_0>')).toBe(SIZE);
    const ids = tokenizer.encode('c<extra_id_0>a');
    expect([...ids]).toEqual([3, 6, SIZE, 4, 1]);
    expect(tokenizer.decode([...ids, 5])).toBe('c');
  });

  test('of added_tokens.json are ordinary ones', async () => {
    const tokenizer = await withFiles({ 'added_tokens.json': { '<x>': 14 } });
    expect([...tokenizer.encode('<x>')]).toEqual([14, 1]);
    expect(tokenizer.decode([14, 1])).toBe('<x>');
  });

  test.each([
    ['an id of another planet', { 900_000: { content: 'x' } }],
    ['no id', { x: { content: 'x' } }],
    ['no text', { 14: { content: '' } }],
    ['too long a text', { 14: { content: 'x'.repeat(2000) } }],
  ])('are refused with %s', async (_, added_tokens_decoder) => {
    await expect(
      withFiles({ 'tokenizer_config.json': { added_tokens_decoder } }),
    ).rejects.toMatchObject({ code: 'INVALID_FILE' });
  });
});

describe('ByT5', () => {
  const load = async (config: object = {}) =>
    loadTokenizer(
      await directoryWith({
        'tokenizer_config.json': { tokenizer_class: 'ByT5Tokenizer', ...config },
      }),
    );

  test('has a token for each byte, after three others', async () => {
    const tokenizer = await load();
    for (const text of ['', 'a b', ' é日😀\n\0', '\ud800', 'Life is like a box of chocolates.']) {
      // Half a surrogate pair is no character.
      const bytes = Buffer.from(text);
      expect([...tokenizer.encode(text)]).toEqual([...Array.from(bytes, (byte) => byte + 3), 1]);
      expect(tokenizer.decode(tokenizer.encode(text))).toBe(bytes.toString());
    }
    expect(tokenizer).toMatchObject({
      padTokenId: 0,
      eosTokenId: 1,
      unkTokenId: 2,
      vocabSize: 384,
    });
    expect([...tokenizer.encode('a<extra_id_0>')]).toEqual([100, 259, 1]);
    expect(tokenizer.decode([100, 259, 100, 1])).toBe('aa');
  });

  test('gives characters to streams when they are whole', async () => {
    const stream = (await load()).createTextStream();
    const texts = Array.from(Buffer.from('aé😀'), (byte) => stream.push([byte + 3]));
    expect(texts).toEqual(['a', '', 'é', '', '', '', '😀']);
  });

  test('may have other sentinels', async () => {
    expect((await load({ extra_ids: 2 })).vocabSize).toBe(261);
    await expect(load({ extra_ids: -1 })).rejects.toMatchObject({ code: 'INVALID_FILE' });
  });
});

test('a directory has a tokenizer or it has none', async () => {
  expect(await findTokenizer(await directoryWith({}))).toBeUndefined();
  const other = { 'tokenizer_config.json': { tokenizer_class: 'T5Tokenizer' } };
  expect(await findTokenizer(await directoryWith(other))).toBeUndefined();
  const bytes = { 'tokenizer_config.json': { tokenizer_class: 'ByT5Tokenizer' } };
  expect((await findTokenizer(await directoryWith(bytes)))?.vocabSize).toBe(384);
  const broken = await directoryWith({});
  await writeFile(join(broken, 'spiece.model'), 'no model');
  await expect(findTokenizer(broken)).rejects.toMatchObject({
    code: 'INVALID_FILE',
    field: 'spiece.model',
  });
});
