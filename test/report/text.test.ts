import { describe, expect, test } from '@jest/globals';
import {
  formatMarkdownTable,
  formatReportMarkdown,
  formatReportTable,
  formatTable,
} from '../../src/report/text.ts';
import { exampleReport } from './example.ts';

describe('tables', () => {
  const columns = [{ heading: 'Name' }, { heading: 'Value', align: 'right' }] as const;

  test('for a terminal', () => {
    expect(formatTable(columns, [['größe', '1'], ['🙂', '23'], ['short']])).toBe(
      ['Name   Value', '─────  ─────', 'größe      1', '🙂         23', 'short'].join('\n'),
    );
    expect(formatTable(columns, [])).toBe('Name  Value\n────  ─────');
  });

  test('in Markdown, with what Markdown would read escaped', () => {
    expect(formatMarkdownTable(columns, [['a|b\\\nc', '1']])).toBe(
      ['| Name     | Value |', '| -------- | ----: |', '| a\\|b\\\\ c |     1 |'].join('\n'),
    );
  });
});

describe('the comparison', () => {
  test('for a terminal: one row per variant, the best of ranked columns marked', () => {
    const lines = formatReportTable(exampleReport()).split('\n');
    expect(lines).toHaveLength(2 + 7);
    expect(lines[0]).toMatch(/^Variant +Heads +Loss +R-1 +R-2 +R-L +Self K\/V +Cross K\/V +Tok\/s/);
    expect(lines[2]).toMatch(
      /^MHA +8\/8 +\*2\.3100 +\*34\.50 .* 4\.00 KiB +4\.00 KiB +1\.38k +9\.80M +0$/,
    );
    expect(lines[6]).toMatch(/^WGQA +2\/8 +2\.4100 .* 1\.00 KiB 25% +1\.00 KiB 25% .* 128$/);
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(104);
  });

  test('in Markdown: whole headings, the best in bold', () => {
    const lines = formatReportMarkdown(exampleReport()).split('\n');
    expect(lines[0]).toContain(' ROUGE-1 |');
    expect(lines[2]).toContain('| **2.3100** |');
  });

  test('equal variants are all the best, a single one is not', () => {
    const report = exampleReport();
    const [mha, mqa] = report.variants;
    if (mha === undefined || mqa === undefined) throw new Error('the example has variants');
    const twins = { ...report, variants: [mha, { ...mha, preset: 'twin' }] };
    expect(formatReportTable(twins).match(/\*2\.3100/g)).toHaveLength(2);
    expect(formatReportTable({ ...report, variants: [mqa] })).not.toContain('*');
  });
});
