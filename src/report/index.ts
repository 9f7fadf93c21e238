export { renderHtmlReport } from './page.ts';
export {
  type TextColumn,
  formatMarkdownTable,
  formatReportMarkdown,
  formatReportTable,
  formatTable,
} from './text.ts';
export type {
  CurvePoint,
  DemoReport,
  EvaluationResult,
  InitialWeight,
  KvBytesPerToken,
  MergeWeightGroup,
  RunSettings,
  SampleOutput,
  SampleSummary,
  VariantResult,
} from './types.ts';
