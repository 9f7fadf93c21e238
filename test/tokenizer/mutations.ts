/** Tokenizer files as an attacker might make them: good ones with something changed at random. */
import { byteFallbackTokenizer, byteLevelTokenizer, unigramTokenizer } from './layouts.ts';

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type Random = (limit: number) => number;

const replace = (pattern: object, content: string) => ({ type: 'Replace', pattern, content });
const sequence = (list: string, ...parts: object[]) => ({ type: 'Sequence', [list]: parts });

/** A character map of one entry: "A" becomes "a" (a double array of 512 units, then the text). */
const CHARS_MAP = (() => {
  const key = 'A'.charCodeAt(0);
  const units = new Uint32Array(512);
  units[0] = 256 << 10;
  units[256 ^ key] = (1 << 10) | (1 << 8) | key;
  units[256 ^ key ^ 1] = 0x80000000;
  const size = Buffer.alloc(4);
  size.writeUInt32LE(units.byteLength);
  return Buffer.concat([size, Buffer.from(units.buffer), Buffer.from('a\0')]).toString('base64');
})();

/** A tokenizer with every kind of part somewhere. */
function wordPieceTokenizer(): object {
  const pieces = ['[UNK]', '[CLS]', '[SEP]', 'a', '##b', 'c', '##c'];
  return {
    added_tokens: [{ id: 7, content: '[M]', lstrip: true, rstrip: true, special: true }],
    normalizer: sequence(
      'normalizers',
      { type: 'BertNormalizer', strip_accents: null },
      { type: 'NFKD' },
      { type: 'StripAccents' },
      { type: 'Strip', strip_left: true, strip_right: false },
      replace({ Regex: 'a|b{2,}' }, 'x'),
      { type: 'Prepend', prepend: 'a' },
      { type: 'Lowercase' },
    ),
    pre_tokenizer: sequence(
      'pretokenizers',
      { type: 'BertPreTokenizer' },
      { type: 'Digits', individual_digits: true },
      { type: 'Punctuation', behavior: 'Isolated' },
      { type: 'Split', pattern: { String: 'c' }, behavior: 'MergedWithNext', invert: false },
      { type: 'FixedLength', length: 3 },
      { type: 'UnicodeScripts' },
      { type: 'CharDelimiterSplit', delimiter: '_' },
    ),
    post_processor: { type: 'RobertaProcessing', sep: ['[SEP]', 2], cls: ['[CLS]', 1] },
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
    model: {
      type: 'WordPiece',
      unk_token: '[UNK]',
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries(pieces.map((piece, id) => [piece, id])),
    },
  };
}

function prefixedBpe(): object {
  const pieces = ['<unk>', 'a', 'b', '##b', 'ab', 'b</w>', 'ab</w>', '##b</w>'];
  return {
    added_tokens: [],
    decoder: sequence(
      'decoders',
      { type: 'BPEDecoder', suffix: '</w>' },
      { type: 'CTC', pad_token: '<unk>' },
      { type: 'Fuse' },
      { type: 'Strip', content: ' ', start: 1, stop: 0 },
    ),
    model: {
      type: 'BPE',
      unk_token: '<unk>',
      continuing_subword_prefix: '##',
      end_of_word_suffix: '</w>',
      vocab: Object.fromEntries(pieces.map((piece, id) => [piece, id])),
      merges: [
        ['a', '##b'],
        ['a', '##b</w>'],
      ],
    },
  };
}

const CHAINS = {
  normalizer: ['normalizers', wordPieceTokenizer],
  pre_tokenizer: ['pretokenizers', wordPieceTokenizer],
  decoder: ['decoders', prefixedBpe],
} as const;
const MORE_PARTS = {
  normalizer: [
    ...['NFC', 'NFD', 'NFKC', 'NFKD', 'Nmt', 'ByteLevel', 'StripAccents'].map((type) => ({ type })),
    replace({ String: ' ' }, '▁'),
    replace({ Regex: ' {2,}' }, ' '),
    replace({ Regex: '\\A | \\z|[a-c]+' }, ''),
    { type: 'Precompiled', precompiled_charsmap: CHARS_MAP },
  ],
  pre_tokenizer: [
    { type: 'ByteLevel', add_prefix_space: true },
    { type: 'Metaspace', replacement: '▁', prepend_scheme: 'first', split: false },
    { type: 'Split', pattern: { Regex: '\\s+(?!\\S)|\\s+' }, behavior: 'Contiguous', invert: true },
    ...['Whitespace', 'WhitespaceSplit'].map((type) => ({ type })),
  ],
  decoder: [
    ...['ByteFallback', 'ByteLevel'].map((type) => ({ type })),
    { type: 'Metaspace', replacement: '▁' },
    { type: 'WordPiece', prefix: 'a' },
    replace({ String: 'a' }, ''),
  ],
};

/** A tokenizer with parts in any order. */
function chained(random: Random): object {
  const json = BASES[random(BASES.length)]!() as Record<string, object>;
  for (const [key, [list, base]] of Object.entries(CHAINS)) {
    const known = (base() as Record<string, Record<string, object[]>>)[key]![list]!;
    const parts = [...known, ...MORE_PARTS[key as keyof typeof MORE_PARTS]];
    const chain = Array.from({ length: random(6) }, () => parts[random(parts.length)]!);
    if (chain.length > 0) json[key] = sequence(list, ...chain);
  }
  return json;
}

const BASES: readonly (() => object)[] = [
  unigramTokenizer,
  byteFallbackTokenizer,
  byteLevelTokenizer,
  wordPieceTokenizer,
  prefixedBpe,
];

const TYPES =
  'NFC|Nmt|Prepend|Precompiled|ByteLevel|Metaspace|Split|FixedLength|Strip|Fuse|ByteFallback|CTC|BPEDecoder|WordPiece|Sequence|TemplateProcessing|BertProcessing|Unigram|BPE|WordLevel'.split(
    '|',
  );
const VALUES: readonly Json[] = [
  ...[null, true, false, 0, 1, -1, 0.5, 2, 7, 300, 1e9, 2 ** 32, 1e300, -1e308],
  ...['', 'a', '▁', '##', '</w>', '<0x41>', '<0xFF>', '\u0000', '\ud800', '😀', 'a'.repeat(5000)],
  ...['(a+)+$', '[', '\\', '.*', '(?<=a+)b', 'A', 'B', '</s>', 'x y', 'AAAAAA=='],
  ...[[], {}, [[]], ['a', 0], { Regex: '(a|a)*b' }, { String: '' }, { id: 'B' }],
];

/** Texts of all kinds of characters. */
export function randomTexts(random: Random): string[] {
  const parts =
    'a|b|c|A|B|ab|abb| |  |▁|\u0001|\u200b|é|e\u0301|\u0301|ﬁ|\ufdfa|ｶﾞ|각|İ|ß|日|😀|👩\u200d👧|🇩🇪|\ufffd|\ud800|</s>|[M]|1|_|!|\n'.split(
      '|',
    );
  const text = () => Array.from({ length: random(12) }, () => parts[random(parts.length)]).join('');
  return [...TEXTS, ...Array.from({ length: 12 }, text)];
}

/** A good file whose parts stand in any order, or one with one to three changes. */
export function mutate(random: Random): object {
  if (random(3) === 0) return chained(random);
  const json = structuredClone(BASES[random(BASES.length)]!()) as Record<string, Json>;
  const changes = 1 + random(3);
  for (let i = 0; i < changes; ++i) changeOnce(json, random);
  return json;
}

function changeOnce(json: Record<string, Json>, random: Random): void {
  const places = placesOf(json);
  const [holder, key] = places[random(places.length)]!;
  const value = holder[key]!;
  const [other, otherKey] = places[random(places.length)]!;
  const changed: (() => Json)[] = [
    () => VALUES[random(VALUES.length)]!,
    () => structuredClone(other[otherKey]!),
    () => (typeof value === 'number' ? value + random(5) - 2 : value),
    () => (typeof value === 'string' ? value.slice(random(value.length + 1)) : value),
    () => (key === 'type' ? TYPES[random(TYPES.length)]! : value),
    () => (Array.isArray(value) ? [...value, ...value] : value),
  ];
  const choice = random(changed.length + 1);
  if (choice < changed.length) holder[key] = structuredClone(changed[choice]!());
  else if (Array.isArray(holder)) holder.splice(Number(key), 1);
  else Reflect.deleteProperty(holder, key);
}

/** Where in a document there is a value; of long lists and vocabularies, the first few alone. */
function placesOf(json: Json): [Record<string, Json>, string][] {
  if (typeof json !== 'object' || json === null) return [];
  const holder = json as Record<string, Json>;
  return Object.keys(holder)
    .slice(0, 12)
    .flatMap((key) => [[holder, key], ...placesOf(holder[key]!)]);
}

const TEXTS = [
  '',
  'ab abb  c_a1!',
  'a</s>é日😀\u0301[M] <0x41>',
  '\ud800\u0000▁ ▁',
  'ab'.repeat(500),
];

/** Numerical Recipes' linear congruential generator. */
export function randomFrom(seed: number): Random {
  let state = seed;
  return (limit) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}
