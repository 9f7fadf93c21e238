import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Engine, loadModel, type GenerationOptions, type Model } from '../../src/index.ts';
import {
  collect,
  ENDLESS,
  LONG,
  referencedBlocks,
  saveTextModel,
  talkativeModel,
  tokensOf,
  until,
} from '../support/decoding.ts';
import { useTemporaryDirectories } from '../support/directories.ts';
import { errorOf } from '../support/errors.ts';
import { randomRows } from '../support/tiny-model.ts';
import { byteLevelTokenizer } from '../tokenizer/fixtures.ts';

const newDirectory = useTemporaryDirectories();
const [INPUT = [], OTHER = []] = randomRows(31, [6, 3]);

let model: Model;
let engine: Engine;

beforeAll(async () => {
  model = await talkativeModel();
  engine = new Engine(model, { streamBuffer: 4 });
});

afterAll(async () => {
  await model.dispose();
});

describe('streaming', () => {
  test('yields the tokens of generate, one by one, with log-probabilities', async () => {
    const request = { inputIds: INPUT, ...LONG, logProbs: true };
    const chunks = await collect(engine.stream(request));
    const [sequence] = (await engine.generate(request)).sequences;
    expect(chunks.map(({ tokenId }) => tokenId)).toEqual(sequence?.tokenIds);
    expect(chunks.map(({ logProb }) => logProb)).toEqual(sequence?.logProbs);
    expect(chunks.every(({ text, sequence }) => text === undefined && sequence === 0)).toBe(true);
  });

  test('of several samples interleaves them', async () => {
    const options = { doSample: true, numReturnSequences: 3, seed: 8 };
    const request = { inputIds: INPUT, ...LONG, ...options };
    const chunks = await collect(engine.stream(request));
    const sequences = [0, 1, 2].map((i) => {
      return chunks.filter(({ sequence }) => sequence === i).map(({ tokenId }) => tokenId);
    });
    expect(sequences).toEqual(await tokensOf(engine, request));
    expect(chunks.slice(0, 6).map(({ sequence }) => sequence)).toEqual([0, 1, 2, 0, 1, 2]);
  });

  test.each<[string, GenerationOptions, string]>([
    ['beams', { numBeams: 2 }, 'numBeams'],
    ['several greedy sequences', { numReturnSequences: 2 }, 'numReturnSequences'],
  ])('is refused for %s', async (_name, options, field) => {
    const error = await errorOf(() => engine.stream({ inputIds: INPUT, ...options }).next());
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', field });
  });

  test('gives the blocks back when the loop is left', async () => {
    for await (const { tokenId } of engine.stream(ENDLESS)) {
      expect(tokenId).toBeGreaterThanOrEqual(0);
      break;
    }
    const { aborted } = engine.stats();
    const stats = await until(engine, (now) => now.running + now.held === 0);
    expect(referencedBlocks(stats)).toEqual([0, 0]);
    expect(stats.aborted).toBeGreaterThanOrEqual(aborted);
    expect(stats.generatedTokens).toBeLessThan(ENDLESS.maxNewTokens);
  });

  test('ends with ABORTED and the reason when the signal fires', async () => {
    const controller = new AbortController();
    const stream = engine.stream(ENDLESS, { signal: controller.signal });
    await stream.next();
    controller.abort('enough');
    expect(await errorOf(() => collect(stream))).toMatchObject({
      code: 'ABORTED',
      cause: 'enough',
    });
    expect(referencedBlocks(engine.stats())).toEqual([0, 0]);
    const never = engine.stream(ENDLESS, { signal: controller.signal });
    expect(await errorOf(() => never.next())).toMatchObject({ code: 'ABORTED', cause: 'enough' });
  });
});

describe('a slow reader', () => {
  test('holds up its own request only, and gets the same tokens', async () => {
    // So long that it cannot be done before the engine hears that it should pause.
    const request = { inputIds: INPUT, ...LONG, maxNewTokens: 2000 };
    const expected = await tokensOf(engine, request);
    const slow = engine.stream(request);
    const first = await slow.next();
    const tokens = [first.done ? undefined : first.value.tokenId];
    await until(engine, (stats) => stats.held === 1);
    const before = engine.stats().decodedRows;
    const others = await Promise.all(
      [0, 1].map(() => tokensOf(engine, { inputIds: OTHER, ...LONG })),
    );
    expect(others[0]?.[0]).toHaveLength(24);
    const { held, decodedRows } = engine.stats();
    expect(held).toBe(1);
    // Both others decoded all their tokens meanwhile, and the slow one none.
    expect(decodedRows - before).toBe(48);
    for await (const { tokenId } of slow) tokens.push(tokenId);
    expect([tokens]).toEqual(expected);
  });

  test('whose signal fires while it is held, gets what it has not read, then the error', async () => {
    const controller = new AbortController();
    const stream = engine.stream(ENDLESS, { signal: controller.signal });
    await stream.next();
    await until(engine, (stats) => stats.held === 1);
    controller.abort();
    await until(engine, (stats) => stats.held === 0);
    let read = 0;
    const rest = async () => {
      for await (const _ of stream) read += 1;
    };
    expect((await errorOf(rest)).code).toBe('ABORTED');
    // At least the buffer; at most what was under way when it was full, too.
    expect(read).toBeGreaterThanOrEqual(3);
    expect(read).toBeLessThan(ENDLESS.maxNewTokens);
  });
});

describe('text of streamed chunks', () => {
  test('is whole characters, together the text of the sequence', async () => {
    const directory = newDirectory();
    // Every token is one byte, so that a random model makes characters of several and broken ones.
    await saveTextModel(directory, byteLevelTokenizer());
    await using bytes = await loadModel(directory);
    await using byteEngine = new Engine(bytes);
    const options = { maxNewTokens: 40, minNewTokens: 40, eosTokenId: 255 };
    for (let seed = 0; seed < 8; ++seed) {
      const sampling = { doSample: true, topK: 0, temperature: 3, seed, numReturnSequences: 2 };
      const request = { inputIds: INPUT, ...options, ...sampling };
      const chunks = await collect(byteEngine.stream(request));
      const { sequences } = await byteEngine.generate(request);
      const texts = sequences.map((_, i) => {
        return chunks.filter(({ sequence }) => sequence === i).map(({ text = '' }) => text);
      });
      expect(texts.map((pieces) => pieces.join(''))).toEqual(sequences.map(({ text }) => text));
    }
  });

  test.each([1, 2, 5])(
    'with a stop string of %i characters is cut as afterwards',
    async (length) => {
      const directory = newDirectory();
      await saveTextModel(directory);
      await using textModel = await loadModel(directory);
      await using textEngine = new Engine(textModel);
      for (let seed = 0; seed < 6; ++seed) {
        const sampling = { doSample: true, temperature: 2, topK: 0, seed, numReturnSequences: 2 };
        const request = { prompt: 'abc', maxNewTokens: 24, minNewTokens: 24, ...sampling };
        const whole = (await textEngine.generate(request)).sequences.map(({ text = '' }) => text);
        const stop = whole[0]?.slice(8, 8 + length) ?? '';
        const expected = whole.map((text) => text.split(stop)[0]);
        const { sequences } = await textEngine.generate({ ...request, stop });
        expect(sequences.map(({ text }) => text)).toEqual(expected);
        const chunks = await collect(textEngine.stream({ ...request, stop }));
        const streamed = [0, 1].map((i) => {
          return chunks.filter(({ sequence }) => sequence === i).map(({ text = '' }) => text);
        });
        expect(streamed.map((pieces) => pieces.join(''))).toEqual(expected);
        // The sequence that holds it has stopped there, not merely been cut.
        expect(sequences[0]?.finishReason).toBe('stop');
        expect(textEngine.stats().failed).toBe(0);
      }
    },
  );
});
