import { describe, expect, test } from '@jest/globals';
import { flowingText, parseControl, parseDescription } from '../../scripts/debian/control.ts';
import {
  readDescriptions,
  readSourcePackages,
  summaryPairs,
  translationPairs,
} from '../../scripts/debian/pairs.ts';
import { firstOfFamilies, splitByFamily } from '../../scripts/debian/split.ts';

const LIBRARY = `Package: libsquare1
Description-md5: 11
Description-en: square root library - runtime
 A library that computes square roots of numbers in several
 precisions.  It is small.
 .
 Features:
  * fast and
    exact
  * no\tdependencies
`;

describe('control files', () => {
  test('hold stanzas of folded fields', () => {
    const stanzas = [...parseControl(`\n${LIBRARY}\n \n# comment\nPACKAGE: other\nEmpty:\n`)];
    expect(stanzas.map((stanza) => stanza.get('package'))).toEqual(['libsquare1', 'other']);
    expect(stanzas[0]?.get('description-md5')).toBe('11');
    expect(stanzas[0]?.get('description-en')?.split('\n')).toHaveLength(8);
    expect(stanzas[1]?.get('empty')).toBe('');
  });

  test.each([
    [' continuation of nothing', 'line 1'],
    ['Package: a\nno field', 'line 2'],
    ['Package: a\nPackage: b', 'line 2'],
  ])('are refused when malformed: %j', (text, message) => {
    expect(() => [...parseControl(text)]).toThrow(message);
  });
});

test('a description is its synopsis, its paragraphs and their list items', () => {
  const [stanza] = parseControl(LIBRARY);
  const description = parseDescription(stanza?.get('description-en') ?? '');
  expect(description).toEqual({
    synopsis: 'square root library - runtime',
    paragraphs: [
      ['A library that computes square roots of numbers in several precisions. It is small.'],
      ['Features:', '* fast and exact', '* no dependencies'],
    ],
  });
  expect(flowingText(description)).toMatch(/It is small\. Features: \* fast and exact \* no dep/);
});

test('Unicode compatibility forms and invisible characters are normalised', () => {
  const { synopsis } = parseDescription(' \ufb01le\u00a0\u200b\u00ad manager\u2026');
  expect(synopsis).toBe('file manager...');
});

function index(entries: [name: string, synopsis: string, ...long: string[]][], language = 'en') {
  const stanzas = entries.map(([name, synopsis, ...long]) =>
    [`Package: ${name}`, 'Description-md5: 1', `Description-${language}: ${synopsis}`]
      .concat(long.map((line) => ` ${line}`))
      .join('\n'),
  );
  return readDescriptions(stanzas.join('\n\n'), language);
}

const LONG = 'It does what it says in a way that needs some words to be explained';

test('pairs without content are left out and counted', () => {
  const descriptions = index([
    ['good', 'a tool', `${LONG}.`],
    ['empty', 'a tool'],
    ['moved', 'transitional dummy package', LONG],
    ['old', 'a tool', `${LONG}. It can safely be removed.`],
    ['short', 'a tool', 'It does it.'],
    ['same', 'the same tool', `${LONG}.`],
    ['broken', 'a \ufffd tool', LONG],
  ]);
  const { pairs, dropped } = summaryPairs(descriptions, new Map());
  expect(pairs.map(({ source, target }) => ({ source, target }))).toEqual([
    { source: `summarize: ${LONG}.`, target: 'a tool' },
  ]);
  expect(dropped).toEqual({ empty: 1, garbled: 1, boilerplate: 2, short: 1, duplicate: 1 });
});

test('translations are aligned where both sides have the same structure', () => {
  const english = index([
    ['a', 'a tool', 'It is good. It is fast.', '.', ' * one', ' * two'],
    ['b', 'b tool', 'It is good. It is small.', '.', 'More.'],
    ['c', 'c tool', 'Only English.'],
  ]);
  const german = index(
    [
      ['a', 'ein Werkzeug', 'Es ist gut. Es ist schnell.', '.', ' * eins', ' * zwei'],
      ['b', 'b-Werkzeug', 'Es ist gut und klein.'],
    ],
    'de',
  );
  const { pairs, dropped } = translationPairs(english, german, new Map());
  expect(pairs.map(({ source, target }) => [source.split(': ')[1], target])).toEqual([
    ['a tool', 'ein Werkzeug'],
    ['It is good.', 'Es ist gut.'],
    ['It is fast.', 'Es ist schnell.'],
    ['* one', '* eins'],
    ['* two', '* zwei'],
    ['b tool', 'b-Werkzeug'],
  ]);
  expect(dropped).toEqual({ untranslated: 1, unaligned: 2, identical: 0, duplicate: 0 });
});

describe('splits', () => {
  const options = { evaluationShare: 0.2, maxFamilySize: 2, maxEvaluationFamilySize: 1 };
  // Words that differ from package to package, so that only the keys below relate them.
  const words = (seed: number) =>
    Array.from({ length: 14 }, (_, i) =>
      ((seed * 7919 + i * 104_729) % 1_000_003)
        .toString(26)
        .replace(/\d/g, (d) => 'qrstuvwxyz'[+d] ?? ''),
    ).join(' ');
  const entries = Array.from({ length: 300 }, (_, i): [string, string, string] => [
    `p${String(i)}`,
    words(i + 1000),
    words(i),
  ]);
  // Package 3n+1 has the source package of 3n, and 3n+2 its synopsis up to the dash.
  const sources = readSourcePackages(
    entries
      .map(
        ([name], i) => `Package: ${name}${i % 3 === 1 ? `\nSource: p${String(i - 1)} (1.0)` : ''}`,
      )
      .join('\n\n'),
  );
  entries.forEach((entry, i) => {
    if (i % 3 === 2) entry[1] = `${entries[i - 2]?.[1] ?? ''} - documentation`;
  });
  const { pairs } = summaryPairs(index(entries), sources);
  const splits = splitByFamily(pairs, options);
  const familiesOf = (part: typeof pairs) =>
    new Set(part.map((pair) => Math.floor(Number(pair.package.slice(1)) / 3)));

  test('keep each family in one of them', () => {
    expect(splits.families).toBe(100);
    const parts = [splits.train, splits.validation, splits.test].map(familiesOf);
    expect(parts.reduce((sum, part) => sum + part.size, 0)).toBe(100);
    expect(new Set(parts.flatMap((part) => [...part])).size).toBe(100);
    for (const part of parts) expect(part.size).toBeGreaterThan(5);
  });

  test('take no more of a family than they should', () => {
    expect(splits.train).toHaveLength(2 * familiesOf(splits.train).size);
    expect(splits.thinned).toBe(familiesOf(splits.train).size);
    expect(splits.test).toHaveLength(familiesOf(splits.test).size);
  });

  test('are cut to the first pairs of each family, in the same order', () => {
    const { train } = splitByFamily(pairs, { ...options, maxFamilySize: 3 });
    const familyOf = (pair: (typeof pairs)[number]) => [...familiesOf([pair])].join();
    const firsts = train.filter(
      (pair, i) => train.findIndex((other) => familyOf(other) === familyOf(pair)) === i,
    );
    expect(firsts.length).toBeLessThan(train.length);
    expect(firstOfFamilies(train, 1)).toEqual(firsts);
    expect(firstOfFamilies(train, 3)).toEqual(train);
  });

  test('do not depend on the order of the index', () => {
    const again = splitByFamily(
      summaryPairs(index([...entries].reverse()), sources).pairs,
      options,
    );
    expect(again).toEqual(splits);
  });

  test('drop evaluation pairs whose text is mostly in training text', () => {
    const copied = splits.test[0]?.source.replace('summarize: ', '') ?? '';
    const own = 'entirely different words stand here at the start of it all';
    const copy: [string, string, string, string, string] = ['copier', 'copying', own, '.', copied];
    const { pairs: more } = summaryPairs(index([...entries, copy]), sources);
    const result = splitByFamily(more, options);
    expect(result.train.some((pair) => pair.package === 'copier')).toBe(true);
    expect(result.overlapping).toBe(1);
    expect(result.test).toHaveLength(splits.test.length - 1);
  });
});
