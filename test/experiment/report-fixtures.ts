/** A report of made-up figures, for tests of what is shown of it. */
import type {
  Comparison,
  DatasetReport,
  ExperimentReport,
  VariantRow,
  WeightMovement,
} from '../../src/experiment/report-types.ts';

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

/** Loss at steps 0, 50 and 100; `spread` of the seeds at the last. */
export function curveOf(losses: readonly number[], spread = 0): VariantRow['curve'] {
  return losses.map((mean, index) => {
    const half = index === losses.length - 1 ? spread / 2 : 0;
    return { step: 50 * index, mean, lowest: mean - half, highest: mean + half };
  });
}

export function movementsOf(variant: string): WeightMovement[] {
  const overall: WeightMovement = {
    variant,
    count: 40,
    initial: 0.25,
    mean: 0.2375,
    meanAbsoluteDifference: 0.0625,
    decayedInitial: 0.24,
    tStatistic: -4.5,
    pValue: 0.00004,
    decayedTStatistic: -0.5,
    decayedPValue: 0.62,
    spread: {
      lowest: 0.1,
      lowerQuartile: 0.2,
      median: 0.24,
      upperQuartile: 0.26,
      highest: 0.3,
    },
    histogram: { low: 0.1, high: 0.3, counts: [30, 10, ...new Array<number>(18).fill(0)] },
  };
  const places = [0, 1].flatMap((layer) =>
    (['k', 'v'] as const).map((projection) => ({
      ...overall,
      module: 'decoderSelf' as const,
      projection,
      layer,
      count: 10,
      meanAbsoluteDifference: 0.03125 * (layer + 1),
      tStatistic: Number.MAX_VALUE,
    })),
  );
  return [overall, ...places];
}

export function datasetOf(change: Partial<DatasetReport> = {}): DatasetReport {
  const learned = { mergeParameters: 64, score: { mean: 18.4, low: 17.4, high: 19.4 } };
  const compare = (variant: string, other: string, low: number, high: number) => ({
    variant,
    other,
    sameKvBytes: true,
    difference: { mean: (low + high) / 2, low, high },
    pValue: 0.0004,
    adjustedPValue: 0.012,
    plannedPValue: 0.012,
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
        baseline: 'GQA',
        curve: [
          { step: 0, mean: 5, lowest: 5, highest: 5 },
          { step: 50, mean: 4.4375, lowest: 4.4, highest: 4.5 },
        ],
      }),
      row('COLWGQA', { ...learned, baseline: 'GQA', seeds: [0], perSeed: [SCORES] }),
    ],
    measures: [
      {
        metric: 'rougeL',
        comparisons: [
          { ...compare('MHA', 'GQA', 1, 2), sameKvBytes: false },
          compare('WGQA', 'GQA', 0.1, 0.7),
          compare('GQA', 'COLWGQA', -0.2, 0.5),
        ],
      },
      { metric: 'logLikelihood', comparisons: [compare('GQA', 'WGQA', 0.0123, 0.0245)] },
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

/** `datasetOf()` with these comparisons by the plan's metric alone. */
export function withComparisons(change: (all: readonly Comparison[]) => readonly Comparison[]) {
  const [{ metric, comparisons }] = datasetOf().measures;
  return datasetOf({ measures: [{ metric, comparisons: change(comparisons) }] });
}

export function reportOf(...datasets: DatasetReport[]): ExperimentReport {
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

/** `datasetOf()` with the rows that `change` returns something for changed. */
export function withRows(
  change: Readonly<Record<string, Partial<VariantRow>>>,
  more: Partial<DatasetReport> = {},
): DatasetReport {
  const rows = datasetOf().rows.map((r) => ({ ...r, ...change[r.variant] }));
  return datasetOf({ ...more, rows });
}
