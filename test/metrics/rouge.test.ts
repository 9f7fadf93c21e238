import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { porterStem } from '../../src/metrics/porter.ts';
import { type RougeScore, type RougeType, computeRouge } from '../../src/metrics/rouge.ts';

function rouge(
  type: RougeType,
  target: string,
  prediction: string,
  useStemmer = false,
): RougeScore {
  return computeRouge([prediction], [target], { types: [type], useStemmer }).mean[type];
}

function expectScore(
  actual: RougeScore,
  precision: number,
  recall: number,
  fmeasure: number,
): void {
  // Five digits, as the original states.
  expect(actual.precision).toBeCloseTo(precision, 5);
  expect(actual.recall).toBeCloseTo(recall, 5);
  expect(actual.fmeasure).toBeCloseTo(fmeasure, 5);
}

// Values and texts from rouge_score's own tests: google-research, rouge/rouge_scorer_test.py and
// rouge/testdata/pyrouge_files; the five-digit ones are runs of ROUGE-1.5.5.pl.
describe("rouge_score's own test values", () => {
  const target0 =
    "ZfbCUIUuePaiLVUlCaUXxkpu XPeWing tUHfPMuZ',-Xd Y BrUgVJing M-HV.-DgdDaY.rFDJCRing Ht-LM " +
    "EKBDXkME,yz'RBr q'wtion wIojNbN wL,b .a-'XdQggyFl jB-RPP'iyOIcUxer tKM L\n";
  const prediction0 =
    "rFDJCRtion Ht-LM EKtDXkME,yz'RBr q'wer wrojNbN wL,b .a-'XdQggyFl jB-RPP'iyOIcUxi\n";
  const target1 =
    'KsJdPByEtAor fE-Qg Dpdbring cw-WeFyu vC MoBL Xdn g wkvcEiGvKtion BDFhrpMtion psing sbKao Q m ' +
    "qiing LMmer HqqLFXe,XPY,J XsurkMer ,ed nB'wH'bWVHjWFEing tQ.saefZwJtKrTlixYpMMsJing " +
    "UCAPwNHeYVjDing c T BUySKtion gMPfJpwGw p'NvxAoping eu pBwMBKV'I DNxqelhu,PHPxDEq,mtion SN\n";
  const prediction1 =
    'n cw-WeFyu vC MoBL Xdn g wkvcEiGvKtion BDFhrpMer pstion sbKao Q m qier LMmed HqqLFXe,XPY,J ' +
    "XsurkMeo ,ed nB'wH'bWVHjWFEer tQ.saefZwJtKrTlixYpMMNJtion UCAPwNHeYVjD\n";

  test('short texts', () => {
    expectScore(rouge('rouge1', 'testing one two', 'testing'), 1, 1 / 3, 1 / 2);
    expectScore(rouge('rouge2', 'testing one two', 'testing one'), 1, 1 / 2, 2 / 3);
    expectScore(rouge('rougeL', 'testing one two', 'testing one'), 1, 2 / 3, 4 / 5);
    expectScore(rouge('rougeL', 'testing one two', 'testing two'), 1, 2 / 3, 4 / 5);
  });

  test.each(['rouge1', 'rouge2', 'rougeL', 'rougeLsum'] as const)('%s of an empty text', (type) => {
    expectScore(rouge(type, 'testing one two', ''), 0, 0, 0);
    expectScore(rouge(type, '', 'w1'), 0, 0, 0);
    expectScore(rouge(type, 'w1 w2 w3 w4 w5', '/'), 0, 0, 0);
  });

  type Triple = [precision: number, recall: number, fmeasure: number];
  test.each<[RougeType, boolean, Triple, Triple]>([
    ['rouge1', false, [0.6875, 0.40741, 0.51163], [0.65385, 0.40476, 0.5]],
    ['rouge1', true, [0.6875, 0.40741, 0.51163], [0.69231, 0.42857, 0.52941]],
    ['rouge2', false, [0.53333, 0.30769, 0.39024], [0.48, 0.29268, 0.36364]],
    ['rouge2', true, [0.53333, 0.30769, 0.39024], [0.48, 0.29268, 0.36364]],
    ['rougeL', false, [0.6875, 0.40741, 0.51163], [0.65385, 0.40476, 0.5]],
  ])('%s, stemming %p, as ROUGE 1.5.5', (type, useStemmer, first, second) => {
    expectScore(rouge(type, target0, prediction0, useStemmer), ...first);
    expectScore(rouge(type, target1, prediction1, useStemmer), ...second);
  });

  test('rougeLsum with stemming, as ROUGE 1.5.5', () => {
    const target =
      `${target0}${target1}` +
      "NhETebUbBk'er WOvoHMTjSRizKgH'vHiing Xu,hWxfs VkNE QhgKiLHE -HidivzoM.dO anhtion " +
      'jbLQiSGDTCsuhREebUaKM dv J dVN tmbOT\n' +
      "vMR HDm,xOAetion D,tion HJtodT.mHl UIv-p VjWH'BdyWjnfGU-OjT aEMdFICyLWfQMtion wEMfdOKing " +
      "AwkeKbO 'DxqNOHBH qKtVvm OYJl mM\n";
    const prediction =
      `${prediction0}${prediction1}` +
      'xfs VkJE QhgKiLHE -HidivzoM.dO anhing jbLQiSGDTCsuhREebUaKM dv J\n' +
      "VjWH'BdyWjnfGU-OjTNaEMdFICyLWfQMing wEMfdOKijg AwkeKbO 'DxqNO\n";
    expectScore(rouge('rougeLsum', target, prediction, true), 0.66667, 0.36538, 0.47205);
  });

  test('rougeLsum takes the union over sentences', () => {
    const score = rouge('rougeLsum', 'w1 w2 w3 w4 w5', 'w1 w2 w6 w7 w8\nw1 w3 w8 w9 w5');
    expectScore(score, 0.4, 0.8, 8 / 15);
  });
});

interface RougeCase {
  hypothesis: string;
  references: string[];
  useStemmer: boolean;
  expected: Record<RougeType, [precision: number, recall: number, fmeasure: number]>;
}

function readCases<T>(name: string): T[] {
  const file = new URL(`../fixtures/metrics/${name}`, import.meta.url);
  return (JSON.parse(readFileSync(file, 'utf8')) as { cases: T[] }).cases;
}

describe('cases computed with rouge_score (fixtures/metrics/generate.py)', () => {
  const cases = readCases<RougeCase>('rouge.json');

  test.each(cases.map((value, index) => [index, value] as const))('case %i', (_, value) => {
    const types = Object.keys(value.expected) as RougeType[];
    const { examples } = computeRouge([value.hypothesis], [value.references], {
      types,
      useStemmer: value.useStemmer,
    });
    const actual = types.map((type) => [type, Object.values(examples[0]?.[type] ?? {})]);
    // Ratios of integers and one product: equal to the last bit.
    expect(Object.fromEntries(actual)).toEqual(value.expected);
  });
});

describe('Porter stemmer with the extensions of NLTK', () => {
  test('words computed with NLTK 3.8 (fixtures/metrics/generate.py)', () => {
    const cases = readCases<[word: string, stem: string]>('porter.json');
    expect(cases.length).toBeGreaterThan(500);
    expect(cases.map(([word]) => [word, porterStem(word)])).toEqual(cases);
  });

  // Examples of the paper (Program 14(3), 1980) that NLTK keeps, and those it changes.
  test.each([
    ['caresses', 'caress'],
    ['ponies', 'poni'],
    ['ties', 'tie'],
    ['agreed', 'agre'],
    ['hopping', 'hop'],
    ['filing', 'file'],
    ['vietnamization', 'vietnam'],
    ['electriciti', 'electr'],
    ['controll', 'control'],
    ['flies', 'fli'],
    ['dies', 'die'],
    ['enjoy', 'enjoy'],
    ['sky', 'sky'],
    ['news', 'news'],
    ['as', 'as'],
  ])('%s becomes %s', (word, stem) => {
    expect(porterStem(word)).toBe(stem);
  });

  test('a word of any length is handled', () => {
    expect(porterStem(`${'y'.repeat(100_000)}ings`)).toHaveLength(100_000);
  });
});

describe('corpus', () => {
  test('the mean is the arithmetic mean of the examples', () => {
    const { mean, examples } = computeRouge(['a b', 'c'], ['a', 'd'], { types: ['rouge1'] });
    expect(examples.map((example) => example.rouge1.precision)).toEqual([0.5, 0]);
    expect(mean.rouge1).toEqual({ precision: 0.25, recall: 0.5, fmeasure: 1 / 3 });
  });

  test('several references: the best per type', () => {
    const { mean } = computeRouge(['a b c'], [['c b a', 'a b x x x']], {
      types: ['rouge1', 'rouge2'],
    });
    expect(mean.rouge1.fmeasure).toBe(1);
    expect(mean.rouge2.fmeasure).toBeCloseTo(1 / 3, 12);
  });

  test('all four types and stemming are the default', () => {
    const { mean } = computeRouge(['running its'], ['run it']);
    expect(Object.keys(mean)).toEqual(['rouge1', 'rouge2', 'rougeL', 'rougeLsum']);
    expect(mean.rougeL.fmeasure).toBe(0.5); // its is too short to stem
  });

  test.each(['rougen', 'rouge0', 'rouge10', 'rougel', ''])('type %p is refused', (type) => {
    expect(() => computeRouge(['a'], ['a'], { types: [type as never] })).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT', field: 'types[0]' }),
    );
  });

  test('no types are refused', () => {
    expect(() => computeRouge(['a'], ['a'], { types: [] })).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT', field: 'types' }),
    );
  });
});
