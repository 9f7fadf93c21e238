import { describe, expect, test } from '@jest/globals';
import { Tokenizer as WholeTextTokenizer } from '@huggingface/tokenizers';
import { loadTokenizer } from '../../src/tokenizer/index.ts';
import { encodesWordByWord } from '../../src/tokenizer/words.ts';
import { directoryWith, unigramTokenizer } from './fixtures.ts';

const precompiled = { type: 'Precompiled', precompiled_charsmap: '' };
const metaspace = { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always' };
const strip = { type: 'Strip', strip_left: true, strip_right: true };
const collapse = { type: 'Replace', pattern: { Regex: ' {2,}' }, content: ' ' };

const newer = {
  ...unigramTokenizer(),
  normalizer: { type: 'Sequence', normalizers: [precompiled, strip, collapse] },
};
const older = {
  ...unigramTokenizer(),
  normalizer: precompiled,
  pre_tokenizer: { type: 'Sequence', pretokenizers: [{ type: 'WhitespaceSplit' }, metaspace] },
};

/** Texts of the vocabulary's characters, white space, special tokens and what NFKC takes apart. */
function randomTexts(count: number): string[] {
  const parts =
    'a|b|c|ab|é|e\u0301|日|😀|☃|.| |  |\t|\u00a0|\u3000|´|½|\u2581|</s>|<pad>|\ud800'.split('|');
  let state = 1; // a linear congruential generator (Numerical Recipes)
  const next = (limit: number) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
  return Array.from({ length: count }, () =>
    Array.from({ length: next(20) }, () => parts[next(parts.length)]).join(''),
  );
}

describe.each([
  ["T5's newer layout", newer],
  ["T5's older layout", older],
])('%s', (_, files) => {
  test('is encoded word by word', () => {
    expect(encodesWordByWord(files)).toBe(true);
  });

  test('gives what the whole text gives', async () => {
    const tokenizer = await loadTokenizer(await directoryWith({ 'tokenizer.json': files }));
    const whole = new WholeTextTokenizer(files, {});
    for (const text of randomTexts(2000)) {
      expect([text, ...tokenizer.encode(text)]).toEqual([text, ...whole.encode(text).ids]);
    }
  });
});

describe('texts are encoded whole where', () => {
  const withModel = (piece: string) => {
    const { model } = unigramTokenizer() as { model: { vocab: unknown[] } };
    return { ...newer, model: { ...model, vocab: [...model.vocab, [piece, -1]] } };
  };
  const withNormalizers = (...normalizers: unknown[]) => ({
    ...newer,
    normalizer: { type: 'Sequence', normalizers },
  });
  const cases: [string, Record<string, unknown>][] = [
    ['a piece spans words', withModel('b▁a')],
    ['spaces count', withNormalizers(precompiled)],
    ['spaces count at the ends', withNormalizers(precompiled, collapse, collapse)],
    ['other white space stays', withNormalizers({ type: 'NFKC' }, strip, collapse)],
    [
      'only the first word gets a mark',
      { ...newer, pre_tokenizer: { ...metaspace, prepend_scheme: 'first' } },
    ],
    [
      'special tokens stand before the text',
      {
        ...newer,
        post_processor: {
          type: 'TemplateProcessing',
          single: [
            { SpecialToken: { id: '<pad>', type_id: 0 } },
            { Sequence: { id: 'A', type_id: 0 } },
          ],
        },
      },
    ],
    [
      'an added token has a space in it',
      { ...newer, added_tokens: [{ id: 2, content: 'a b', normalized: false }] },
    ],
    ['the model is another', { ...newer, model: { type: 'BPE', vocab: { '▁': 0 }, merges: [] } }],
  ];
  test.each(cases)('%s', (_, files) => {
    expect(encodesWordByWord(files)).toBe(false);
  });
});
