import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, describe, expect, test } from '@jest/globals';
import {
  Engine,
  type GenerationOptions,
  type LogitsContext,
  type LogitsProcessor,
} from '../../src/index.ts';
import { errorOf } from '../support/errors.ts';
import { LONG, referencedBlocks, talkativeModel, tokensOf, until } from '../support/decoding.ts';
import { randomRows } from '../support/tiny-model.ts';

const [INPUT = [], OTHER = []] = randomRows(31, [6, 3]);

const model = await talkativeModel();
const engine = new Engine(model);

afterAll(async () => {
  await model.dispose();
});

const ban =
  (token: number): LogitsProcessor =>
  ({ logits }) => {
    logits[token] = -Infinity;
  };

describe('a logits processor', () => {
  test.each<[string, GenerationOptions]>([
    ['greedy', {}],
    ['beams', { numBeams: 3, numReturnSequences: 2 }],
    ['samples', { doSample: true, numReturnSequences: 2, seed: 3 }],
  ])('that changes nothing, changes nothing: %s', async (_name, options) => {
    const request = { inputIds: INPUT, ...LONG, ...options };
    const processed = { ...request, logitsProcessors: [() => undefined] };
    expect(await tokensOf(engine, processed)).toEqual(await tokensOf(engine, request));
  });

  test('bans a token', async () => {
    const request = { inputIds: INPUT, ...LONG };
    const [free = []] = await tokensOf(engine, request);
    const [first = 0] = free;
    const [banned = []] = await tokensOf(engine, { ...request, logitsProcessors: [ban(first)] });
    expect(banned).toHaveLength(24);
    expect(banned).not.toContain(first);
  });

  test('dictates tokens, through all of several that wait', async () => {
    const wanted = [40, 41, 42, 43];
    const dictate: LogitsProcessor = async ({ tokenIds, logits }) => {
      await sleep(1);
      logits.fill(-Infinity);
      logits[wanted[tokenIds.length] ?? 0] = 1;
    };
    const request = { inputIds: INPUT, ...LONG, maxNewTokens: 4 };
    const processors = { ...request, logitsProcessors: [dictate, ban(7)] };
    expect(await tokensOf(engine, processors)).toEqual([wanted]);
  });

  test('sees each row with its tokens and the logits of the model', async () => {
    const seen: { row: number; tokenIds: number[]; best: number }[] = [];
    const look = ({ row, tokenIds, logits }: LogitsContext) => {
      const best = logits.reduce((at, x, i) => (x > (logits[at] ?? NaN) ? i : at), 0);
      seen.push({ row, tokenIds: [...tokenIds], best });
    };
    const request = { inputIds: INPUT, ...LONG, decoderInputIds: [9], maxNewTokens: 5 };
    const [tokens = []] = await tokensOf(engine, { ...request, logitsProcessors: [look] });
    const expected = tokens.slice(1).map((best, i) => {
      return { row: 0, tokenIds: tokens.slice(0, i + 1), best };
    });
    expect(seen).toEqual(expected);
  });

  test('that waits holds up nobody else', async () => {
    let release: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => (release = resolve));
    const request = { inputIds: INPUT, ...LONG };
    const held = tokensOf(engine, { ...request, logitsProcessors: [() => gate] });
    await until(engine, (stats) => stats.held === 1);
    const [other = []] = await tokensOf(engine, { inputIds: OTHER, ...LONG });
    expect(other).toHaveLength(24);
    expect(engine.stats().held).toBe(1);
    release();
    expect(await held).toEqual(await tokensOf(engine, request));
  });

  test('that fails, fails its request alone with what it threw', async () => {
    const failures: [LogitsProcessor, unknown][] = [
      [
        () => {
          throw new RangeError('sync');
        },
        new RangeError('sync'),
      ],
      [() => Promise.reject(new TypeError('async')), new TypeError('async')],
    ];
    const expected = await tokensOf(engine, { inputIds: OTHER, ...LONG });
    for (const [processor, error] of failures) {
      const failing = engine.generate({ inputIds: INPUT, ...LONG, logitsProcessors: [processor] });
      const beside = tokensOf(engine, { inputIds: OTHER, ...LONG });
      await expect(failing).rejects.toEqual(error);
      expect(await beside).toEqual(expected);
    }
    const stats = await until(engine, ({ running, held }) => running + held === 0);
    expect(referencedBlocks(stats)).toEqual([0, 0]);
  });

  test.each([NaN, Infinity, -Infinity])(
    'that leaves nothing but %f fails its request',
    async (x) => {
      const spoil: LogitsProcessor = ({ logits }) => void logits.fill(x);
      const request = { inputIds: INPUT, ...LONG, logitsProcessors: [spoil] };
      expect((await errorOf(() => engine.generate(request))).code).toBe('NON_FINITE');
    },
  );

  test('must be a function', async () => {
    const request = { inputIds: INPUT, logitsProcessors: ['ban'] as never };
    const error = await errorOf(() => engine.generate(request));
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', field: 'logitsProcessors' });
  });
});
