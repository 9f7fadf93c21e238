/** The searches that are written for peers without one, and how contests are judged. */
import { describe, expect, test } from '@jest/globals';
import { bestContinuations, argmax, logSumExp } from '../../bench/peers/choose.ts';
import { repeatRows } from '../../bench/peers/onnx-cache.ts';
import { agreement, judge } from '../../bench/peers.ts';

describe('choosing tokens', () => {
  test('argmax takes the first of equals', () => {
    expect(argmax(Float32Array.of(9, 1, 5, 5, 2), 1, 4)).toBe(1);
  });

  test('log-sum-exp does not overflow', () => {
    expect(logSumExp(Float32Array.of(1000, 1000), 0, 2)).toBeCloseTo(1000 + Math.log(2));
  });

  test('the best continuations of all rows are those of a full sort', () => {
    const [rows, vocabSize] = [3, 50];
    const logits = Float32Array.from({ length: rows * vocabSize }, (_, i) => (i * 7919) % 101);
    const scores = [-1, 0, -3];
    const all = Array.from(logits, (logit, i) => {
      const row = Math.floor(i / vocabSize);
      const score = scores[row]! + logit - logSumExp(logits, row * vocabSize, vocabSize);
      return { row, tokenId: i % vocabSize, score };
    });
    const expected = all.sort((a, b) => b.score - a.score).slice(0, 4);
    const beams = scores.map((score, row) => ({ row, score }));
    const best = bestContinuations(logits, vocabSize, beams, 4);
    expect(best.map(({ score }) => score)).toEqual(
      expected.map(({ score }) => expect.closeTo(score, 4)),
    );
    expect(new Set(best.map(({ row, tokenId }) => row * vocabSize + tokenId)).size).toBe(4);
  });

  test('rows are repeated one after another', () => {
    const repeated = new Float32Array(8);
    repeatRows(Float32Array.of(1, 2, 3, 4), 2, 2, repeated);
    expect([...repeated]).toEqual([1, 2, 1, 2, 3, 4, 3, 4]);
  });
});

describe('judging', () => {
  const performance = (encodeMilliseconds: number, ...steps: readonly number[]) => ({
    encodeMilliseconds,
    residentBytes: 2 ** 20,
    decoded: new Map([
      [
        1,
        steps.map((stepMilliseconds) => ({
          stepMilliseconds,
          tokenIds: [[1, 2]],
          residentBytes: 1,
        })),
      ],
    ]),
  });
  const contest = {
    ours: 'wgqa float32',
    peer: 'onnxruntime-node float32',
    numBeams: 1,
    atLeast: 1.4,
  } as const;
  const round = { batch: 2, sourceTokens: 512, contests: [contest] };

  test('compares steps, and whole generations with the time to the first token', () => {
    const performances = new Map([
      [contest.ours, performance(370, 10)] as const,
      [contest.peer, performance(740, 20)] as const,
    ]);
    const [step, whole] = judge(contest, round, performances);
    expect(step).toMatchObject({ value: 100, limit: 50, wanted: { atLeast: 1.4 } });
    expect(step?.details).toMatchObject({ sameTokens: 1, residentMiB: 1 });
    expect(step?.points).toMatchObject([
      { x: 2, y: 200 },
      { x: 2, y: 100 },
    ]);
    // 128 tokens in 370 ms and 63 steps of 10 ms.
    expect(whole).toMatchObject({ value: 128, limit: 64 });
  });

  test('says nothing where one of the two did not take part', () => {
    expect(judge(contest, round, new Map([[contest.ours, performance(1, 1)]]))).toEqual([]);
  });

  test('agreement is counted by place', () => {
    expect(
      agreement(
        [
          [1, 2],
          [3, 4],
        ],
        [
          [1, 2],
          [4, 3],
        ],
      ),
    ).toBe(0.5);
  });
});
