/** What arXiv 2407.10855v1 reports, to stand beside our own figures. */
import type { PaperColumn } from './report-types.ts';

type Row = Readonly<Partial<Record<PaperColumn, number>>>;

function table1(multiNews: number, cnn: number, wmt14: number): Row {
  return { 'multi-news': multiNews, 'cnn-dailymail': cnn, wmt14 };
}

/**
 * Table 1, T5-base on the test sets: ROUGE-1, and BLEU for WMT14. The multi-head model was not
 * trained on Multi-News. Table 2, T5-small: ROUGE-1 on CNN/DailyMail, three rows.
 */
const RESULTS: Readonly<Record<string, Row>> = {
  MHA: { ...table1(21.7, 42.0, 28.0), 't5-small-cnn-dailymail': 41.1 },
  GQA: { ...table1(43.5, 41.7, 26.1), 't5-small-cnn-dailymail': 40.3 },
  WGQA: { ...table1(43.7, 41.9, 26.3), 't5-small-cnn-dailymail': 40.3 },
  MQA: table1(40.3, 40.5, 25.2),
  WMQA: table1(40.7, 40.8, 25.5),
  ROWWGQA: table1(43.6, 41.8, 26.0),
  COLWGQA: table1(43.8, 41.8, 25.9),
  ROWWMQA: table1(40.6, 40.5, 25.1),
  COLWMQA: table1(40.6, 40.7, 25.1),
  RANDWGQA: table1(42.9, 41.9, 25.6),
  RANDWMQA: table1(37.3, 40.7, 25.3),
  RANDROWWGQA: table1(39.7, 40.3, 25.2),
  RANDROWWMQA: table1(36.7, 38.9, 23.9),
  RANDCOLWGQA: table1(40.1, 40.8, 25.3),
  RANDCOLWMQA: table1(36.5, 39.4, 24.4),
};

const T5_BASE = 'arXiv 2407.10855v1, Table 1 (T5-base, test set)';

const SOURCES: Readonly<Record<PaperColumn, string>> = {
  'multi-news': `${T5_BASE}, ROUGE-1; its MHA was not trained on Multi-News`,
  'cnn-dailymail': `${T5_BASE}, ROUGE-1`,
  wmt14: `${T5_BASE}, BLEU`,
  't5-small-cnn-dailymail': 'arXiv 2407.10855v1, Table 2 (T5-small, test set), ROUGE-1',
};

/** Where a column's scores are printed, what they are of, and the footnote they have there. */
export function paperSource(column: PaperColumn): string {
  return SOURCES[column];
}

/** The paper's score of a variant by its name there; undefined where it has none. */
export function paperScore(column: PaperColumn, variant: string): number | undefined {
  return Object.hasOwn(RESULTS, variant) ? RESULTS[variant]?.[column] : undefined;
}
