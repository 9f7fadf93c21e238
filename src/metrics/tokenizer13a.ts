/**
 * The `13a` tokenisation of sacreBLEU (sacrebleu/tokenizers/tokenizer_13a.py and tokenizer_re.py,
 * version 2.6.0), which is NIST's mteval-v13a.pl without its XML handling.
 */

// Python's str.split() splits at the four ASCII separators too, and not at U+FEFF as \s does here.
// eslint-disable-next-line no-control-regex
const WHITESPACE = /[\p{White_Space}\u001c-\u001f]+/gu;

const ENTITIES = [
  ['&quot;', '"'],
  ['&amp;', '&'],
  ['&lt;', '<'],
  ['&gt;', '>'],
] as const;

// The order matters: each rule sees the spaces the ones before it added.
const RULES = [
  // ASCII punctuation and symbols, except ' , - and . (and the digits and letters between).
  [/[{-~[-` -&(-+:-@/]/gu, ' $& '],
  [/([^0-9])([.,])/gu, '$1 $2 '],
  [/([.,])([^0-9])/gu, ' $1 $2'],
  [/([0-9])(-)/gu, '$1 $2 '],
] as const;

/** Splits at runs of what Python calls whitespace; no empty tokens. */
export function splitWhitespace(text: string): string[] {
  return text.split(WHITESPACE).filter((token) => token !== '');
}

/** Tokens of one segment. Trailing whitespace is dropped first, as sacreBLEU does. */
export function tokenize13a(segment: string): string[] {
  let text = trimEnd(segment)
    .replaceAll('<skipped>', '')
    .replaceAll('-\n', '')
    .replaceAll('\n', ' ');
  for (const [entity, character] of ENTITIES) text = text.replaceAll(entity, character);
  text = ` ${text} `;
  for (const [pattern, replacement] of RULES) text = text.replace(pattern, replacement);
  return splitWhitespace(text);
}

/** Python's str.rstrip(), linear in the length also for text full of inner whitespace. */
function trimEnd(text: string): string {
  let end = text.length;
  while (end > 0 && text.slice(end - 1, end).replace(WHITESPACE, '') === '') end -= 1;
  return text.slice(0, end);
}
