import { describe, expect, test } from '@jest/globals';
import { findingsOf } from '../../src/report/findings.ts';
import { renderHtmlReport } from '../../src/report/page.ts';
import type { DemoReport, VariantResult } from '../../src/report/types.ts';
import { exampleReport } from './example.ts';

const VOID = new Set(['meta', 'input', 'br']);

/** Throws unless every element is closed where it must be; returns the names of all elements. */
function elementsOf(html: string): string[] {
  const open: string[] = [];
  const names: string[] = [];
  for (const [, closing, name = '', rest = ''] of html.matchAll(
    /<(\/?)([a-z][a-z0-9]*)((?:[^<>"]|"[^"<]*")*)>/g,
  )) {
    if (closing === '/') {
      const expected = open.pop();
      if (expected !== name) throw new Error(`</${name}> where </${String(expected)}> was due`);
      continue;
    }
    names.push(name);
    if (!VOID.has(name) && !rest.endsWith('/')) open.push(name);
  }
  if (open.length > 0) throw new Error(`never closed: ${open.join(', ')}`);
  return names;
}

function withVariants(change: (variant: VariantResult) => VariantResult): DemoReport {
  const report = exampleReport();
  return { ...report, variants: report.variants.map(change) };
}

describe('the page', () => {
  const html = renderHtmlReport(exampleReport());

  test('is well formed and has every section', () => {
    const names = elementsOf(html);
    expect(names.filter((name) => name === 'section')).toHaveLength(5);
    for (const id of ['comparison', 'curves', 'weights', 'samples', 'method']) {
      expect(html).toContain(`<h2 id="${id}">`);
    }
  });

  test('loads nothing: no script, no link, no address in an attribute or style', () => {
    const names = new Set(elementsOf(html));
    for (const name of ['script', 'link', 'img', 'iframe', 'object', 'a', 'base', 'use', 'image']) {
      expect(names).not.toContain(name);
    }
    expect(html).not.toMatch(/(?:src|href|action|srcset)=|url\(|@import|https?:\/\//i);
    expect(html).toContain(
      `content="default-src &#39;none&#39;; style-src &#39;unsafe-inline&#39;"`,
    );
  });

  test('escapes what comes from the data', () => {
    expect(html).not.toContain('<script>');
    expect(html).toContain('&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;');
    expect(html).toContain('it&#39;s &lt;b&gt;bold&lt;/b&gt;');
    expect(html).toContain('&lt;parted&gt;');
    expect(html).not.toContain('\u0007');
  });

  test('no figure is missing: every number in the drawings is finite', () => {
    expect(html).not.toMatch(/NaN|Infinity|undefined|null|\[object/);
  });

  test('each drawing names and describes itself, with ids used once', () => {
    const charts = html.match(/<svg class="chart"[\s\S]*?<\/svg>/g) ?? [];
    expect(charts).toHaveLength(1 + 4 + 2 * 4); // scatter; two curves on two scales; weights
    for (const chart of charts) {
      const [, title = '', description = ''] =
        /role="img"\s+aria-labelledby="(\S+) (\S+)"/.exec(chart) ?? [];
      expect(chart).toMatch(new RegExp(`<title id="${title}">[^<]+</title>`));
      expect(chart).toMatch(new RegExp(`<desc id="${description}">[^<]+</desc>`));
    }
    const ids = [...html.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id);
    expect(new Set(ids).size).toBe(ids.length);
  });

  test('figures are there as tables too', () => {
    expect(html).toContain('<summary>Learning curves as a table</summary>');
    for (const preset of ['WMQA', 'WGQA', 'ROWWGQA', 'COLWGQA']) {
      expect(html).toContain(`<summary>Merge weights of ${preset} as a table</summary>`);
    }
  });

  test('marks where weights started: at a value, or normally distributed', () => {
    expect(html).toContain('>start 0.125</text>');
    expect(html).toContain('>start 0.25</text>');
    expect(html).toContain('>start: standard normal</text>');
  });

  test('follows light and dark preference', () => {
    expect(html).toContain('@media (prefers-color-scheme: dark)');
  });
});

describe('reports at the edge', () => {
  test.each<[string, DemoReport]>([
    ['no curves', withVariants((variant) => ({ ...variant, curve: [] }))],
    [
      'one step',
      withVariants((variant) => ({ ...variant, curve: [{ step: 1, loss: 2, evalLoss: 2 }] })),
    ],
    ['a loss that diverged', withVariants((variant) => ({ ...variant, curve: diverged() }))],
    ['no merge weights', withVariants(({ mergeWeights: _, ...variant }) => variant)],
    [
      'merge weights that did not move',
      withVariants((variant) => ({
        ...variant,
        mergeWeights: [
          {
            layer: 0,
            module: 'decoderSelf',
            projection: 'k',
            granularity: 'head',
            initial: 0.25,
            values: [0.25, 0.25],
          },
        ],
      })),
    ],
    ['no samples', { ...exampleReport(), samples: [] }],
    ['only the baseline', { ...exampleReport(), variants: exampleReport().variants.slice(0, 1) }],
  ])('%s', (name, report) => {
    const samples = name === 'only the baseline' ? [] : report.samples;
    const html = renderHtmlReport({ ...report, samples });
    elementsOf(html);
    expect(html).not.toMatch(/NaN|Infinity|undefined|\[object/);
  });

  function diverged() {
    return [
      { step: 1, loss: 3 },
      { step: 2, loss: NaN },
      { step: 3, loss: Infinity, evalLoss: NaN },
    ];
  }
});

describe('findings', () => {
  test('state a gain and a loss alike', () => {
    const findings = findingsOf(exampleReport());
    expect(findings[0]).toBe(
      "Smallest cache: WMQA keeps 13% of MHA's K/V bytes; ROUGE-L lower by 12.09 against it.",
    );
    expect(findings).toContain(
      'WGQA against GQA, same cache: loss lower by 0.0300, ROUGE-L higher by 1.39.',
    );
    const worse = withVariants((variant) =>
      variant.preset === 'WGQA'
        ? { ...variant, evaluation: { ...variant.evaluation, loss: 2.5, rougeL: 0.2 } }
        : variant,
    );
    expect(findingsOf(worse)).toContain(
      'WGQA against GQA, same cache: loss higher by 0.0600, ROUGE-L lower by 6.04.',
    );
  });
});

describe('reports that contradict themselves are refused', () => {
  const report = exampleReport();
  const [mha, mqa, wmqa] = report.variants as [VariantResult, VariantResult, VariantResult];

  test.each<[string, DemoReport, string]>([
    ['no variants', { ...report, variants: [] }, 'variants'],
    ['a preset twice', { ...report, variants: [mha, mqa, mha] }, 'variants[2].preset'],
    ['an unknown baseline', { ...report, baseline: 'X' }, 'baseline'],
    [
      'an output of an unknown variant',
      { ...report, samples: [{ source: '', reference: '', outputs: [{ preset: 'X', text: '' }] }] },
      'samples[0].outputs[0].preset',
    ],
    [
      'merge weights that are not finite',
      {
        ...report,
        samples: [],
        variants: [
          mha,
          {
            ...wmqa,
            mergeWeights: (wmqa.mergeWeights ?? []).map((g) => ({ ...g, values: [NaN] })),
          },
        ],
      },
      'variants[1].mergeWeights[0].values',
    ],
  ])('%s', (_, bad, field) => {
    expect(() => renderHtmlReport(bad)).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT', field }),
    );
  });
});
