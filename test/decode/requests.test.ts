/** What a request may ask for beside the common options, and what its result tells. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import {
  Engine,
  loadModel,
  WgqaError,
  type GenerationOptions,
  type GenerationRequest,
  type GenerationResult,
  type Model,
} from '../../src/index.ts';
import { parseOutput, programCommand, runChild } from '../support/child.ts';
import {
  LONG,
  nextTokenLogProbs,
  referencedBlocks,
  saveTextModel,
  talkativeModel,
  tokensOf,
  until,
} from '../support/decoding.ts';
import { useTemporaryDirectories } from '../support/directories.ts';
import { errorOf } from '../support/errors.ts';
import { randomRows } from '../support/tiny-model.ts';

const newDirectory = useTemporaryDirectories();
const [INPUT = []] = randomRows(31, [6]);
const model = await talkativeModel();
const engine = new Engine(model);

let textModel: Model;
let textEngine: Engine;

beforeAll(async () => {
  const directory = newDirectory();
  await saveTextModel(directory);
  textModel = await loadModel(directory);
  textEngine = new Engine(textModel);
});

afterAll(async () => {
  await Promise.all([model.dispose(), textModel.dispose()]);
});

describe('padding of a source', () => {
  const pads = [0, 0, 0];
  const request = { inputIds: INPUT, ...LONG, logProbs: true };

  test.each<[string, number[]]>([
    ['left', [...pads, ...INPUT]],
    ['right', [...INPUT, ...pads]],
    ['both', [...pads, ...INPUT, ...pads]],
  ])('is masked: %s', async (_name, inputIds) => {
    const plain = await engine.generate(request);
    const padded = await engine.generate({ ...request, inputIds });
    expect(padded.sequences).toEqual(plain.sequences);
    expect(padded.promptTokens).toBe(INPUT.length);
  });

  test('is not, where a mask says so, or pad is an end token', async () => {
    const inputIds = [...pads, ...INPUT];
    const plain = await engine.generate(request);
    const attentionMask = inputIds.map(() => 1);
    const seen = await engine.generate({ ...request, inputIds, attentionMask });
    expect(seen.sequences).not.toEqual(plain.sequences);
    expect(seen.promptTokens).toBe(inputIds.length);
    const ends = { eosTokenId: [0, 99], minNewTokens: LONG.maxNewTokens };
    const asEnd = await engine.generate({ ...request, ...ends, inputIds });
    const withMask = await engine.generate({ ...request, ...ends, inputIds, attentionMask });
    expect(asEnd.sequences).toEqual(withMask.sequences);
    expect(asEnd.promptTokens).toBe(inputIds.length);
  });

  test('of pad tokens alone, any number is as one', async () => {
    const one = await tokensOf(engine, { ...LONG, inputIds: [0] });
    expect(await tokensOf(engine, { ...LONG, inputIds: [0, 0, 0, 0] })).toEqual(one);
    const seen = { inputIds: [0, 0, 0, 0], attentionMask: [1, 1, 1, 1] };
    expect(await tokensOf(engine, { ...LONG, ...seen })).toEqual(one);
  });

  test('may be any tokens that a mask hides', async () => {
    const inputIds = [7, 8, ...INPUT, 9];
    const attentionMask = [0, 0, ...INPUT.map(() => 1), 0];
    const masked = await tokensOf(engine, { ...request, inputIds, attentionMask });
    expect(masked).toEqual(await tokensOf(engine, request));
  });

  test('is masked by forward() and in training, too', async () => {
    const labels = [[5, 6]];
    const plain = await model.forward({ inputIds: [INPUT], labels });
    const padded = await model.forward({ inputIds: [[...pads, ...INPUT, 0]], labels });
    expect(padded.logits).toEqual(plain.logits);
    expect(padded.loss).toBe(plain.loss);
    const rows = await model.forward({
      inputIds: [
        [0, 0],
        [5, 6],
      ],
      labels: [[5], [6]],
    });
    expect(rows.logits.data.every(Number.isFinite)).toBe(true);
  });

  test.each<[string, unknown, string]>([
    ['of another length', [1], 'attentionMask'],
    ['of zeros', INPUT.map(() => 0), 'attentionMask'],
    ['of other numbers', INPUT.map(() => 2), 'attentionMask[0]'],
    ['with holes', INPUT.map((_, i) => Number(i !== 2)), 'attentionMask'],
    ['that is text', '111', 'attentionMask'],
  ])('a mask %s is refused', async (_name, attentionMask, field) => {
    const error = await errorOf(() =>
      engine.generate({ inputIds: INPUT, attentionMask } as GenerationRequest),
    );
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', field });
  });

  test('a mask beside a prompt is refused', async () => {
    const request = { prompt: 'a', attentionMask: [1] } as unknown as GenerationRequest;
    const error = await errorOf(() => textEngine.generate(request));
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', field: 'attentionMask' });
  });
});

describe('the beginning', () => {
  test('an empty prompt is the end token alone', async () => {
    const empty = await textEngine.generate({ prompt: '', maxNewTokens: 3 });
    expect(empty.promptTokens).toBe(1);
    const ids = await textEngine.generate({ inputIds: [1], maxNewTokens: 3 });
    expect(empty.sequences).toEqual(ids.sequences);
  });

  test('a start token that is given is not added again', async () => {
    const request = { inputIds: INPUT, ...LONG };
    const expected = await tokensOf(engine, { ...request, decoderInputIds: [9, 8] });
    expect(await tokensOf(engine, { ...request, decoderInputIds: [0, 9, 8] })).toEqual(expected);
    const alone = await tokensOf(engine, { ...request, decoderInputIds: [0] });
    expect(alone).toEqual(await tokensOf(engine, request));
    const text = { prompt: 'a', maxNewTokens: 3 };
    const prefixed = await textEngine.generate({ ...text, forcedPrefix: '<pad>ab' });
    const plain = await textEngine.generate({ ...text, forcedPrefix: 'ab' });
    expect(prefixed.sequences[0]?.tokenIds.slice(0, 2)).not.toContain(0);
    expect(plain.sequences[0]?.tokenIds).not.toEqual([]);
  });

  test('a text is bounded by the limit of tokens before it is encoded', async () => {
    const limited = new Engine(textModel, { limits: { inputTokens: 4 } });
    for (const field of ['prompt', 'forcedPrefix'] as const) {
      const request = { prompt: 'a', [field]: 'a'.repeat(161) };
      const error = await errorOf(() => limited.generate(request));
      expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', field });
      expect(error.message).toContain('160 characters');
    }
    const error = await errorOf(() => limited.generate({ prompt: 'abcabcabc' }));
    expect(error.message).toContain('4 tokens');
    await limited.close();
  });
});

describe('the result', () => {
  test('tells the seed that repeats it', async () => {
    const request = { inputIds: INPUT, ...LONG, doSample: true };
    const first = await engine.generate(request);
    const second = await engine.generate(request);
    expect(first.seed).not.toBe(second.seed);
    const again = await engine.generate({ ...request, seed: first.seed ?? -1 });
    expect(again.sequences).toEqual(first.sequences);
    expect(again.seed).toBe(first.seed);
    expect(await engine.generate({ ...request, doSample: false })).not.toHaveProperty('seed');
  });

  test.each<[string, GenerationOptions]>([
    ['greedy', {}],
    ['processed', { repetitionPenalty: 2, suppressTokens: [48] }],
    ['by a processor', { logitsProcessors: [({ logits }) => void logits.fill(-Infinity, 50)] }],
    ['beams', { numBeams: 3 }],
    ['samples', { doSample: true, seed: 5 }],
  ])('has alternatives of the model: %s', async (_name, options) => {
    const request = { inputIds: INPUT, ...LONG, maxNewTokens: 6, ...options };
    const plain = await engine.generate({ ...request, logProbs: true });
    const told = await engine.generate({ ...request, logProbs: true, topLogProbs: 3 });
    const [sequence] = told.sequences;
    const { tokenIds = [], topLogProbs = [], logProbs = [] } = sequence ?? {};
    expect(tokenIds).toEqual(plain.sequences[0]?.tokenIds);
    expect(logProbs).toEqual(plain.sequences[0]?.logProbs);
    const expected = await nextTokenLogProbs(model, INPUT, tokenIds);
    expect(topLogProbs).toHaveLength(tokenIds.length);
    for (const [place, alternatives] of topLogProbs.entries()) {
      const ranked = [...(expected[place] ?? [])]
        .map((logProb, tokenId) => ({ tokenId, logProb }))
        .sort((a, b) => b.logProb - a.logProb)
        .slice(0, 3);
      expect(alternatives.map(({ tokenId }) => tokenId)).toEqual(ranked.map((r) => r.tokenId));
      for (const [i, { logProb }] of alternatives.entries()) {
        expect(logProb).toBeCloseTo(ranked[i]?.logProb ?? NaN, 4);
      }
    }
  });

  test('has no more alternatives than the vocabulary', async () => {
    const request = { inputIds: [5], maxNewTokens: 1, topLogProbs: 50 };
    const { sequences } = await textEngine.generate(request);
    expect(sequences[0]?.topLogProbs?.[0]).toHaveLength(14);
  });

  test('names the stop string that ended a sequence', async () => {
    const request = { prompt: 'abc', maxNewTokens: 12, minNewTokens: 12, noRepeatNgramSize: 2 };
    const { text = '' } = (await textEngine.generate(request)).sequences[0] ?? {};
    const stop = ['zzz', text.slice(4, 6), text.slice(3, 6)];
    const [cut] = (await textEngine.generate({ ...request, stop })).sequences;
    const first = Math.min(...stop.slice(1).map((each) => text.indexOf(each)));
    expect(cut?.text).toBe(text.slice(0, first));
    expect(cut).toMatchObject({ finishReason: 'stop', stopString: stop[2] });
    const { eos, ...ended } = { eos: Number(cut?.tokenIds[0]), ...request, minNewTokens: 0 };
    const [byToken] = (await textEngine.generate({ ...ended, eosTokenId: eos, stop })).sequences;
    expect(byToken).toMatchObject({ finishReason: 'stop' });
    expect(byToken).not.toHaveProperty('stopString');
  });

  test("ends as 'blocked' where no token is allowed, and as 'time' after maxTime", async () => {
    const only = Array.from({ length: 100 }, (_, id) => id).filter((id) => id !== 4);
    const request = { inputIds: INPUT, ...LONG, suppressTokens: only, noRepeatNgramSize: 1 };
    const blocked = await engine.generate(request);
    expect(blocked.sequences).toMatchObject([{ tokenIds: [4], finishReason: 'blocked' }]);
    for (const options of [{}, { numBeams: 2 }]) {
      const endless = { inputIds: INPUT, eosTokenId: 99, maxNewTokens: 4000, maxTime: 0.02 };
      const [timed] = (await engine.generate({ ...endless, ...options })).sequences;
      expect(timed?.finishReason).toBe('time');
      expect(timed?.tokenIds.length).toBeGreaterThan(0);
    }
  });

  test('says how many sequences beam search could not find', async () => {
    const only = Array.from({ length: 100 }, (_, id) => id).filter((id) => id !== 4);
    const request = { inputIds: INPUT, numBeams: 3, numReturnSequences: 3, maxNewTokens: 1 };
    const few = await engine.generate({ ...request, suppressTokens: only });
    expect(few.sequences).toHaveLength(1);
    expect(few.missingSequences).toBe(2);
    expect((await engine.generate(request)).missingSequences).toBe(0);
  });

  test('has special tokens where they are wanted', async () => {
    const request = { prompt: 'abc', maxNewTokens: 5, forcedEosTokenId: 1 };
    const [plain] = (await textEngine.generate(request)).sequences;
    const kept = { ...request, skipSpecialTokens: false };
    const [special] = (await textEngine.generate(kept)).sequences;
    expect(special?.tokenIds).toEqual(plain?.tokenIds);
    expect(special?.text?.replaceAll(/<\/s>|<pad>|<unk>/g, '')).toBe(plain?.text);
    expect(special?.text).toContain('</s>');
    const texts: string[] = [];
    for await (const { text } of textEngine.stream(kept)) texts.push(text ?? '');
    expect(texts.join('')).toBe(special?.text);
    const [stopped] = (await textEngine.generate({ ...kept, stop: '</s>' })).sequences;
    expect(stopped?.text).toBe(special?.text?.slice(0, special.text.indexOf('</s>')));
    expect(stopped?.stopString).toBe('</s>');
    const [unseen] = (await textEngine.generate({ ...request, stop: '</s>' })).sequences;
    expect(unseen).not.toHaveProperty('stopString');
  });
});

describe('a stream', () => {
  const request = { inputIds: INPUT, ...LONG, topLogProbs: 2, doSample: true, seed: 3 };

  test('ends with the whole result', async () => {
    const expected = await engine.generate(request);
    const stream = engine.stream(request);
    const chunks = [];
    let next = await stream.next();
    for (; !next.done; next = await stream.next()) chunks.push(next.value);
    const same = ({ sequences, promptTokens, seed }: GenerationResult) => ({
      sequences,
      promptTokens,
      seed,
    });
    expect(same(next.value)).toEqual(same(expected));
    expect(await stream.result).toBe(next.value);
    const [{ topLogProbs = [] } = {}] = expected.sequences;
    expect(chunks.map((chunk) => chunk.topLogProbs)).toEqual(topLogProbs);
  });

  test('that fails or is left rejects its result', async () => {
    const failing = engine.stream({ inputIds: [], maxNewTokens: 1 });
    expect((await errorOf(() => failing.next())).code).toBe('INVALID_ARGUMENT');
    expect((await errorOf(() => failing.result)).code).toBe('INVALID_ARGUMENT');
    const left = engine.stream({ inputIds: INPUT, eosTokenId: 99, maxNewTokens: 4000 });
    for await (const _ of left) break;
    expect((await errorOf(() => left.result)).code).toBe('ABORTED');
  });

  test('that nobody holds is given up', async () => {
    const endless = { inputIds: INPUT, eosTokenId: 99, maxNewTokens: 4000 };
    await (async () => {
      await engine.stream(endless).next();
    })();
    const { gc } = globalThis as { gc?: () => void };
    const collect = gc ?? (await exposedGc());
    const stats = await until(engine, ({ running, held }) => {
      collect();
      return running + held === 0;
    });
    expect(referencedBlocks(stats)).toEqual([0, 0]);
  });

  test('that is dropped lets the process end', async () => {
    const ended = await runChild(programCommand('dropped-stream.ts', []), 30_000);
    expect(parseOutput(ended)).toBe(false);
  });
});

async function exposedGc(): Promise<() => void> {
  const { setFlagsFromString } = await import('node:v8');
  const { runInNewContext } = await import('node:vm');
  setFlagsFromString('--expose-gc');
  return runInNewContext('gc') as () => void;
}

describe('callers that are odd', () => {
  test('a processor that waits for close() is refused', async () => {
    const own = new Engine(model);
    const request = { inputIds: INPUT, ...LONG };
    const error = await errorOf(() =>
      own.generate({ ...request, logitsProcessors: [async () => own.close()] }),
    );
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', field: 'mode' });
    const aborted = await errorOf(() =>
      own.generate({ ...request, logitsProcessors: [async () => own.close({ mode: 'abort' })] }),
    );
    expect(aborted.code).toBe('DISPOSED');
  });

  test('a close() that a processor began and does not wait for', async () => {
    const own = new Engine(model);
    let closing: Promise<void> | undefined;
    const begin = (): void => {
      closing ??= new Promise((resolve, reject) => {
        setTimeout(() => {
          own.close().then(resolve, reject);
        }, 1);
      });
    };
    const result = await own.generate({ inputIds: INPUT, ...LONG, logitsProcessors: [begin] });
    expect(result.sequences).toHaveLength(1);
    await closing?.catch((error: unknown) => {
      expect(error).toBeInstanceOf(WgqaError);
    });
    await own.close();
  });

  test('a signal that throws leaves nothing behind', async () => {
    const signal = {
      aborted: false,
      addEventListener() {
        throw new TypeError('Illegal invocation');
      },
    } as unknown as AbortSignal;
    const endless = { inputIds: INPUT, eosTokenId: 99, maxNewTokens: 4000 };
    await expect(engine.generate(endless, { signal })).rejects.toThrow('Illegal invocation');
    await expect(engine.stream(endless, { signal }).next()).rejects.toThrow('Illegal invocation');
    const { running, queued, encoding } = engine.stats();
    expect(running + queued + encoding).toBe(0);
  });

  test('a processor that returns logits replaces them', async () => {
    const request = { inputIds: INPUT, ...LONG, maxNewTokens: 2 };
    const nine = ({ logits }: { logits: Float32Array }) =>
      logits.map((_, id) => (id === 9 ? 1 : 0));
    const list = async ({ logits }: { logits: Float32Array }) =>
      Promise.resolve([...logits].map((_, id) => (id === 8 ? 1 : 0)));
    expect(await tokensOf(engine, { ...request, logitsProcessors: [nine] })).toEqual([[9, 9]]);
    const both = { ...request, logitsProcessors: [nine, list] };
    expect(await tokensOf(engine, both)).toEqual([[8, 8]]);
    for (const wrong of [new Float32Array(3), 'x', null, new Array(100).fill('1')]) {
      const processors = { ...request, logitsProcessors: [() => wrong as never] };
      const error = await errorOf(() => engine.generate(processors));
      expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', field: 'logitsProcessors' });
    }
  });

  test.each<[string, string]>([
    ['max_new_tokens', 'maxNewTokens'],
    ['maxNewToken', 'maxNewTokens'],
    ['maxLength', 'maxNewTokens'],
    ['topp', 'topP'],
    ['stopStrings', 'stop'],
    ['bad_words_ids', 'badWordsIds'],
  ])('an option %s is told to be %s', async (name, meant) => {
    const request = { inputIds: INPUT, [name]: 3 } as unknown as GenerationRequest;
    const error = await errorOf(() => engine.generate(request));
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', field: name });
    expect(error.message).toContain(`did you mean ${meant}?`);
  });

  test.each<[string, object, string]>([
    ['too many stop strings', { stop: Array.from({ length: 257 }, (_, i) => `q${i}`) }, 'stop'],
    ['a stop string of great length', { stop: 'q'.repeat(1025) }, 'stop'],
    ['stop strings of great length together', { stop: Array(17).fill('q'.repeat(1024)) }, 'stop'],
    ['words of great length together', { badWordsIds: [Array(16385).fill(3)] }, 'badWordsIds'],
    ['a word without tokens', { badWordsIds: [[]] }, 'badWordsIds'],
    ['a bias that is none', { sequenceBias: [[[3], Infinity]] }, 'sequenceBias'],
    ['a token beyond the vocabulary', { suppressTokens: [14] }, 'suppressTokens'],
    ['a first token beyond it', { forcedBosTokenId: 14 }, 'forcedBosTokenId'],
    [
      'a decay without factor',
      { exponentialDecayLengthPenalty: [3] },
      'exponentialDecayLengthPenalty',
    ],
    ['too many alternatives', { topLogProbs: 101 }, 'topLogProbs'],
    ['a time of 0', { maxTime: 0 }, 'maxTime'],
    [
      'end tokens times sampled beams',
      { numBeams: 60, doSample: true, eosTokenId: Array(40).fill(3) },
      'numBeams',
    ],
  ])('%s is refused', async (_name, options, field) => {
    const error = await errorOf(() => textEngine.generate({ inputIds: [5], ...options }));
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', field });
  });
});
