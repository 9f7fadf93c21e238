/**
 * The fifteen rows of Table 1 of arXiv 2407.10855, by their names there. GQA rows halve the heads
 * and MQA rows keep one, as in the paper.
 */
import type { MergeGranularity } from '../native.ts';

export interface Preset {
  /** K/V heads: all of them, half of them, or one. */
  readonly kvHeads: 'all' | 'half' | 'one';
  readonly merge: 'mean' | 'weighted';
  readonly granularity: MergeGranularity;
  readonly init: 'mean' | 'random';
}

function preset(
  kvHeads: Preset['kvHeads'],
  merge: Preset['merge'] = 'mean',
  granularity: MergeGranularity = 'head',
  init: Preset['init'] = 'mean',
): Preset {
  return Object.freeze({ kvHeads, merge, granularity, init });
}

export const PRESETS = Object.freeze({
  MHA: preset('all'),
  GQA: preset('half'),
  WGQA: preset('half', 'weighted'),
  MQA: preset('one'),
  WMQA: preset('one', 'weighted'),
  ROWWGQA: preset('half', 'weighted', 'row'),
  COLWGQA: preset('half', 'weighted', 'column'),
  ROWWMQA: preset('one', 'weighted', 'row'),
  COLWMQA: preset('one', 'weighted', 'column'),
  RANDWGQA: preset('half', 'weighted', 'head', 'random'),
  RANDWMQA: preset('one', 'weighted', 'head', 'random'),
  RANDROWWGQA: preset('half', 'weighted', 'row', 'random'),
  RANDROWWMQA: preset('one', 'weighted', 'row', 'random'),
  RANDCOLWGQA: preset('half', 'weighted', 'column', 'random'),
  RANDCOLWMQA: preset('one', 'weighted', 'column', 'random'),
});

export type PresetName = keyof typeof PRESETS;
