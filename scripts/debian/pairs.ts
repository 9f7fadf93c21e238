import { flowingText, parseControl, parseDescription, type Description } from './control.ts';

/** A line of a data set: what the model reads and what it shall write. */
export interface Pair {
  readonly source: string;
  readonly target: string;
}

/** A pair with the keys that tell which other pairs say nearly the same. */
export interface KeyedPair extends Pair {
  readonly package: string;
  readonly familyKeys: readonly string[];
}

/** How many stanzas were left out, by reason. */
export type DropCounts = Record<string, number>;

// Shorter paragraphs and synopses are stock phrases that unrelated packages share.
const MIN_PARAGRAPH_KEY = 40;
const MIN_SYNOPSIS_KEY = 16;
const MIN_LONG_TEXT = 40;
// Replacement characters: text that was decoded wrongly before it got into the archive.
const GARBLED = /[\ufffc\ufffd]/;
const BOILERPLATE = /\b(dummy|transitional|placeholder|empty) (\w+ )?package|safely be removed/i;

/** Descriptions by "package md5", the key that a translation shares with its original. */
export function readDescriptions(index: string, language: string): Map<string, Description> {
  const descriptions = new Map<string, Description>();
  for (const stanza of parseControl(index)) {
    const name = stanza.get('package');
    const md5 = stanza.get('description-md5');
    const text = stanza.get(`description-${language}`);
    if (name === undefined || md5 === undefined || text === undefined) continue;
    descriptions.set(`${name} ${md5}`, parseDescription(text));
  }
  return descriptions;
}

/** The source package of each binary package of a Packages index. */
export function readSourcePackages(index: string): Map<string, string> {
  const sources = new Map<string, string>();
  for (const stanza of parseControl(index)) {
    const name = stanza.get('package');
    if (name === undefined) continue;
    sources.set(name, (stanza.get('source') ?? name).replace(/ .*/, ''));
  }
  return sources;
}

/** Long description → synopsis. */
export function summaryPairs(
  descriptions: ReadonlyMap<string, Description>,
  sourcePackages: ReadonlyMap<string, string>,
): { pairs: KeyedPair[]; dropped: DropCounts } {
  const dropped: DropCounts = { empty: 0, garbled: 0, boilerplate: 0, short: 0, duplicate: 0 };
  const seen = new Set<string>();
  const pairs: KeyedPair[] = [];
  for (const [key, description] of descriptions) {
    const long = flowingText(description);
    const reason = reasonToDrop(description.synopsis, long, seen);
    if (reason !== undefined) {
      dropped[reason] = (dropped[reason] ?? 0) + 1;
      continue;
    }
    seen.add(long);
    const name = key.replace(/ .*/, '');
    pairs.push({
      package: name,
      source: `summarize: ${long}`,
      target: description.synopsis,
      familyKeys: familyKeys(description, sourcePackages.get(name) ?? name),
    });
  }
  return { pairs, dropped };
}

function reasonToDrop(synopsis: string, long: string, seen: Set<string>): string | undefined {
  if (synopsis === '' || long === '') return 'empty';
  if (GARBLED.test(synopsis) || GARBLED.test(long)) return 'garbled';
  if (BOILERPLATE.test(synopsis) || BOILERPLATE.test(long)) return 'boilerplate';
  if (long.length < MIN_LONG_TEXT) return 'short';
  return seen.has(long) ? 'duplicate' : undefined;
}

function familyKeys(description: Description, sourcePackage: string): string[] {
  const keys = [`source ${sourcePackage}`];
  for (const paragraph of description.paragraphs.slice(0, 1)) {
    const text = normalise(paragraph.join(' '));
    if (text.length >= MIN_PARAGRAPH_KEY) keys.push(`paragraph ${text}`);
  }
  // "Foo library - development files" and "Foo library (documentation)" are one family.
  const synopsis = normalise(description.synopsis.replace(/( -+ | \(|; ).*/, ''));
  if (synopsis.length >= MIN_SYNOPSIS_KEY) keys.push(`synopsis ${synopsis}`);
  return keys;
}

/** Letters only, so that versions, punctuation and case make no difference. */
export function normalise(text: string): string {
  return text
    .toLowerCase()
    .replace(/[^\p{L}]+/gu, ' ')
    .trim();
}

/** English → German, one pair per synopsis, sentence or list item that both sides have. */
export function translationPairs(
  english: ReadonlyMap<string, Description>,
  german: ReadonlyMap<string, Description>,
  sourcePackages: ReadonlyMap<string, string>,
): { pairs: KeyedPair[]; dropped: DropCounts } {
  const dropped: DropCounts = { untranslated: 0, unaligned: 0, identical: 0, duplicate: 0 };
  const seen = new Set<string>();
  const pairs: KeyedPair[] = [];
  const drop = (reason: string) => (dropped[reason] = (dropped[reason] ?? 0) + 1);
  for (const [key, original] of english) {
    const translation = german.get(key);
    if (translation === undefined) {
      drop('untranslated');
      continue;
    }
    const name = key.replace(/ .*/, '');
    const { aligned, unaligned } = alignSentences(original, translation);
    dropped['unaligned'] = (dropped['unaligned'] ?? 0) + unaligned;
    for (const [source, target] of aligned) {
      if (source === target) drop('identical');
      else if (seen.has(source)) drop('duplicate');
      else {
        seen.add(source);
        const familyKeys = [`source ${sourcePackages.get(name) ?? name}`, normalise(source)];
        pairs.push({
          package: name,
          source: `translate English to German: ${source}`,
          target,
          familyKeys,
        });
      }
    }
  }
  return { pairs, dropped };
}

/** Pairs up what has the same structure on both sides; the rest is counted, not guessed. */
function alignSentences(
  original: Description,
  translation: Description,
): { aligned: [string, string][]; unaligned: number } {
  const aligned: [string, string][] = [[original.synopsis, translation.synopsis]];
  if (original.paragraphs.length !== translation.paragraphs.length) {
    return { aligned, unaligned: original.paragraphs.length };
  }
  let unaligned = 0;
  original.paragraphs.forEach((paragraph, index) => {
    const other = translation.paragraphs[index] ?? [];
    const left = paragraph.flatMap(sentences);
    const right = other.flatMap(sentences);
    if (paragraph.length !== other.length) unaligned += 1;
    else if (left.length === right.length) aligned.push(...zip(left, right));
    else aligned.push(...zip(paragraph, other));
  });
  return { aligned, unaligned };
}

function sentences(block: string): string[] {
  return block.split(/(?<=[\p{L}\p{N})"][.!?]) (?=[\p{Lu}"(])/u);
}

function zip(left: readonly string[], right: readonly string[]): [string, string][] {
  return left.map((text, index) => [text, right[index] ?? '']);
}
