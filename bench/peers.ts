/**
 * Generation with T5-base's shape and random weights, beside onnxruntime-node and transformers.js
 * on the same model: each in a process of its own with as many threads, in turn, in one run.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { native } from '../src/native.ts';
import {
  compare,
  median,
  type Benchmark,
  type ChartPoint,
  type Impossible,
  type Measurement,
} from '../src/bench/measurement.ts';
import { SHAPES, shapeTitle, type ShapeName } from '../src/bench/shapes.ts';
import { writeVariants, type ContenderName } from './peers/contenders.ts';
import { installPeers } from './peers/install.ts';
import { ROUNDS, type Contest, type Round } from './peers/rounds.ts';
import { Tournament, type Performance } from './peers/tournament.ts';
import type { RunOptions } from '../src/bench/run-options.ts';

const NEW_TOKENS = 16;
/** Of a whole generation, whose time is that of the first token and of so many steps less one. */
const WHOLE_TOKENS = 64;
const CHART_SOURCE_TOKENS = 512;

const NEVER: readonly Impossible[] = [
  {
    name: 'onnxruntime-node, transformers.js: bfloat16',
    reason: 'no such products in their CPU provider; our bfloat16 stands beside their float32',
  },
  {
    name: 'onnxruntime-node: greedy and beam search',
    reason: 'it runs graphs; both loops are written here, with a cache that beams reorder',
  },
];

export async function measurePeers({ quick, onProgress }: RunOptions): Promise<Benchmark> {
  const shape: ShapeName = quick ? 't5-small' : 't5-base';
  const rounds = quick ? ROUNDS.filter(({ batch }) => batch <= 8) : ROUNDS;
  await installPeers();
  const directory = await mkdtemp(path.join(tmpdir(), 'wgqa-bench-'));
  try {
    onProgress('writing the model for everyone');
    await writeVariants(shape, directory);
    await using tournament = new Tournament({
      directory,
      threads: native().cpu().threads,
      vocabSize: SHAPES[shape].vocab_size,
      mostRows: 32,
      mostTokens: NEW_TOKENS + 1,
      repetitions: quick ? 2 : 4,
      newTokens: NEW_TOKENS,
      onProgress,
    });
    const measurements: Measurement[] = [];
    for (const round of rounds) {
      const performances = await tournament.play(round);
      measurements.push(
        ...round.contests.flatMap((contest) => judge(contest, round, performances)),
      );
    }
    return {
      title: `generation, ${shapeTitle(shape)}, beside what else runs it in Node`,
      measurements,
      impossible: [...NEVER, ...tournament.impossible],
    };
  } finally {
    await rm(directory, { recursive: true });
  }
}

/** Ours against theirs: by step, and from the source to the last of 64 tokens. */
export function judge(
  { ours, peer, numBeams, atLeast }: Contest,
  { batch, sourceTokens }: Round,
  performances: ReadonlyMap<ContenderName, Performance>,
): Measurement[] {
  const [mine, theirs] = [performances.get(ours), performances.get(peer)];
  const [myRuns, theirRuns] = [mine?.decoded.get(numBeams), theirs?.decoded.get(numBeams)];
  if (!mine || !theirs || !myRuns || !theirRuns) return [];
  const how = numBeams === 1 ? '' : `, ${String(numBeams)} beams`;
  const place = `batch ${String(batch)}, ${String(sourceTokens)} source tokens${how}`;
  const steps = (runs: typeof myRuns): number[] => runs.map((run) => 1000 / run.stepMilliseconds);
  const whole = (performance: Performance, runs: typeof myRuns): number[] =>
    runs.map(
      ({ stepMilliseconds }) =>
        (1000 * batch * WHOLE_TOKENS) /
        (performance.encodeMilliseconds + (WHOLE_TOKENS - 1) * stepMilliseconds),
    );
  return [
    compare({
      name: `${ours}, ${place}: step`,
      limitName: peer,
      unit: 'steps/s',
      values: steps(myRuns),
      limits: steps(theirRuns),
      ...(atLeast !== undefined && { wanted: { atLeast } }),
      details: {
        sameTokens: agreement(myRuns[0]?.tokenIds ?? [], theirRuns[0]?.tokenIds ?? []),
        residentMiB: mine.residentBytes / 2 ** 20,
        peerResidentMiB: theirs.residentBytes / 2 ** 20,
      },
      // One chart has one source length.
      ...(sourceTokens === CHART_SOURCE_TOKENS && {
        points: [
          point(ours + how, batch, steps(myRuns)),
          point(peer + how, batch, steps(theirRuns)),
        ],
      }),
    }),
    compare({
      name: `${ours}, ${place}: source to ${String(WHOLE_TOKENS)} tokens`,
      limitName: peer,
      unit: 'tokens/s',
      values: whole(mine, myRuns),
      limits: whole(theirs, theirRuns),
      details: {
        firstTokenMilliseconds: mine.encodeMilliseconds,
        peerFirstTokenMilliseconds: theirs.encodeMilliseconds,
      },
    }),
  ];
}

function point(series: string, batch: number, steps: readonly number[]): ChartPoint {
  const group = `${String(CHART_SOURCE_TOKENS)} source tokens`;
  return { chart: 'throughput', group, series, x: batch, y: batch * median(steps) };
}

/** Share of tokens that two results have in common, place by place. */
export function agreement(
  a: readonly (readonly number[])[],
  b: readonly (readonly number[])[],
): number {
  const pairs = a.flatMap((row, i) => row.map((token, j) => [token, b[i]?.[j]] as const));
  return pairs.filter(([mine, theirs]) => mine === theirs).length / pairs.length;
}
