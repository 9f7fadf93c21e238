import type { DemoReport, MergeWeightGroup, VariantResult } from '../../src/report/types.ts';

/** A made-up report of the shape the demo writes; deterministic. */
export function exampleReport(): DemoReport {
  const variants = [
    variant('MHA', 8, 2.31, 0),
    variant('MQA', 1, 2.62, 0),
    variant('WMQA', 1, 2.57, 128, weights('head', 1 / 8, 8, 0.03)),
    variant('GQA', 2, 2.44, 0),
    variant('WGQA', 2, 2.41, 128, weights('head', 1 / 4, 8, 0.05)),
    variant('ROWWGQA', 2, 2.42, 32_768, weights('row', 1 / 4, 512, 0.02)),
    variant('COLWGQA', 2, 2.42, 4096, weights('column', 'random', 256, 1)),
  ];
  return {
    title: 'Multi-head T5 as MQA, GQA and WGQA',
    createdAt: '2025-01-31T14:05:09.000Z',
    settings: {
      command: 'npm start -- --steps 300',
      version: '0.1.0',
      checkpoint: 't5-debian-small',
      architecture: '4+4 layers, 8 heads of 32, d_model 256, vocabulary 8,192',
      dataset: 'Debian package descriptions',
      trainExamples: 4000,
      evalExamples: 400,
      steps: 300,
      batchSize: 16,
      optimizer: 'AdamW',
      learningRate: 0.001,
      seed: 7,
      trainPrecision: 'float32',
      decodePrecision: 'bfloat16',
      decoding: 'greedy, at most 32 new tokens',
      device: 'cpu',
      threads: 2,
      notes: ['The multi-head baseline was trained like the rest.'],
    },
    baseline: 'MHA',
    variants,
    samples: [
      {
        source:
          'GNU Parted is a program that allows you to create, destroy, resize, move and copy hard ' +
          'disk partitions.\nThis package contains the binary & manual page <parted>.',
        reference: 'disk partition manipulator',
        outputs: variants.map(({ preset }) => ({
          preset,
          text: `disk partition tool by ${preset}`,
        })),
      },
      {
        source: 'Ein Werkzeug für \u202eRTL\u202c <script>alert("x")</script>',
        reference: "it's <b>bold</b>",
        outputs: [{ preset: 'MHA', text: '"quoted" \u0007 & more' }],
      },
    ],
  };
}

function variant(
  preset: string,
  kvHeads: number,
  finalLoss: number,
  mergeParameters: number,
  mergeWeights?: MergeWeightGroup[],
): VariantResult {
  const quality = (3 - finalLoss) / 2;
  const noise = randomNormal(finalLoss * 1000);
  return {
    preset,
    heads: 8,
    kvHeads,
    parameters: 9_800_000 - (8 - kvHeads) * 131_072,
    mergeParameters,
    curve: Array.from({ length: 300 }, (_, index) => ({
      step: index + 1,
      loss: finalLoss + (9 - kvHeads) * 0.5 * Math.exp(-index / 25) + 0.06 * noise(),
      ...((index + 1) % 50 === 0
        ? { evalLoss: finalLoss + (9 - kvHeads) * 0.4 * Math.exp(-index / 25) }
        : {}),
    })),
    evaluation: {
      loss: finalLoss,
      rouge1: quality,
      rouge2: quality * 0.55,
      rougeL: quality * 0.93,
    },
    kvBytesPerToken: { selfAttention: kvHeads * 512, crossAttention: kvHeads * 512 },
    tokensPerSecond: 2100 - 90 * kvHeads,
    trainMilliseconds: 14_000 + 400 * kvHeads,
    ...(mergeWeights === undefined ? {} : { mergeWeights }),
  };
}

function weights(
  granularity: MergeWeightGroup['granularity'],
  initial: number | 'random',
  count: number,
  deviation: number,
): MergeWeightGroup[] {
  const random = randomNormal(count);
  const groups: MergeWeightGroup[] = [];
  for (let layer = 0; layer < 4; layer += 1) {
    for (const module of ['decoderSelf', 'decoderCross'] as const) {
      for (const projection of ['k', 'v'] as const) {
        const centre = initial === 'random' ? 0 : initial;
        const values = Array.from({ length: count }, () => centre + deviation * random());
        groups.push({ layer, module, projection, granularity, initial, values });
      }
    }
  }
  return groups;
}

/** Approximately normal numbers from a small linear congruential generator. */
function randomNormal(seed: number): () => number {
  let state = Math.round(seed) % 2147483647 || 1;
  const uniform = (): number => {
    state = (state * 48271) % 2147483647;
    return state / 2147483647;
  };
  return () => Array.from({ length: 12 }, uniform).reduce((sum, value) => sum + value, -6);
}
