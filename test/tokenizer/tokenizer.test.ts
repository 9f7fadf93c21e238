import { describe, expect, test } from '@jest/globals';
import { mkdir, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ErrorCode } from '../../src/errors.ts';
import { loadTokenizer } from '../../src/tokenizer/index.ts';
import { directoryWith, unigramTokenizer } from './fixtures.ts';

async function loadUnigram(config: Record<string, unknown> = {}) {
  return loadTokenizer(
    await directoryWith({ 'tokenizer.json': unigramTokenizer(), 'tokenizer_config.json': config }),
  );
}

describe('encode and decode', () => {
  test('take the most likely pieces and add the end token', async () => {
    const tokenizer = await loadUnigram();
    const ids = tokenizer.encode('ab c.');
    expect([...ids].map((id) => tokenizer.tokenOf(id))).toEqual(['▁ab', '▁', 'c', '.', '</s>']);
    expect(tokenizer.decode(ids)).toBe('ab c.');
    expect(ids).toBeInstanceOf(Int32Array);
  });

  test("give the same for T5's older layout, which splits at white space first", async () => {
    const older = {
      ...unigramTokenizer(),
      pre_tokenizer: {
        type: 'Sequence',
        pretokenizers: [
          { type: 'WhitespaceSplit' },
          { type: 'Metaspace', replacement: '▁', add_prefix_space: true },
        ],
      },
      decoder: { type: 'Metaspace', replacement: '▁', add_prefix_space: true },
    };
    const tokenizer = await loadTokenizer(await directoryWith({ 'tokenizer.json': older }));
    const ids = tokenizer.encode('ab c.');
    expect(ids).toEqual((await loadUnigram()).encode('ab c.'));
    expect(tokenizer.decode(ids)).toBe('ab c.');
  });

  test('can leave the end token out and special tokens in', async () => {
    const tokenizer = await loadUnigram();
    expect([...tokenizer.encode('c', { addSpecialTokens: false })]).toEqual([3, 6]);
    expect(tokenizer.decode([0, 3, 6, 1], { skipSpecialTokens: false })).toBe('<pad> c</s>');
    expect(tokenizer.decode([0, 3, 6, 1])).toBe('c');
  });

  test('encode nothing as the end token and decode nothing as nothing', async () => {
    const tokenizer = await loadUnigram();
    expect([...tokenizer.encode('')]).toEqual([1]);
    expect(tokenizer.decode([])).toBe('');
    expect(tokenizer.decode([1, 1])).toBe('');
  });

  test('never edit the text, whatever the configuration says about cleaning up', async () => {
    const tokenizer = await loadUnigram({ clean_up_tokenization_spaces: true });
    expect(tokenizer.decode(tokenizer.encode('c . c , c'))).toBe('c . c , c');
  });

  test('map characters outside the vocabulary to the unknown token', async () => {
    const tokenizer = await loadUnigram();
    expect([...tokenizer.encode('c☃')]).toEqual([3, 6, 2, 1]);
    expect([...tokenizer.encode('\ud800')]).toContain(2); // half a surrogate pair
  });

  test('have no text for ids beyond the vocabulary, which spare embedding rows give', async () => {
    const tokenizer = await loadUnigram();
    expect(tokenizer.decode([3, 6, tokenizer.vocabSize, 32_127])).toBe('c');
  });

  test('handle a batch as its texts one by one', async () => {
    const tokenizer = await loadUnigram();
    const texts = ['c', 'ab c', ''];
    const encoded = texts.map((text) => tokenizer.encode(text));
    expect(tokenizer.encodeBatch(texts)).toEqual(encoded);
    expect(await tokenizer.encodeBatchAsync(texts)).toEqual(encoded);
    expect(await tokenizer.encodeAsync('ab c')).toEqual(encoded[1]);
    expect(tokenizer.encodeBatch([])).toEqual([]);
  });

  test('wait for an answer while others are under way', async () => {
    const tokenizer = await loadUnigram();
    const long = tokenizer.encodeAsync('ab c '.repeat(20_000));
    expect([...tokenizer.encode('c')]).toEqual([3, 6, 1]);
    expect(await long).toHaveLength(60_002);
  });

  test('leave the event loop free while a long text is encoded elsewhere', async () => {
    const tokenizer = await loadUnigram();
    let turns = 0;
    const timer = setInterval(() => (turns += 1), 1);
    const ids = await tokenizer.encodeAsync('a'.repeat(1_000_000));
    clearInterval(timer);
    expect(ids).toHaveLength(1_000_002);
    expect(turns).toBeGreaterThan(20);
  });

  test('refuse a text that normalising would lengthen beyond measure', async () => {
    const tokenizer = await loadUnigram();
    const text = '\ufdfa'.repeat(200_000);
    await expect(tokenizer.encodeAsync(text)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      field: 'text',
      allowed: 'at most 2000000 characters once it is normalised',
    });
    expect(await tokenizer.encodeAsync('\ufb01'.repeat(300_000))).toHaveLength(3);
  });

  test('reject what is no text, too long a text and what are no ids', async () => {
    const tokenizer = await loadUnigram();
    const code: ErrorCode = 'INVALID_ARGUMENT';
    expect(() => tokenizer.encode(7 as unknown as string)).toThrow(
      expect.objectContaining({ code }),
    );
    expect(() => tokenizer.encode('a'.repeat(1_000_001))).toThrow(
      expect.objectContaining({ code, field: 'text', allowed: 'at most 1000000 characters' }),
    );
    for (const id of [-1, 1.5, NaN]) {
      expect(() => tokenizer.decode([id])).toThrow(expect.objectContaining({ code, field: 'ids' }));
    }
  });
});

describe('special tokens', () => {
  test("are T5's by default", async () => {
    const { padTokenId, eosTokenId, unkTokenId, vocabSize } = await loadUnigram();
    expect({ padTokenId, eosTokenId, unkTokenId, vocabSize }).toEqual({
      padTokenId: 0,
      eosTokenId: 1,
      unkTokenId: 2,
      vocabSize: 14,
    });
  });

  test('are what tokenizer_config.json names, as text or as object', async () => {
    const tokenizer = await loadUnigram({ pad_token: 'a', eos_token: { content: 'b' } });
    expect(tokenizer.padTokenId).toBe(tokenizer.idOf('a'));
    expect(tokenizer.eosTokenId).toBe(tokenizer.idOf('b'));
  });

  test('are undefined where the vocabulary lacks them', async () => {
    const tokenizer = await loadUnigram({ pad_token: '[PAD]' });
    expect(tokenizer.padTokenId).toBeUndefined();
  });
});

describe('loadTokenizer rejects', () => {
  const changed = (change: (tokenizer: Record<string, unknown>) => void) => {
    const tokenizer = unigramTokenizer();
    change(tokenizer);
    return { 'tokenizer.json': tokenizer };
  };
  const model = (entries: Record<string, unknown>) =>
    changed(
      (tokenizer) => (tokenizer['model'] = { ...(tokenizer['model'] as object), ...entries }),
    );

  const cases: [string, Record<string, unknown>, ErrorCode, string][] = [
    ['a directory without tokenizer.json', {}, 'NOT_FOUND', 'tokenizer.json'],
    ['text that is no JSON', { 'tokenizer.json': '{"model":' }, 'INVALID_FILE', 'tokenizer.json'],
    ['JSON that is no object', { 'tokenizer.json': '[]' }, 'INVALID_FILE', 'tokenizer.json'],
    [
      'a configuration that is no object',
      { 'tokenizer.json': unigramTokenizer(), 'tokenizer_config.json': '3' },
      'INVALID_FILE',
      'tokenizer_config.json',
    ],
    ['no model', changed((t) => delete t['model']), 'INVALID_FILE', 'tokenizer.json: model'],
    ['an unknown model', model({ type: 'x' }), 'UNSUPPORTED', 'tokenizer.json: model.type'],
    ['no vocabulary', model({ vocab: [] }), 'INVALID_FILE', 'tokenizer.json: model.vocab'],
    [
      'a piece without score',
      model({ vocab: [['<pad>', 0], ['</s>']] }),
      'INVALID_FILE',
      'tokenizer.json: model.vocab[1]',
    ],
    [
      'an unknown piece out of range',
      model({ unk_id: 99 }),
      'INVALID_FILE',
      'tokenizer.json: model.unk_id',
    ],
    [
      'an id that is none',
      model({ type: 'BPE', vocab: { a: -1 }, merges: [] }),
      'INVALID_FILE',
      'tokenizer.json: model.vocab["a"]',
    ],
    [
      'an added token with a huge id',
      changed((t) => (t['added_tokens'] = [{ id: 1e12, content: 'x' }])),
      'INVALID_FILE',
      'tokenizer.json: added_tokens[0].id',
    ],
    [
      'an unknown normaliser',
      changed((t) => (t['normalizer'] = { type: 'Nonesuch' })),
      'UNSUPPORTED',
      'tokenizer.json: normalizer.type',
    ],
    [
      'an unknown post-processor',
      changed((t) => (t['post_processor'] = { type: 'Nonesuch' })),
      'UNSUPPORTED',
      'tokenizer.json: post_processor.type',
    ],
  ];
  test.each(cases)('%s', async (_, files, code, field) => {
    const directory = await directoryWith(files);
    await expect(loadTokenizer(directory)).rejects.toMatchObject({
      name: 'WgqaError',
      code,
      field,
    });
  });

  test('bytes that are no UTF-8, a folder in place of the file, and an enormous file', async () => {
    const directory = await directoryWith({});
    const path = join(directory, 'tokenizer.json');
    await writeFile(path, new Uint8Array([0x7b, 0xff, 0x7d]));
    await expect(loadTokenizer(directory)).rejects.toMatchObject({ code: 'INVALID_FILE' });
    await truncate(path, 1024 ** 3); // sparse: takes no space
    await expect(loadTokenizer(directory)).rejects.toMatchObject({
      code: 'INVALID_FILE',
      allowed: 'at most 134217728 bytes',
    });
    const folder = await directoryWith({});
    await mkdir(join(folder, 'tokenizer.json'));
    await expect(loadTokenizer(folder)).rejects.toMatchObject({ code: 'INVALID_FILE' });
  });

  test('a path that is none', async () => {
    await expect(loadTokenizer('')).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });
});
