/** What is compared with what. */
import type { ContenderName } from './contenders.ts';

export interface Contest {
  readonly ours: ContenderName;
  readonly peer: ContenderName;
  readonly numBeams: number;
  /** Our steps per second, of the peer's. */
  readonly atLeast?: number;
}

/** Sources that every contender of the round's contests encodes once. */
export interface Round {
  readonly batch: number;
  readonly sourceTokens: number;
  readonly contests: readonly Contest[];
}

const ORT = 'onnxruntime-node float32';
const ORT_INT8 = 'onnxruntime-node int8';
const QUARTER = 'WGQA, ¼ of the heads, bfloat16';

/** Sources of 512 tokens; what is wanted of float32, bfloat16 and a quarter of the heads. */
function usual(wanted: {
  readonly float32: number;
  readonly bfloat16: number;
  readonly quarter?: number;
}): Contest[] {
  const contest = (ours: ContenderName, peer: ContenderName, atLeast?: number): Contest => ({
    ours,
    peer,
    numBeams: 1,
    ...(atLeast !== undefined && { atLeast }),
  });
  return [
    contest('wgqa float32', ORT, wanted.float32),
    contest('wgqa int8', ORT_INT8, 1.4),
    contest('wgqa bfloat16', ORT, wanted.bfloat16),
    contest(QUARTER, ORT, wanted.quarter),
    contest('wgqa float32', 'transformers.js float32', 3),
  ];
}

const beams = (ours: ContenderName, peer: ContenderName, atLeast?: number): Contest => ({
  ours,
  peer,
  numBeams: 4,
  ...(atLeast !== undefined && { atLeast }),
});

export const ROUNDS: readonly Round[] = [
  { batch: 1, sourceTokens: 512, contests: usual({ float32: 1.1, bfloat16: 1.9 }) },
  {
    batch: 8,
    sourceTokens: 512,
    contests: [
      ...usual({ float32: 1.4, bfloat16: 2.8, quarter: 4 }),
      beams('wgqa float32', ORT, 3),
      beams('wgqa bfloat16', ORT),
      beams(QUARTER, ORT),
      beams('wgqa float32', 'transformers.js float32'),
    ],
  },
  {
    batch: 32,
    sourceTokens: 512,
    contests: usual({ float32: 1.4, bfloat16: 2.8, quarter: 4 }),
  },
  {
    batch: 8,
    sourceTokens: 2048,
    contests: [{ ours: QUARTER, peer: ORT, numBeams: 1, atLeast: 6 }],
  },
];
