/** Small tokenizer.json files. */

const specialToken = (id: number, content: string) => ({
  id,
  content,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special: true,
});

const metaspace = { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always' };

/** A T5-like tokenizer of a few pieces, with ids 0 to 2 as T5 has them. */
export function unigramTokenizer(): Record<string, unknown> {
  const pieces = ['▁', 'a', 'b', 'c', '▁ab', 'ab', 'é', '日', '😀', '.', ','];
  const logProbability = (piece: string) => (piece === '▁ab' ? -1 : -Array.from(piece).length);
  return {
    added_tokens: [specialToken(0, '<pad>'), specialToken(1, '</s>'), specialToken(2, '<unk>')],
    normalizer: { type: 'NFKC' },
    pre_tokenizer: metaspace,
    post_processor: {
      type: 'TemplateProcessing',
      single: [{ Sequence: { id: 'A', type_id: 0 } }, { SpecialToken: { id: '</s>', type_id: 0 } }],
      pair: [],
      special_tokens: { '</s>': { id: '</s>', ids: [1], tokens: ['</s>'] } },
    },
    decoder: metaspace,
    model: {
      type: 'Unigram',
      unk_id: 2,
      vocab: [
        ...['<pad>', '</s>', '<unk>'].map((piece) => [piece, 0]),
        ...pieces.map((piece) => [piece, logProbability(piece)]),
      ],
    },
  };
}

/** A Llama-like tokenizer, whose characters outside the vocabulary are spelled in bytes. */
export function byteFallbackTokenizer(): Record<string, unknown> {
  const bytes = Array.from(
    { length: 256 },
    (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`,
  );
  const pieces = ['<unk>', '<s>', '</s>', ...bytes, '▁', 'a', 'b', '▁a', '\n'];
  return {
    added_tokens: [specialToken(0, '<unk>'), specialToken(1, '<s>'), specialToken(2, '</s>')],
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'Prepend', prepend: '▁' },
        { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
      ],
    },
    pre_tokenizer: null,
    post_processor: null,
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        { type: 'Strip', content: ' ', start: 1, stop: 0 },
      ],
    },
    model: {
      type: 'BPE',
      unk_token: '<unk>',
      byte_fallback: true,
      fuse_unk: true,
      vocab: Object.fromEntries(pieces.map((piece, id) => [piece, id])),
      merges: [['▁', 'a']],
    },
  };
}

/** A GPT-2-like tokenizer whose pieces are single bytes, so that characters span several. */
export function byteLevelTokenizer(): Record<string, unknown> {
  return {
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, use_regex: true },
    post_processor: null,
    decoder: { type: 'ByteLevel' },
    model: {
      type: 'BPE',
      vocab: Object.fromEntries(byteCharacters().map((character, byte) => [character, byte])),
      merges: [],
    },
  };
}

/** GPT-2's printable stand-ins for the 256 bytes: a byte itself, or the next one from U+0100. */
function byteCharacters(): string[] {
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad);
    return String.fromCharCode(printable ? byte : next++);
  });
}
