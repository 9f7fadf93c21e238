import { describe, expect, test } from '@jest/globals';
import { paperScore, paperSource } from '../../src/experiment/paper-results.ts';
import type { DatasetReport, ExperimentReport } from '../../src/experiment/report-types.ts';
import { renderExperimentHtml } from '../../src/experiment/rendering/html.ts';
import {
  formatExperimentMarkdown,
  formatExperimentTable,
} from '../../src/experiment/rendering/text.ts';
import {
  curveOf,
  datasetOf,
  movementsOf,
  reportOf,
  withComparisons,
  withRows,
} from './report-fixtures.ts';

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
    expect(text).toContain('Not to be told apart from the mean: COLWGQA (−0.15 on GQA).');
  });

  test('says so when none is better', () => {
    const none = withComparisons((all) => all.filter(({ variant }) => variant !== 'WGQA'));
    const text = textOf(reportOf(none));
    expect(text).toContain('No variant beats mean pooling at as many K/V bytes');
    expect(text).not.toContain('over GQA.');
  });

  test('says first what is missing and which settings were used', () => {
    const text = textOf({ ...reportOf(datasetOf()), missingRuns: 3, settings: 'paper' });
    expect(text).toContain('3 planned runs are not finished.');
    expect(text).toContain('Settings: paper.');
  });

  test('has something to say about nothing', () => {
    const nothing = { rows: [], samples: [], weights: [] };
    const empty = { ...withComparisons(() => []), ...nothing };
    expect(textOf(reportOf(empty))).toContain('No variant and its mean-pooled');
  });

  test('answers by log-likelihood too, in ten-thousandths of a nat', () => {
    const text = textOf(reportOf(datasetOf()));
    expect(text).toContain(
      'Worse than it, with the interval clear of zero: WGQA (−0.0184 on GQA).',
    );
    expect(text.indexOf('−0.0184')).toBeGreaterThan(text.indexOf('WGQA − GQA: rougeL'));
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
  // The planned ones are given as variant − mean, whichever is ahead.
  expect(markdown).toMatch(
    /\| COLWGQA +\| +GQA +\| −0\.15 \(−0\.50 to \+0\.20\) \|.*\| +1 seed \|/,
  );
});

describe('the answer', () => {
  const answerOf = (dataset: DatasetReport) =>
    /## Answer\n([\s\S]*?)\n## /.exec(formatExperimentMarkdown(reportOf(dataset)))?.[1] ?? '';

  test('says which advantages stand after the correction', () => {
    const stands = 'With p below 0.05 after Holm for these 2 comparisons: ';
    expect(answerOf(datasetOf())).toContain(`${stands}WGQA over GQA.`);
    // The correction for all pairs is another: it does not decide.
    const answer = answerOf(
      withComparisons((all) => all.map((c) => ({ ...c, plannedPValue: 0.05 }))),
    );
    expect(answer).toContain(`clear of zero: WGQA over GQA. ${stands}none`);
  });

  test('names what stands only where it is not all', () => {
    const difference = { mean: 0.3, low: 0.1, high: 0.5 };
    const both = withComparisons((all) =>
      all.map((c) =>
        c.other === 'COLWGQA' ? { ...c, variant: 'COLWGQA', other: 'GQA', difference } : c,
      ),
    );
    const list = 'clear of zero: WGQA over GQA, COLWGQA over GQA. ';
    expect(answerOf(both)).toContain(`${list}With p below 0.05 after Holm for these 2`);
    expect(answerOf(both)).toContain('comparisons: all of them.');
  });

  test('an interval that touches zero is not clear of it, one below zero is worse', () => {
    const differences = new Map([
      ['WGQA', { mean: 0.3, low: 0, high: 0.6 }],
      ['GQA', { mean: 0.3, low: 0.1, high: 0.5 }],
    ]);
    const answer = answerOf(
      withComparisons((all) =>
        all.map((c) => ({ ...c, difference: differences.get(c.variant) ?? c.difference })),
      ),
    );
    expect(answer).toContain('No variant beats mean pooling');
    expect(answer).toContain('Not to be told apart from the mean: WGQA (+0.30 on GQA).');
    expect(answer).toContain('Worse than it, with the interval clear of zero: COLWGQA (−0.30 on');
  });

  test('is about variants that have a baseline', () => {
    const lone = datasetOf({ rows: datasetOf().rows.filter(({ variant }) => variant !== 'GQA') });
    expect(renderExperimentHtml(reportOf(lone))).not.toContain('Gap to the mean');
    const { baseline: _, ...without } = datasetOf().rows.at(-1)!;
    const answer = answerOf(datasetOf({ rows: [...datasetOf().rows.slice(0, -1), without] }));
    expect(answer).not.toContain('COLWGQA');
    expect(answer).toContain('WGQA − GQA');
  });

  test('counts the seeds that both have', () => {
    expect(answerOf(withRows({ WGQA: { seeds: [1, 2, 3] } }))).toMatch(/WGQA − GQA: .*1 seed:/);
    expect(answerOf(withRows({ WGQA: { seeds: [7] } }))).toContain('no seed in common');
  });

  test('comes first, for each data set, after what is missing', () => {
    const report = { ...reportOf(datasetOf(), datasetOf({ name: 'second' })), missingRuns: 1 };
    const inOrder = (text: string, parts: readonly string[]) => {
      const places = parts.map((part) => text.indexOf(part));
      expect(places).not.toContain(-1);
      expect(places).toEqual(places.toSorted((a, b) => a - b));
    };
    inOrder(renderExperimentHtml(report), [
      '1 planned run is not finished.',
      'Seeds: 0, 1.',
      '>Answer</h2>',
      '<strong>debian, rougeL</strong>: With no more',
      '<strong>second, rougeL</strong>: With no more',
      '<h2 id="data-0">debian</h2>',
      '<h2 id="data-1">second</h2>',
    ]);
    inOrder(formatExperimentMarkdown(report), [
      '1 planned run is not finished.',
      '## Answer',
      '**debian, rougeL**: With no more',
      '**second, rougeL**: With no more',
      '## debian',
      '## second',
    ]);
  });
});

test('comparisons at equal K/V bytes are in sight, the others behind a line', () => {
  const html = renderExperimentHtml(reportOf(datasetOf()));
  const [, equal = '', across = ''] =
    /Comparisons at equal K\/V bytes([\s\S]*?)<details>([\s\S]*?)<\/details>/.exec(html) ?? [];
  const namesIn = (text: string) =>
    [...text.matchAll(/<th scope="row">(.*?)<\/th><td class="right">(.*?)<\/td>/g)].map(
      ([, variant, other]) => `${variant ?? ''} ${other ?? ''}`,
    );
  expect(namesIn(equal)).toEqual(['WGQA GQA', 'GQA COLWGQA']);
  expect(namesIn(across)).toEqual(['MHA GQA']);
  expect(equal).toContain('better, with the interval clear of zero');
  expect(equal).toContain('&lt; 0.001');
});

describe('curves', () => {
  const [pooled, learned, random] = [
    [5, 4.5, 4.25],
    [5, 4.375, 4.3125],
    [9, 7, 6],
  ] as const;
  const dataset = withRows({
    GQA: { curve: curveOf(pooled) },
    WGQA: { curve: curveOf(learned, 0.125) },
    COLWGQA: { curve: curveOf(random) },
  });

  test('the gap at early steps and at the end, of either sign', () => {
    const markdown = formatExperimentMarkdown(reportOf(dataset));
    const gap = /### Gap[\s\S]*?(?=\n###)/.exec(markdown)?.[0] ?? '';
    const rows = gap.split('\n').filter((line) => /^\| \d/.test(line));
    expect(rows.map((line) => line.split('|').map((cell) => cell.trim()))).toEqual([
      ['', '0', '0.0000', '+4.0000', ''],
      ['', '50', '−0.1250', '+2.5000', ''],
      ['', '100', '+0.0625', '+1.7500', ''],
    ]);
    // COLWGQA has one of GQA's two seeds.
    expect(gap).toMatch(/Not of the same seeds as the mean, .* in it: COLWGQA\./);
  });

  test('the spread over seeds, in the table and as a bar in the chart', () => {
    const html = renderExperimentHtml(reportOf(dataset));
    expect(html).toContain('4.3125 (4.2500 to 4.3750)');
    const [chart = ''] = /aria-labelledby="data-0-curves-title[\s\S]*?<\/svg>/.exec(html) ?? [];
    const bars = [
      ...chart.matchAll(/class="whisker" x1="(\S+)" x2="(\S+)" y1="(\S+)" y2="(\S+)"/g),
    ];
    // MHA's at step 50, WGQA's at step 100; COLWGQA's line is the only other one, without a spread.
    expect(bars).toHaveLength(2);
    for (const [, x1, x2, low, high] of bars) {
      expect(x1).toBe(x2);
      expect(Number(low)).toBeGreaterThan(Number(high));
    }
    const [mha, wgqa] = bars.map(([, , , low, high]) => Number(low) - Number(high));
    // 0.2 nats against 0.125, in tenths of a unit.
    expect(mha! / wgqa!).toBeCloseTo(0.2 / 0.125, 1);
  });

  test('small gaps are drawn again without the wide ones', () => {
    const html = renderExperimentHtml(reportOf(dataset));
    const [close = ''] = /aria-labelledby="data-0-gap-close[\s\S]*?<\/svg>/.exec(html) ?? [];
    expect(close).toContain('<title>WGQA</title>');
    expect(close).not.toContain('<title>COLWGQA</title>');
    const alike = withRows({ WGQA: { curve: curveOf(pooled) }, GQA: { curve: curveOf(pooled) } });
    expect(renderExperimentHtml(reportOf(alike))).not.toContain('gap-close');
  });
});

describe('merge weights', () => {
  const report = reportOf(datasetOf({ weights: movementsOf('WGQA') }));

  test('both tests, and one without bound', () => {
    const markdown = formatExperimentMarkdown(report);
    expect(markdown).toMatch(
      /\| WGQA +\| +40 \| 0\.2500 \| 0\.2375 \| +0\.0625 \| −4\.50 \| < 0\.001 \| +0\.2400 \| +−0\.50 \| +0\.620 \|/,
    );
    expect(markdown).toMatch(/\| WGQA +\| decoderSelf 1 V \| +10 \|.* 0\.0625 \| +∞ \|/);
  });

  test('a chart for each module and projection, by layer', () => {
    const html = renderExperimentHtml(report);
    const charts = [
      ...html.matchAll(/from the start, (decoderSelf [KV])<\/title>[\s\S]*?<\/svg>/g),
    ];
    expect(charts.map(([, place]) => place)).toEqual(['decoderSelf K', 'decoderSelf V']);
    for (const [chart] of charts) expect(chart.match(/class="dot"/g)).toHaveLength(2);
  });

  test('where the weights of each layer lie, with bars over the middle half', () => {
    const markdown = formatExperimentMarkdown(report);
    expect(markdown).toMatch(
      /\| WGQA +\| decoderSelf 1 V \|.* 0\.1000 \| 0\.2000 \| 0\.2400 \| 0\.2600 \| +0\.3000 \|/,
    );
    const html = renderExperimentHtml(report);
    const [chart = ''] = /aria-labelledby="data-0-spread-0-title[\s\S]*?<\/svg>/.exec(html) ?? [];
    expect(chart).toContain('Weights of WGQA by layer');
    const bars = [...chart.matchAll(/class="whisker"[^>]* y1="(\S+)" y2="(\S+)"/g)];
    // K and V in two layers each.
    expect(bars).toHaveLength(4);
    for (const [, low, high] of bars) expect(Number(low)).toBeGreaterThan(Number(high));
  });

  test('a histogram in proportion to its counts', () => {
    const html = renderExperimentHtml(report);
    const [chart = ''] = /aria-labelledby="data-0-histogram-0[\s\S]*?<\/svg>/.exec(html) ?? [];
    const heights = [...chart.matchAll(/<rect [^>]*height="(\S+?)"/g)].map(([, h]) => Number(h));
    expect(heights).toHaveLength(20);
    expect(heights[0]! / heights[1]!).toBeCloseTo(3, 1);
    expect(heights.slice(2)).toEqual(new Array(18).fill(0));
    // 0.25 is where the sixteenth of twenty bins over 0.1 to 0.3 begins, half a unit before its bar.
    const lefts = [...chart.matchAll(/<rect x="(\S+?)"/g)].map(([, x]) => Number(x));
    const [, start] = /class="initial" x1="(\S+?)"/.exec(chart) ?? [];
    expect(lefts[15]! - Number(start)).toBeCloseTo(0.5, 0);
    expect(chart).toContain('start 0.25');
  });
});

test('error bars are the interval of the score', () => {
  const html = renderExperimentHtml(
    reportOf(withRows({ GQA: { score: { mean: 18, low: 16, high: 19 } } })),
  );
  const [, bar] =
    /<title>GQA<\/title><line class="line"([^>]*)>\s*(?:<line class="leader"[^>]*>\s*)?<circle class="dot"/.exec(
      html,
    ) ?? [];
  const [, low, high] = /y1="(\S+)" y2="(\S+)"/.exec(bar ?? '') ?? [];
  const [, middle] =
    /<title>GQA<\/title>[\s\S]*?<circle class="dot" cx="\S+" cy="(\S+)" r="5"/.exec(html) ?? [];
  // Two points below, one above; lower scores are further down.
  expect((Number(low) - Number(middle)) / (Number(middle) - Number(high))).toBeCloseTo(2, 1);
});

test('Markdown shows hostile text as it is', () => {
  const report = reportOf(withRows({ GQA: { description: 'a <b> | `c` *d* [e](f) \\ g_h _i_' } }));
  const markdown = formatExperimentMarkdown(report);
  expect(markdown).not.toMatch(/<script|<img|<title|<b>|\*d\*|\]\(f\)/);
  expect(markdown).toContain('# A &#60;title>');
  expect(markdown).toContain('g_h &#95;i&#95;');
  const table = markdown
    .split('\n')
    .filter((line) => line.startsWith('| ') && line.includes('what'));
  // A bar in a cell would be one more column.
  expect(new Set(table.map((line) => line.split('|').length)).size).toBe(1);
});

test('what is not finite is left out of charts', () => {
  const broken = withRows({
    GQA: { score: { mean: NaN, low: NaN, high: NaN }, curve: curveOf([5, NaN, 4]) },
    WGQA: { curve: curveOf([5, Infinity, 4]) },
  });
  const html = renderExperimentHtml(reportOf(broken));
  expect(html).not.toMatch(/NaN|Infinity|undefined/);
  const numbers = [...html.matchAll(/ (?:x|y|cx|cy|x1|x2|y1|y2|width|height|r)="([^"]*)"/g)];
  expect(numbers.length).toBeGreaterThan(100);
  for (const [, value] of numbers) expect(Number.isFinite(Number(value))).toBe(true);
});

test('the paper’s column is named with its footnote, beside our metric', () => {
  const dataset = datasetOf({ paperColumn: 'multi-news', metric: 'rouge1' });
  for (const render of [renderExperimentHtml, formatExperimentMarkdown]) {
    const text = render(reportOf(dataset));
    expect(text).toContain('MHA was not trained on Multi-News. Ours: rouge1.');
    expect(render(reportOf(datasetOf()))).not.toContain('Paper:');
  }
  expect(paperSource('t5-small-cnn-dailymail')).toContain('Table 2');
});

test('HTML loads nothing, escapes everything and draws finite figures', () => {
  const html = renderExperimentHtml(
    reportOf(
      datasetOf({ weights: movementsOf('WGQA') }),
      datasetOf({ name: 'second', weights: movementsOf('COLWGQA') }),
    ),
  );
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
