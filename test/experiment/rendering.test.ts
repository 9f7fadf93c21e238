import { describe, expect, test } from '@jest/globals';
import { paperScore } from '../../src/experiment/paper-results.ts';
import type {
  DatasetReport,
  ExperimentReport,
  VariantRow,
} from '../../src/experiment/report-types.ts';
import { renderExperimentHtml } from '../../src/experiment/rendering/html.ts';
import {
  formatExperimentMarkdown,
  formatExperimentTable,
} from '../../src/experiment/rendering/text.ts';

const SCORES = { loss: 4, rouge1: 20, rouge2: 6, rougeL: 18, rougeLsum: 18, bleu: 3, batchBleu: 2 };

function row(variant: string, change: Partial<VariantRow>): VariantRow {
  return {
    variant,
    description: `what ${variant} is`,
    heads: 8,
    kvHeads: 4,
    parameters: 7_000_000,
    trainedParameters: 7_000_000,
    mergeParameters: 0,
    kvBytesPerToken: { selfAttention: 4096, crossAttention: 4096 },
    seeds: [0, 1],
    perSeed: [SCORES, { ...SCORES, loss: 4.5 }],
    score: { mean: 18, low: 17, high: 19 },
    trainMilliseconds: 60_000,
    trainTokensPerSecond: 9000,
    generatedTokensPerSecond: 2500,
    curve: [
      { step: 0, mean: 5, lowest: 5, highest: 5 },
      { step: 50, mean: 4.5, lowest: 4.4, highest: 4.6 },
    ],
    ...change,
  };
}

function datasetOf(change: Partial<DatasetReport> = {}): DatasetReport {
  const learned = { mergeParameters: 64, score: { mean: 18.4, low: 17.4, high: 19.4 } };
  const compare = (variant: string, other: string, low: number, high: number) => ({
    variant,
    other,
    sameKvBytes: true,
    difference: { mean: (low + high) / 2, low, high },
    pValue: 0.0004,
    adjustedPValue: 0.012,
  });
  return {
    name: 'debian',
    description: 'packages',
    trainPairs: 6000,
    validationPairs: 256,
    testPairs: 500,
    metric: 'rougeL',
    rows: [
      row('MHA', { kvHeads: 8, kvBytesPerToken: { selfAttention: 8192, crossAttention: 8192 } }),
      row('GQA', {}),
      row('WGQA', {
        ...learned,
        curve: [
          { step: 0, mean: 5, lowest: 5, highest: 5 },
          { step: 50, mean: 4.4375, lowest: 4.4, highest: 4.5 },
        ],
      }),
      row('COLWGQA', { ...learned, seeds: [0], perSeed: [SCORES] }),
    ],
    comparisons: [
      { ...compare('MHA', 'GQA', 1, 2), sameKvBytes: false },
      compare('WGQA', 'GQA', 0.1, 0.7),
      compare('GQA', 'COLWGQA', -0.2, 0.5),
    ],
    weights: [],
    samples: [
      {
        source: '<script>alert(1)</script> | a',
        reference: '"r" & *s*',
        outputs: [{ variant: 'MHA', text: '</td><img src=x>' }],
      },
    ],
    ...change,
  };
}

function reportOf(...datasets: DatasetReport[]): ExperimentReport {
  return {
    title: 'A <title>',
    createdAt: '2026-01-31T14:05:00.000Z',
    version: '1.0.0',
    settings: 'sound',
    notes: ['a note'],
    base: { name: 'demo/model', architecture: '3+4 layers', parameters: 7_738_880 },
    training: '300 steps',
    decoding: 'greedy',
    seeds: [0, 1],
    datasets,
    missingRuns: 0,
  };
}

/** What all renderings must say. */
describe.each([
  ['HTML', renderExperimentHtml],
  ['Markdown', formatExperimentMarkdown],
  ['the table', formatExperimentTable],
])('%s', (_name, render) => {
  const textOf = (report: ExperimentReport) => render(report).replaceAll('\u00a0', ' ');

  test('answers with the interval', () => {
    const text = textOf(reportOf(datasetOf()));
    expect(text).toContain('clear of zero: WGQA over GQA.');
    expect(text).toMatch(
      /WGQA − GQA: rougeL \+0\.40 \(\+0\.10 to \+0\.70\), p 0\.012 after Holm, 2 seeds: better/,
    );
    // GQA was the better one of this pair by 0.15: the sign is that of the learned merge.
    expect(text).toMatch(
      /COLWGQA − GQA: rougeL −0\.15 \(−0\.50 to \+0\.20\), .*1 seed: not to be told apart/,
    );
  });

  test('says so when none is better', () => {
    const { comparisons } = datasetOf();
    const none = datasetOf({
      comparisons: comparisons.filter(({ variant }) => variant !== 'WGQA'),
    });
    const text = textOf(reportOf(none));
    expect(text).toContain('No learned merge beats mean pooling at equal K/V bytes');
    expect(text).not.toContain('over GQA.');
  });

  test('says first what is missing and which settings were used', () => {
    const text = textOf({ ...reportOf(datasetOf()), missingRuns: 3, settings: 'paper' });
    expect(text).toContain('3 planned runs are not finished.');
    expect(text).toContain('Settings: paper.');
  });

  test('has something to say about nothing', () => {
    const nothing = { rows: [], comparisons: [], samples: [], weights: [] };
    expect(textOf(reportOf(datasetOf(nothing)))).toContain('No learned merge');
  });
});

test('tables: the gap to the mean, and the paper’s figures beside ours', () => {
  const rows = datasetOf().rows.map((r) => (r.variant === 'MHA' ? { ...r, paperScore: 42 } : r));
  const markdown = formatExperimentMarkdown(
    reportOf(datasetOf({ rows, paperColumn: 'cnn-dailymail' })),
  );
  expect(markdown).toMatch(/\| 50 +\| +−0\.0625 \|/);
  expect(markdown).toMatch(/\| MHA +\|.*\| +42\.0 \|/);
  expect(markdown).toMatch(/\| MHA +\|.*\| +4\.2500 \|/);
  // Pairs at equal K/V bytes come first.
  expect(markdown.search(/\| WGQA +\| +GQA +\|/)).toBeLessThan(
    markdown.search(/\| MHA +\| +GQA +\|/),
  );
  expect(markdown).toMatch(/\| WGQA +\| +GQA +\|/);
});

test('HTML loads nothing, escapes everything and draws finite figures', () => {
  const html = renderExperimentHtml(reportOf(datasetOf(), datasetOf({ name: 'second' })));
  expect(html).not.toMatch(/<script|<img|https?:|src=(?!x)|NaN|Infinity|undefined/);
  expect(html).toContain('&lt;script&gt;alert(1)&lt;/script&gt;');
  expect(html).toContain('<title>A &lt;title&gt;</title>');
  const ids = [...html.matchAll(/\bid="([^"]+)"/g)].map(([, id]) => id);
  expect(new Set(ids).size).toBe(ids.length);
  expect(html.match(/<svg class="chart|<svg /g)?.length).toBeGreaterThan(4);
});

test('the paper’s table', () => {
  expect(paperScore('wmt14', 'COLWMQA')).toBe(25.1);
  expect(paperScore('t5-small-cnn-dailymail', 'MHA')).toBe(41.1);
  expect(paperScore('t5-small-cnn-dailymail', 'MQA')).toBeUndefined();
  expect(paperScore('wmt14', 'toString')).toBeUndefined();
});
