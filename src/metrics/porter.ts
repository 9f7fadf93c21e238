/**
 * Porter's suffix stripping (Program 14(3), 1980) with the extensions of NLTK's `PorterStemmer` in
 * its default mode (nltk/stem/porter.py, NLTK_EXTENSIONS), which is what `rouge_score` stems with.
 * Where NLTK departs from the paper, a comment says so.
 */

/** A suffix, what replaces it, and what the stem before it must satisfy. */
type Rule = readonly [suffix: string, replacement: string, condition?: (stem: string) => boolean];

/** NLTK: words the rules would get wrong. */
const IRREGULAR: ReadonlyMap<string, string> = new Map([
  ['sky', 'sky'],
  ['skies', 'sky'],
  ['dying', 'die'],
  ['lying', 'lie'],
  ['tying', 'tie'],
  ['news', 'news'],
  ['innings', 'inning'],
  ['inning', 'inning'],
  ['outings', 'outing'],
  ['outing', 'outing'],
  ['cannings', 'canning'],
  ['canning', 'canning'],
  ['howe', 'howe'],
  ['proceed', 'proceed'],
  ['exceed', 'exceed'],
  ['succeed', 'succeed'],
]);

const hasMeasure = (stem: string): boolean => measure(stem) > 0;
const hasLongMeasure = (stem: string): boolean => measure(stem) > 1;

const STEP_1A: readonly Rule[] = [
  ['sses', 'ss'],
  ['ies', 'i'],
  ['ss', 'ss'],
  ['s', ''],
];

const STEP_2: readonly Rule[] = [
  ['ational', 'ate', hasMeasure],
  ['tional', 'tion', hasMeasure],
  ['enci', 'ence', hasMeasure],
  ['anci', 'ance', hasMeasure],
  ['izer', 'ize', hasMeasure],
  ['bli', 'ble', hasMeasure], // NLTK, after Porter's own later version; the paper has abli -> able
  ['alli', 'al', hasMeasure],
  ['entli', 'ent', hasMeasure],
  ['eli', 'e', hasMeasure],
  ['ousli', 'ous', hasMeasure],
  ['ization', 'ize', hasMeasure],
  ['ation', 'ate', hasMeasure],
  ['ator', 'ate', hasMeasure],
  ['alism', 'al', hasMeasure],
  ['iveness', 'ive', hasMeasure],
  ['fulness', 'ful', hasMeasure],
  ['ousness', 'ous', hasMeasure],
  ['aliti', 'al', hasMeasure],
  ['iviti', 'ive', hasMeasure],
  ['biliti', 'ble', hasMeasure],
  ['fulli', 'ful', hasMeasure], // NLTK
  ['logi', 'log', (stem) => hasMeasure(`${stem}l`)], // NLTK: the l counts towards the stem
];

const STEP_3: readonly Rule[] = [
  ['icate', 'ic', hasMeasure],
  ['ative', '', hasMeasure],
  ['alize', 'al', hasMeasure],
  ['iciti', 'ic', hasMeasure],
  ['ical', 'ic', hasMeasure],
  ['ful', '', hasMeasure],
  ['ness', '', hasMeasure],
];

const STEP_4: readonly Rule[] = [
  ...['al', 'ance', 'ence', 'er', 'ic', 'able', 'ible', 'ant', 'ement', 'ment', 'ent'].map(
    (suffix): Rule => [suffix, '', hasLongMeasure],
  ),
  ['ion', '', (stem) => hasLongMeasure(stem) && /[st]$/.test(stem)],
  ...['ou', 'ism', 'ate', 'iti', 'ous', 'ive', 'ize'].map((suffix): Rule => [
    suffix,
    '',
    hasLongMeasure,
  ]),
];

/** Stem of a lower-case word; words of one or two characters are returned as they are. */
export function porterStem(word: string): string {
  const irregular = IRREGULAR.get(word);
  if (irregular !== undefined) return irregular;
  if (word.length <= 2) return word;
  const inflected = step1c(step1b(step1a(word)));
  return step5(applyFirst(applyFirst(step2(inflected), STEP_3), STEP_4));
}

/** Applies the first rule whose suffix matches; if its condition fails, the word stays. */
function applyFirst(word: string, rules: readonly Rule[]): string {
  const rule = rules.find(([suffix]) => word.endsWith(suffix));
  if (rule === undefined) return word;
  const [suffix, replacement, condition] = rule;
  const stem = word.slice(0, word.length - suffix.length);
  return condition === undefined || condition(stem) ? stem + replacement : word;
}

/** Plurals. NLTK: dies -> die, though flies -> fli. */
function step1a(word: string): string {
  if (word.length === 4 && word.endsWith('ies')) return word.slice(0, -1);
  return applyFirst(word, STEP_1A);
}

/** -ed and -ing. NLTK: died -> die and spied -> spi. */
function step1b(word: string): string {
  if (word.endsWith('ied')) return word.slice(0, word.length === 4 ? -1 : -2);
  if (word.endsWith('eed')) return hasMeasure(word.slice(0, -3)) ? word.slice(0, -1) : word;
  const stem = ['ed', 'ing']
    .filter((suffix) => word.endsWith(suffix))
    .map((suffix) => word.slice(0, -suffix.length))
    .find(containsVowel);
  return stem === undefined ? word : restoreEnding(stem);
}

/** Tidies what is left after -ed or -ing: conflat -> conflate, hopp -> hop, fil -> file. */
function restoreEnding(stem: string): string {
  if (/(?:at|bl|iz)$/.test(stem)) return `${stem}e`;
  if (endsInDoubleConsonant(stem)) return /[lsz]$/.test(stem) ? stem : stem.slice(0, -1);
  return measure(stem) === 1 && endsInShortSyllable(stem) ? `${stem}e` : stem;
}

/** NLTK: y becomes i after a consonant that is not the first letter (happy, fly; not enjoy, by). */
function step1c(word: string): string {
  if (!word.endsWith('y')) return word;
  const stem = word.slice(0, -1);
  return stem.length > 1 && endsInConsonant(stem) ? `${stem}i` : word;
}

/** NLTK: -alli is reduced first and the result goes through this step again. */
function step2(word: string): string {
  if (word.endsWith('alli') && hasMeasure(word.slice(0, -4))) return step2(word.slice(0, -2));
  return applyFirst(word, STEP_2);
}

/** A final -e, then a double l. */
function step5(word: string): string {
  const trimmed = dropFinalE(word);
  if (trimmed.endsWith('ll') && hasLongMeasure(trimmed.slice(0, -1))) return trimmed.slice(0, -1);
  return trimmed;
}

function dropFinalE(word: string): string {
  if (!word.endsWith('e')) return word;
  const stem = word.slice(0, -1);
  if (hasLongMeasure(stem)) return stem;
  return hasMeasure(stem) && !endsInShortSyllable(stem) ? stem : word;
}

/**
 * One `c` or `v` per character. A y is a vowel after a consonant and a consonant elsewhere; digits
 * count as consonants.
 */
function soundPattern(word: string): string {
  let pattern = '';
  let sound = 'v';
  for (const letter of word) {
    const isVowel = letter === 'y' ? sound === 'c' : 'aeiou'.includes(letter);
    sound = isVowel ? 'v' : 'c';
    pattern += sound;
  }
  return pattern;
}

/** The paper's m: how often a run of vowels is followed by a run of consonants. */
function measure(stem: string): number {
  return soundPattern(stem).split('vc').length - 1;
}

function containsVowel(stem: string): boolean {
  return soundPattern(stem).includes('v');
}

function endsInConsonant(word: string): boolean {
  return soundPattern(word).endsWith('c');
}

/** The paper's *d. */
function endsInDoubleConsonant(word: string): boolean {
  return word.length > 1 && word.at(-1) === word.at(-2) && endsInConsonant(word);
}

/** The paper's *o: consonant, vowel, consonant but w, x, y. NLTK: also the whole word "vc". */
function endsInShortSyllable(word: string): boolean {
  const pattern = soundPattern(word);
  return pattern === 'vc' || (pattern.endsWith('cvc') && !/[wxy]$/.test(word));
}
