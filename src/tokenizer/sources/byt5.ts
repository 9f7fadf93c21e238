/** ByT5, which has no tokenizer file: a byte is a token, after three special tokens. */
import { malformed, type JsonObject } from '../description/index.ts';

const SPECIAL_TOKENS = ['<pad>', '</s>', '<unk>'];
const USUAL_EXTRA_IDS = 125;

/** The tokenizer.json of ByT5; `config` is its tokenizer_config.json. */
export function byt5(config: JsonObject): JsonObject {
  const count = config['extra_ids'] ?? USUAL_EXTRA_IDS;
  if (typeof count !== 'number' || !Number.isInteger(count) || count < 0 || count > 10_000) {
    throw malformed('tokenizer_config.json: extra_ids', 'must be an integer from 0 to 10000');
  }
  const first = SPECIAL_TOKENS.length;
  const bytes = byteCharacters();
  const extra = Array.from({ length: count }, (_, i) => `<extra_id_${i}>`);
  const tokens = [
    ...SPECIAL_TOKENS.entries(),
    ...extra.map((content, i) => [first + bytes.length + i, content] as const),
  ];
  return {
    added_tokens: tokens.map(([id, content]) => ({ id, content, special: true })),
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, use_regex: false },
    post_processor: {
      type: 'TemplateProcessing',
      single: [{ Sequence: { id: 'A', type_id: 0 } }, { SpecialToken: { id: '</s>', type_id: 0 } }],
      special_tokens: { '</s>': { id: '</s>', ids: [1], tokens: ['</s>'] } },
    },
    decoder: { type: 'ByteLevel' },
    model: {
      type: 'BPE',
      unk_token: '<unk>',
      vocab: Object.fromEntries([...SPECIAL_TOKENS, ...bytes].map((piece, id) => [piece, id])),
      merges: [],
    },
  };
}

/** GPT-2's printable stand-ins for the 256 bytes: a byte itself, or the next one from U+0100. */
export function byteCharacters(): string[] {
  let next = 0x100;
  const isPrintable = (byte: number) =>
    (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad);
  return Array.from({ length: 256 }, (_, byte) =>
    String.fromCharCode(isPrintable(byte) ? byte : next++),
  );
}
