import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { WgqaError } from '../../src/errors.ts';
import {
  type BleuOptions,
  type BleuResult,
  type BleuSmoothing,
  type BleuTokenizer,
  computeBleu,
  computeSentenceBleu,
  scoreBleuStatistics,
} from '../../src/metrics/bleu.ts';
import { splitWhitespace, tokenize13a } from '../../src/metrics/tokenizer13a.ts';

// Agreement with the Python original is to the last bits: only log and exp may round differently.
const RELATIVE = 1e-12;

function expectClose(actual: number, expected: number): void {
  expect(Math.abs(actual - expected)).toBeLessThanOrEqual(RELATIVE * Math.abs(expected));
}

// Values from sacreBLEU 2.6.0's own tests: test/test_bleu.py and test/test_sentence_bleu.py.
describe("sacreBLEU's own test values", () => {
  const hypotheses = [
    'The dog bit the man.',
    "It wasn't surprising.",
    'The man had just bitten him.',
  ];
  const references = [
    ['The dog bit the man.', 'The dog had bit the man.'],
    ['It was not unexpected.', 'No one was surprised.'],
    ['The man bit him first.', 'The man had bitten the dog.'],
  ];

  test('corpus of the README', () => {
    const result = computeBleu(hypotheses, references);
    expect(result.score).toBeCloseTo(48.530827, 6);
    expect(result.signature).toBe('nrefs:2|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0');
    expect(computeBleu(hypotheses, references, { tokenizer: 'none' }).score).toBeCloseTo(
      49.1919566,
      6,
    );
    expect(computeBleu(hypotheses, references, { smoothing: 'none' }).score).toBeCloseTo(
      48.530827,
      6,
    );
  });

  test.each([
    [1, '77.65'],
    [2, '60.50'],
    [3, '53.93'],
    [4, '48.53'],
    [5, '46.14'],
    [6, '43.28'],
  ])('maximum order %i gives %s', (maxOrder, expected) => {
    expect(computeBleu(hypotheses, references, { maxOrder }).score.toFixed(2)).toBe(expected);
  });

  test('empty hypotheses stay in the corpus', () => {
    const result = computeBleu(['', '', ''], references);
    expect(result).toMatchObject({ score: 0, brevityPenalty: 0, hypothesisLength: 0 });
  });

  const raw = {
    tokenizer: 'none',
    smoothing: 'floor',
    smoothingValue: 0.01,
    effectiveOrder: true,
  } as const satisfies BleuOptions;

  test.each([
    ['this is a fest', 'this is a test', 22.3606797749979],
    ['this is a test', 'this is a test', 100],
    ['test', 'a test', 36.78794411714425],
    ['a test', 'a test', 100],
    ['a little test', 'a test', 3.218297948685433],
  ])('raw corpus %p against %p', (hypothesis, reference, expected) => {
    expect(computeBleu([hypothesis], [reference], raw).score).toBeCloseTo(expected, 6);
  });

  test('floor of zero and of the default 0.1', () => {
    const pair = [['am I am a character sequence'], ['I am a symbol string sequence a a']] as const;
    expect(computeBleu(...pair, { ...raw, smoothingValue: 0 }).score).toBe(0);
    const result = computeBleu(...pair, { ...raw, smoothingValue: 0.1 });
    expect(result.score).toBeCloseTo(15.55722182, 6);
    expect(result).toMatchObject({ counts: [4, 2, 1, 0], totals: [6, 5, 4, 3] });
  });

  test.each<[BleuSmoothing, number | undefined, number]>([
    ['exp', undefined, 8.493],
    ['none', undefined, 0],
    ['floor', undefined, 4.51688],
    ['floor', 0.1, 4.51688],
    ['floor', 0.5, 10.1],
    ['add-k', undefined, 14.882],
    ['add-k', 1, 14.882],
    ['add-k', 2, 21.389],
  ])('sentence with smoothing %s %p', (smoothing, smoothingValue, expected) => {
    const { score } = computeSentenceBleu(
      'Producția de zahăr primă va fi exprimată în ceea ce privește zahărul alb;',
      'producţia de zahăr brut se exprimă în zahăr alb;',
      { smoothing, ...(smoothingValue === undefined ? {} : { smoothingValue }) },
    );
    expect(Math.abs(score - expected)).toBeLessThan(1e-3); // as many digits as the original states
  });

  test.each(['exp', 'none', 'floor', 'add-k'] as const)(
    'no match at all, smoothing %s',
    (smoothing) => {
      expect(computeSentenceBleu('this is a cat', 'okay thanks', { smoothing }).score).toBe(0);
    },
  );

  test('score from sums', () => {
    const sums = { hypothesisLength: 11, referenceLength: 11 };
    const result = scoreBleuStatistics(
      { ...sums, counts: [9, 7, 5, 3], totals: [10, 8, 6, 4] },
      { smoothing: 'none' },
    );
    expect(result.score).toBeCloseTo(83.75922397, 6);
    expect(scoreBleuStatistics({ ...sums, counts: [0, 0, 0, 0], totals: [4, 4, 2, 1] }).score).toBe(
      0,
    );
  });
});

interface BleuCase {
  hypotheses: string[];
  references: string[][];
  options: {
    tokenize: BleuTokenizer;
    lowercase: boolean;
    smooth_method: BleuSmoothing;
    smooth_value: number | null;
    effective_order: boolean;
    max_ngram_order: number;
  };
  expected: BleuResult;
}

describe('cases computed with sacreBLEU 2.6.0 (fixtures/metrics/generate.py)', () => {
  const file = new URL('../fixtures/metrics/bleu.json', import.meta.url);
  const { cases } = JSON.parse(readFileSync(file, 'utf8')) as { cases: BleuCase[] };

  test.each(cases.map((value, index) => [index, value] as const))('case %i', (_, value) => {
    const { options, expected } = value;
    const actual = computeBleu(value.hypotheses, value.references, {
      tokenizer: options.tokenize,
      lowercase: options.lowercase,
      smoothing: options.smooth_method,
      ...(options.smooth_value === null ? {} : { smoothingValue: options.smooth_value }),
      effectiveOrder: options.effective_order,
      maxOrder: options.max_ngram_order,
    });
    const { counts, totals, hypothesisLength, referenceLength, ratio, signature } = expected;
    expect(actual).toMatchObject({
      counts,
      totals,
      hypothesisLength,
      referenceLength,
      ratio,
      signature,
    });
    expectClose(actual.score, expected.score);
    expectClose(actual.brevityPenalty, expected.brevityPenalty);
    expect(actual.precisions).toHaveLength(expected.precisions.length);
    actual.precisions.forEach((precision, order) => {
      expectClose(precision, expected.precisions[order] ?? NaN);
    });
  });
});

describe('13a tokenisation', () => {
  test.each([
    ['Hello, world!', ['Hello', ',', 'world', '!']],
    ['It costs $1,000.50 (approx.).', 'It costs $ 1,000.50 ( approx . ) .'.split(' ')],
    ["don't re-use 2010-2011", ["don't", 're-use', '2010', '-', '2011']],
    ['a &quot;b&quot; &amp;lt; c', ['a', '"', 'b', '"', '<', 'c']],
    ['end<skipped> hyphen-\nated line\nbreak  \n', ['end', 'hyphenated', 'line', 'break']],
    ['🙂. “x”', ['🙂', '.', '“x”']],
    ['   ', []],
  ])('%p', (segment, tokens) => {
    expect(tokenize13a(segment)).toEqual(tokens);
  });

  test('whitespace is exactly what Python calls so', () => {
    // str.isspace() over all code points, Python 3.11.
    const expected = [
      0x9, 0xa, 0xb, 0xc, 0xd, 0x1c, 0x1d, 0x1e, 0x1f, 0x20, 0x85, 0xa0, 0x1680, 0x2000, 0x2001,
      0x2002, 0x2003, 0x2004, 0x2005, 0x2006, 0x2007, 0x2008, 0x2009, 0x200a, 0x2028, 0x2029,
      0x202f, 0x205f, 0x3000,
    ];
    const actual = Array.from({ length: 0x110000 }, (_, code) => code).filter(
      (code) => splitWhitespace(String.fromCodePoint(code)).length === 0,
    );
    expect(actual).toEqual(expected);
  });
});

describe('several references', () => {
  test('of two equally close lengths the shorter counts', () => {
    const { referenceLength } = computeBleu(['a b c'], [['a b c d', 'a b']]);
    expect(referenceLength).toBe(2);
  });

  test('a varying number shows in the signature', () => {
    const { signature } = computeBleu(['a', 'b'], [['a'], ['b', 'c']]);
    expect(signature).toMatch(/^nrefs:var\|/);
  });
});

describe('bad input', () => {
  function failure(run: () => unknown): WgqaError {
    try {
      run();
    } catch (error) {
      if (error instanceof WgqaError) return error;
      throw error;
    }
    throw new Error('nothing was thrown');
  }

  test.each<[string, () => unknown, string]>([
    ['an empty corpus', () => computeBleu([], []), 'hypotheses'],
    ['fewer references', () => computeBleu(['a', 'b'], ['a']), 'references'],
    ['no reference', () => computeBleu(['a'], [[]]), 'references[0]'],
    ['a hypothesis that is no string', () => computeBleu([1 as never], ['a']), 'hypotheses[0]'],
    [
      'a reference that is no string',
      () => computeBleu(['a'], [['b', null as never]]),
      'references[0][1]',
    ],
    [
      'an unknown smoothing',
      () => computeBleu(['a'], ['a'], { smoothing: 'x' as never }),
      'smoothing',
    ],
    [
      'an unknown tokenizer',
      () => computeBleu(['a'], ['a'], { tokenizer: 'x' as never }),
      'tokenizer',
    ],
    [
      'a value for a method without one',
      () => computeBleu(['a'], ['a'], { smoothingValue: 1 }),
      'smoothingValue',
    ],
    [
      'a negative value',
      () => computeBleu(['a'], ['a'], { smoothing: 'floor', smoothingValue: -1 }),
      'smoothingValue',
    ],
    ['order zero', () => computeBleu(['a'], ['a'], { maxOrder: 0 }), 'maxOrder'],
  ])('%s', (_, run, field) => {
    expect(failure(run)).toMatchObject({ code: 'INVALID_ARGUMENT', field });
  });

  test("sacreBLEU's reference streams are recognised", () => {
    const error = failure(() =>
      computeBleu(
        ['a', 'b', 'c'],
        [
          ['a', 'b', 'c'],
          ['x', 'y', 'z'],
        ],
      ),
    );
    expect(error.message).toContain('transposing');
  });
});
