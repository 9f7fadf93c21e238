import { invalidArgument } from '../errors.ts';
import type { DemoReport } from './types.ts';

/**
 * Checks what the renderers rely on and types cannot say.
 *
 * @throws WgqaError `INVALID_ARGUMENT`: no variant, a repeated preset, a baseline or a sample's
 * preset that is not a variant, or merge weights that are empty or not finite.
 */
export function checkReport(report: DemoReport): void {
  const presets = report.variants.map((variant) => variant.preset);
  if (presets.length === 0) {
    throw invalidArgument('variants', 'one or more variants', report.variants);
  }
  presets.forEach((preset, index) => {
    if (presets.indexOf(preset) === index) return;
    throw invalidArgument(`variants[${String(index)}].preset`, 'unique in the report', preset);
  });
  const known = presets.map((preset) => `'${preset}'`).join(' | ');
  if (!presets.includes(report.baseline)) throw invalidArgument('baseline', known, report.baseline);
  report.samples.forEach(({ outputs }, sample) => {
    outputs.forEach(({ preset }, output) => {
      if (presets.includes(preset)) return;
      const field = `samples[${String(sample)}].outputs[${String(output)}].preset`;
      throw invalidArgument(field, known, preset);
    });
  });
  report.variants.forEach(({ mergeWeights = [] }, variant) => {
    mergeWeights.forEach(({ values }, group) => {
      if (values.length > 0 && values.every(Number.isFinite)) return;
      const field = `variants[${String(variant)}].mergeWeights[${String(group)}].values`;
      throw invalidArgument(field, 'one or more finite numbers', values);
    });
  });
}
