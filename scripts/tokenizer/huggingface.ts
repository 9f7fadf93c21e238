import type { SentencePieceModel } from '../../src/tokenizer/sources/sentencepiece-file.ts';

/** T5's special tokens; their ids are their positions in the vocabulary. */
export const SPECIAL_TOKENS = {
  pad_token: '<pad>',
  eos_token: '</s>',
  unk_token: '<unk>',
} as const;

/**
 * A Unigram model as the files of a Hugging Face T5 tokenizer, laid out as `transformers` converts
 * T5's own SentencePiece model: the compiled character map, no white space at the ends or in runs,
 * "▁" for a space and before the first word, and the end token after each sequence.
 */
export function toHuggingFaceFiles(
  model: Pick<SentencePieceModel, 'pieces' | 'charsMap'>,
  maxLength: number,
): Record<string, unknown> {
  const idOf = new Map(model.pieces.map((piece, id) => [piece.text, id]));
  const specials = Object.values(SPECIAL_TOKENS).map((content) => ({
    id: required(idOf.get(content), content),
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  }));
  const eos = SPECIAL_TOKENS.eos_token;
  const eosId = required(idOf.get(eos), eos);
  const metaspace = { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true };
  const sequence = (id: 'A' | 'B') => [
    { Sequence: { id, type_id: 0 } },
    { SpecialToken: { id: eos, type_id: 0 } },
  ];
  return {
    'tokenizer.json': {
      version: '1.0',
      truncation: null,
      padding: null,
      added_tokens: specials,
      normalizer: {
        type: 'Sequence',
        normalizers: [
          {
            type: 'Precompiled',
            precompiled_charsmap: Buffer.from(model.charsMap).toString('base64'),
          },
          { type: 'Strip', strip_left: true, strip_right: true },
          { type: 'Replace', pattern: { Regex: ' {2,}' }, content: ' ' },
        ],
      },
      pre_tokenizer: metaspace,
      post_processor: {
        type: 'TemplateProcessing',
        single: sequence('A'),
        pair: [...sequence('A'), ...sequence('B')],
        special_tokens: { [eos]: { id: eos, ids: [eosId], tokens: [eos] } },
      },
      decoder: metaspace,
      model: {
        type: 'Unigram',
        unk_id: required(idOf.get(SPECIAL_TOKENS.unk_token), SPECIAL_TOKENS.unk_token),
        vocab: model.pieces.map(({ text, score }) => [text, score]),
        byte_fallback: false,
      },
    },
    'tokenizer_config.json': {
      tokenizer_class: 'T5Tokenizer',
      ...SPECIAL_TOKENS,
      extra_ids: 0,
      additional_special_tokens: [],
      clean_up_tokenization_spaces: false,
      model_max_length: maxLength,
    },
    'special_tokens_map.json': SPECIAL_TOKENS,
  };
}

function required(id: number | undefined, token: string): number {
  if (id === undefined) throw new Error(`the vocabulary lacks ${token}`);
  return id;
}
