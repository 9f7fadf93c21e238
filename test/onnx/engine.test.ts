import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { copyFile, mkdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import {
  Engine,
  exportOnnx,
  loadModel,
  loadOnnx,
  type OnnxEngine,
  type GenerationOptions,
  type GenerationRequest,
  type Model,
} from '../../src/index.ts';
import { checkNames, loadRuntime } from '../../src/onnx/runtime.ts';
import { saveTextModel, talkativeModel } from '../support/decoding.ts';
import { useTemporaryDirectories } from '../support/directories.ts';
import { errorOf, failureOf } from '../support/errors.ts';
import { loadGoldenModel, readGolden } from '../support/golden.ts';

const temporary = useTemporaryDirectories();

const SOURCES = [
  [5, 6, 7, 8, 1],
  [40, 3, 17, 17, 60, 2, 9, 33, 1],
];
/** A token that these models never generate in place of their end token. */
const LONG = { maxNewTokens: 12, eosTokenId: 90 };

const OPTIONS: readonly (readonly [string, GenerationOptions])[] = [
  ['greedy', { maxNewTokens: 12 }],
  ['greedy, long', LONG],
  ['greedy, processed', { ...LONG, noRepeatNgramSize: 2, repetitionPenalty: 1.3, minNewTokens: 4 }],
  ['greedy from a prefix', { ...LONG, decoderInputIds: [7, 9, 4] }],
  ['beams', { maxNewTokens: 12, minNewTokens: 3, numBeams: 4, numReturnSequences: 4 }],
  ['beams, long', { ...LONG, numBeams: 3, lengthPenalty: 0.5, noRepeatNgramSize: 1 }],
  ['beams, early', { maxNewTokens: 12, numBeams: 3, numReturnSequences: 2, earlyStopping: true }],
  ['beams, never early', { maxNewTokens: 12, numBeams: 3, earlyStopping: 'never' }],
  ['samples', { ...LONG, doSample: true, seed: 3, numReturnSequences: 3, topK: 0 }],
  [
    'samples, nucleus',
    { ...LONG, doSample: true, seed: 2 ** 40 + 5, topP: 0.8, minP: 0.02, temperature: 1.4 },
  ],
  [
    'greedy, edited',
    {
      ...LONG,
      forcedBosTokenId: 12,
      forcedEosTokenId: 13,
      suppressTokens: [5, 6, 7],
      beginSuppressTokens: [8, 48],
      badWordsIds: [[1], [9, 12], [12, 17]],
      sequenceBias: [
        [[17], -3],
        [[12, 40], 4],
      ],
      encoderNoRepeatNgramSize: 2,
      encoderRepetitionPenalty: 1.5,
      eosTokenId: [90, 1],
      exponentialDecayLengthPenalty: [4, 1.2],
      topLogProbs: 3,
    },
  ],
  [
    'samples, edited',
    {
      ...LONG,
      doSample: true,
      seed: 6,
      numReturnSequences: 3,
      typicalP: 0.7,
      epsilonCutoff: 0.01,
      etaCutoff: 0.05,
      renormalizeLogits: true,
      removeInvalidValues: true,
    },
  ],
  [
    'beams, edited',
    {
      ...LONG,
      numBeams: 3,
      numReturnSequences: 2,
      encoderNoRepeatNgramSize: 1,
      suppressTokens: [48],
      renormalizeLogits: true,
      topLogProbs: 2,
      eosTokenId: [1, 48, 90],
    },
  ],
  ['beam samples', { ...LONG, doSample: true, seed: 11, numBeams: 3, numReturnSequences: 3 }],
];

const MODELS = ['t5-mha', 't5-gqa2', 't5-wgqa2', 't5-wmqa', 't5v11-mha', 't5v11-wgqa3'];

describe.each(MODELS)('%s', (name) => {
  let model: Model;
  let native: Engine;
  let engine: OnnxEngine;
  beforeAll(async () => {
    model = await loadGoldenModel(name, await readGolden(name));
    native = new Engine(model);
    const directory = temporary();
    await exportOnnx(model, directory);
    engine = await loadOnnx(directory, { threads: 1 });
  });
  afterAll(async () => {
    await engine.close();
    await model.dispose();
  });

  test.each(OPTIONS)('%s: the tokens and scores of the native engine', async (_, options) => {
    for (const inputIds of SOURCES) {
      const request: GenerationRequest = {
        inputIds,
        logProbs: true,
        ...options,
        prompt: undefined,
      };
      const expected = await native.generate(request);
      const actual = await engine.generate(request);
      const tokens = (result: typeof actual): unknown =>
        result.sequences.map(({ tokenIds, finishReason }) => ({ tokenIds, finishReason }));
      expect(tokens(actual)).toEqual(tokens(expected));
      for (const [i, sequence] of actual.sequences.entries()) {
        const { logProbs = [], score } = expected.sequences[i]!;
        expect(sequence.logProbs).toHaveLength(logProbs.length);
        // A sure token's log-probability is near 0: its error is that of logits, some 10 in size.
        for (const [j, logProb] of logProbs.entries()) {
          expect(sequence.logProbs?.[j]).toBeCloseTo(logProb, 3);
        }
        const ids = (rows: typeof sequence.topLogProbs): unknown =>
          rows?.map((row) => row.map(({ tokenId }) => tokenId));
        expect(ids(sequence.topLogProbs)).toEqual(ids(expected.sequences[i]?.topLogProbs));
        expect(sequence.score === undefined).toBe(score === undefined);
        if (score !== undefined) expect(sequence.score).toBeCloseTo(score, 4);
      }
      expect(actual.generatedTokens).toBe(expected.generatedTokens);
      expect(actual.promptTokens).toBe(inputIds.length);
    }
  });
});

describe('an engine', () => {
  let directory = '';
  let engine: OnnxEngine;
  beforeAll(async () => {
    directory = temporary();
    await using model = await talkativeModel();
    await exportOnnx(model, directory);
    await exportOnnx(model, directory, { quantize: 'int8' });
    engine = await loadOnnx(directory, { threads: 1 });
  });
  afterAll(async () => {
    await engine.close();
  });
  const endless = { inputIds: [5, 6, 7, 1], maxNewTokens: 4000, eosTokenId: 99 };

  test('masks what a mask says, or what pads', async () => {
    const one = { inputIds: [5, 6, 7, 1], maxNewTokens: 6, eosTokenId: 99, logProbs: true };
    const plain = await engine.generate(one);
    const padded = await engine.generate({ ...one, inputIds: [0, 0, ...one.inputIds, 0] });
    expect(padded.sequences).toEqual(plain.sequences);
    const hiding = (token: number) => ({
      ...one,
      inputIds: [5, token, 6, 7, 1],
      attentionMask: [1, 0, 1, 1, 1],
    });
    const hidden = await engine.generate(hiding(8));
    expect(hidden.promptTokens).toBe(4);
    expect((await engine.generate(hiding(40))).sequences).toEqual(hidden.sequences);
    expect(hidden.sequences).not.toEqual(plain.sequences);
  });

  test('ends a stream with the result, and sequences after maxTime', async () => {
    const request = { inputIds: [5, 6, 7, 1], maxNewTokens: 4, eosTokenId: 99, topLogProbs: 2 };
    const { sequences } = await engine.generate(request);
    const stream = engine.stream(request);
    const alternatives: unknown[] = [];
    for await (const { topLogProbs } of stream) alternatives.push(topLogProbs);
    expect((await stream.result).sequences).toEqual(sequences);
    expect(alternatives).toEqual(sequences[0]?.topLogProbs);
    const timed = await engine.generate({ ...endless, maxTime: 0.02 });
    expect(timed.sequences[0]?.finishReason).toBe('time');
    const nothing = { suppressTokens: Array.from({ length: 100 }, (_, id) => id) };
    const blocked = await engine.generate({ ...request, ...nothing });
    expect(blocked.sequences[0]?.finishReason).toBe('blocked');
  });

  test('takes many requests at once', async () => {
    const one = { inputIds: [5, 6, 7, 1], maxNewTokens: 6, eosTokenId: 99 };
    const alone = await engine.generate(one);
    const others = SOURCES.map((inputIds) => engine.generate({ ...one, inputIds }));
    const again = await engine.generate(one);
    expect(again.sequences).toEqual(alone.sequences);
    expect((await Promise.all(others)).every(({ sequences }) => sequences.length === 1)).toBe(true);
  });

  test('streams what it generates', async () => {
    const sampling = { doSample: true, seed: 3 };
    const request = { inputIds: [5, 6, 7, 1], maxNewTokens: 6, eosTokenId: 99, ...sampling };
    const { sequences } = await engine.generate(request);
    const tokens: number[] = [];
    for await (const { tokenId, sequence } of engine.stream(request)) {
      expect(sequence).toBe(0);
      tokens.push(tokenId);
    }
    expect(tokens).toEqual(sequences[0]?.tokenIds);
    // Leaving the loop gives the thread to the next request.
    for await (const _ of engine.stream(endless)) break;
    expect((await engine.generate(request)).sequences).toEqual(sequences);
  });

  test('stops for a signal, a timeout and a close, and goes on with the next request', async () => {
    const abort = new AbortController();
    const chunks = engine.stream(endless, { signal: abort.signal });
    await chunks.next();
    const waiting = errorOf(() => engine.generate(endless, { signal: abort.signal }));
    abort.abort('enough');
    expect(await waiting).toMatchObject({ code: 'ABORTED', cause: 'enough' });
    const unread = async (): Promise<void> => {
      for await (const _ of chunks) continue;
    };
    expect(await errorOf(unread)).toMatchObject({ code: 'ABORTED', cause: 'enough' });
    const aborted = { signal: AbortSignal.abort('before') };
    expect(await errorOf(() => engine.generate(endless, aborted))).toMatchObject({
      code: 'ABORTED',
    });
    const late = await errorOf(() => engine.generate({ ...endless, timeout: 20 }));
    expect(late).toMatchObject({ code: 'TIMEOUT', field: 'timeout' });
    const after = await engine.generate({ inputIds: [5, 1], maxNewTokens: 2 });
    expect(after.sequences).toHaveLength(1);
  });

  test('finishes what it has, or ends it, when it is closed', async () => {
    const second = await loadOnnx(directory);
    const short = second.generate({ inputIds: [5, 6, 1], maxNewTokens: 3, eosTokenId: 99 });
    const closing = second.close();
    expect((await short).generatedTokens).toBe(3);
    await closing;
    expect((await errorOf(() => second.generate(endless))).code).toBe('DISPOSED');
    const third = await loadOnnx(directory);
    const running = errorOf(() => third.generate(endless));
    await third.close({ mode: 'abort' });
    expect((await running).code).toBe('DISPOSED');
  });

  test('runs a merged decoder and int8 graphs', async () => {
    const request = { inputIds: [5, 6, 7, 1], maxNewTokens: 8, eosTokenId: 99, numBeams: 3 };
    const expected = await engine.generate(request);
    const merged = temporary();
    await mkdir(path.join(merged, 'onnx'));
    for (const file of [
      'config.json',
      'onnx/encoder_model.onnx',
      'onnx/decoder_model_merged.onnx',
    ]) {
      await copyFile(path.join(directory, file), path.join(merged, file));
    }
    await using mergedEngine = await loadOnnx(merged);
    expect((await mergedEngine.generate(request)).sequences).toEqual(expected.sequences);
    await using int8 = await loadOnnx(directory, { quantize: 'int8' });
    const { sequences } = await int8.generate(request);
    expect(sequences[0]?.tokenIds).toHaveLength(8);
    expect(sequences[0]?.score).not.toBe(expected.sequences[0]?.score);
  });

  test.each<[unknown, string, string]>([
    [{ inputIds: [5, 100] }, 'INVALID_ARGUMENT', 'inputIds[1]'],
    [{ inputIds: [] }, 'INVALID_ARGUMENT', 'inputIds'],
    [{ prompt: 'text' }, 'INVALID_ARGUMENT', 'prompt'],
    [
      { inputIds: [5], numBeams: 2, numReturnSequences: 3 },
      'INVALID_ARGUMENT',
      'numReturnSequences',
    ],
    [{ inputIds: [5], numReturnSequences: 2 }, 'INVALID_ARGUMENT', 'numReturnSequences'],
    [{ inputIds: [5], minNewTokens: 30 }, 'INVALID_ARGUMENT', 'minNewTokens'],
    [{ inputIds: [5], topKay: 3 }, 'INVALID_ARGUMENT', 'topKay'],
    [{ inputIds: [5], attentionMask: [0] }, 'INVALID_ARGUMENT', 'attentionMask'],
    [
      { inputIds: [5], doSample: true, numReturnSequences: 257 },
      'INVALID_ARGUMENT',
      'numReturnSequences',
    ],
    [{ inputIds: [5], logitsProcessors: [() => undefined] }, 'UNSUPPORTED', 'logitsProcessors'],
  ])('refuses %j', async (request, code, field) => {
    const failure = await failureOf(() => engine.generate(request as GenerationRequest));
    expect(failure).toEqual({ code, field });
    const streamed = await failureOf(() => engine.stream(request as GenerationRequest).next());
    expect(streamed).toEqual({ code, field });
  });

  test('does not stream beams', async () => {
    const failure = await failureOf(() => engine.stream({ inputIds: [5], numBeams: 2 }).next());
    expect(failure).toEqual({ code: 'INVALID_ARGUMENT', field: 'numBeams' });
  });
});

test('text goes in and out, and stop strings end it', async () => {
  const source = temporary();
  await saveTextModel(source);
  await using model = await loadModel(source);
  const directory = temporary();
  await exportOnnx(model, directory);
  await using native = new Engine(model);
  await using engine = await loadOnnx(directory);
  const request = {
    prompt: 'hello world',
    maxNewTokens: 12,
    minNewTokens: 12,
    doSample: true,
    seed: 1,
  };
  const free = await native.generate(request);
  const text = free.sequences[0]?.text ?? '';
  expect((await engine.generate(request)).sequences).toEqual(free.sequences);
  const middle = Math.floor(text.length / 2);
  const stop = text.slice(middle, middle + 2);
  expect(stop).toHaveLength(2);
  for (const numBeams of [1, 2]) {
    const stopped = { ...request, stop, numBeams, numReturnSequences: numBeams };
    const expected = await native.generate(stopped);
    const actual = await engine.generate(stopped);
    const outcome = (result: typeof actual): unknown =>
      result.sequences.map(({ tokenIds, text, finishReason }) => ({
        tokenIds,
        text,
        finishReason,
      }));
    expect(outcome(actual)).toEqual(outcome(expected));
  }
  const { sequences } = await engine.generate({ ...request, stop });
  expect(sequences[0]).toMatchObject({
    text: text.slice(0, text.indexOf(stop)),
    finishReason: 'stop',
  });
});

describe('what cannot be loaded', () => {
  async function exported(): Promise<string> {
    const directory = temporary();
    await using model = await talkativeModel();
    await exportOnnx(model, directory);
    return directory;
  }

  test.each<[string, (directory: string) => Promise<unknown>, string]>([
    ['no directory', (d) => rm(d, { recursive: true }), 'NOT_FOUND'],
    ['no config.json', (d) => rm(path.join(d, 'config.json')), 'NOT_FOUND'],
    [
      'another architecture',
      (d) => writeFile(path.join(d, 'config.json'), '{"model_type": "bart"}'),
      'UNSUPPORTED',
    ],
    ['no graphs', (d) => rm(path.join(d, 'onnx'), { recursive: true }), 'NOT_FOUND'],
    ['no encoder', (d) => rm(path.join(d, 'onnx/encoder_model.onnx')), 'NOT_FOUND'],
    [
      'a broken graph',
      (d) => writeFile(path.join(d, 'onnx/encoder_model.onnx'), 'no protobuf'),
      'INVALID_FILE',
    ],
    [
      'an encoder for a decoder',
      (d) =>
        copyFile(path.join(d, 'onnx/encoder_model.onnx'), path.join(d, 'onnx/decoder_model.onnx')),
      'INVALID_FILE',
    ],
  ])('%s', async (_, spoil, code) => {
    const directory = await exported();
    await spoil(directory);
    expect((await errorOf(() => loadOnnx(directory))).code).toBe(code);
  });

  test('a vocabulary that is not the graphs', async () => {
    const directory = await exported();
    await using model = await talkativeModel();
    const config = {
      ...model.config,
      vocab_size: 101,
      num_key_value_heads: undefined,
      wgqa: undefined,
    };
    await writeFile(path.join(directory, 'config.json'), JSON.stringify(config));
    await using engine = await loadOnnx(directory);
    const failure = await failureOf(() => engine.generate({ inputIds: [5, 1] }));
    expect(failure).toEqual({ code: 'INVALID_FILE', field: 'logits' });
  });

  test('after an abort', async () => {
    const directory = await exported();
    const aborted = errorOf(() => loadOnnx(directory, { signal: AbortSignal.abort('no') }));
    expect(await aborted).toMatchObject({ code: 'ABORTED', cause: 'no' });
    const abort = new AbortController();
    const loading = errorOf(() => loadOnnx(directory, { signal: abort.signal }));
    setImmediate(() => {
      abort.abort('changed my mind');
    });
    expect(await loading).toMatchObject({ code: 'ABORTED', cause: 'changed my mind' });
  });

  test('without onnxruntime-node: the message says what to install', async () => {
    const { code, field, message } = await errorOf(() => loadRuntime('onnxruntime-nowhere'));
    expect({ code, field }).toEqual({ code: 'PEER_UNAVAILABLE', field: 'onnxruntime-nowhere' });
    expect(message).toContain('npm install onnxruntime-nowhere');
  });

  test('a graph without a name that is needed', async () => {
    const failure = await failureOf(() => {
      checkNames('decoder_model', ['input_ids'], ['input_ids', 'logits']);
    });
    expect(failure).toEqual({ code: 'INVALID_FILE', field: 'logits' });
  });

  test.each([
    [{ threads: 0 }, 'threads'],
    [{ executionProviders: [] }, 'executionProviders'],
    [{ quantize: 'int4' }, 'quantize'],
    [{ thread: 1 }, 'thread'],
  ])('options %j', async (options, field) => {
    const failure = await failureOf(() => loadOnnx(temporary(), options as never));
    expect(failure).toEqual({ code: 'INVALID_ARGUMENT', field });
  });
});
