import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Engine, loadModel, loadTokenizer, type Model } from '../../src/index.ts';
import { collect, saveTextModel } from '../support/decoding.ts';
import { useTemporaryDirectories } from '../support/directories.ts';
import { errorOf } from '../support/errors.ts';
import { tinyModel, TINY_V10 } from '../support/tiny-model.ts';
import { directoryWith, unigramTokenizer } from '../tokenizer/fixtures.ts';

const newDirectory = useTemporaryDirectories();
const REQUEST = { prompt: 'abc', maxNewTokens: 12, minNewTokens: 12, noRepeatNgramSize: 2 };

let directory: string;
let model: Model;
let engine: Engine;

beforeAll(async () => {
  directory = newDirectory();
  await saveTextModel(directory);
  model = await loadModel(directory);
  engine = new Engine(model);
});

afterAll(async () => {
  await model.dispose();
});

describe('text in, text out', () => {
  test('is what the tokenizer makes of the ids', async () => {
    const tokenizer = await loadTokenizer(directory);
    const { sequences, promptTokens } = await engine.generate(REQUEST);
    const [sequence] = sequences;
    expect(promptTokens).toBe(tokenizer.encode('abc').length);
    expect(sequence?.text).toBe(tokenizer.decode(sequence?.tokenIds ?? []));
    expect(sequence?.text?.length).toBeGreaterThan(5);
    const { prompt, ...options } = REQUEST;
    const inputIds = [...tokenizer.encode(prompt)];
    expect((await engine.generate({ inputIds, ...options })).sequences).toEqual(sequences);
  });

  test('streams the same text in pieces', async () => {
    const { sequences } = await engine.generate(REQUEST);
    const chunks = await collect(engine.stream(REQUEST));
    expect(chunks.map(({ tokenId }) => tokenId)).toEqual(sequences[0]?.tokenIds);
    expect(chunks.map(({ text }) => text).join('')).toBe(sequences[0]?.text);
  });

  test('follows the model through conversion and folding', async () => {
    const weighted = await model.convert({ preset: 'WGQA' });
    const folded = await weighted.fold();
    const { sequences } = await new Engine(folded).generate(REQUEST);
    expect(sequences[0]?.text).toBeDefined();
    await Promise.all([weighted.dispose(), folded.dispose()]);
  });

  test('a tokenizer can be given to the engine', async () => {
    const other = await tinyModel({ ...TINY_V10, vocab_size: 14 });
    const tokenizer = await loadTokenizer(directory);
    const { sequences } = await new Engine(other, { tokenizer }).generate(REQUEST);
    expect(sequences).toEqual((await engine.generate(REQUEST)).sequences);
    await other.dispose();
  });

  test('a prompt with a piece beyond the embedding is refused', async () => {
    const other = await tinyModel({ ...TINY_V10, vocab_size: 5 });
    const tokenizer = await loadTokenizer(directory);
    const work = new Engine(other, { tokenizer }).generate({ prompt: 'abc' });
    expect((await errorOf(() => work)).field).toMatch(/^prompt\[\d\]$/);
    await other.dispose();
  });
});

describe('stop strings', () => {
  test.each(['alone', 'streamed', 'with log-probabilities'])('%s', async (kind) => {
    const extra = kind === 'with log-probabilities' ? { logProbs: true } : {};
    const whole = (await engine.generate({ ...REQUEST, ...extra })).sequences[0];
    const text = whole?.text ?? '';
    // Two characters from the middle, at their first place.
    const stop = text.slice(4, 6);
    const cut = text.indexOf(stop);
    expect(stop).toHaveLength(2);
    const request = { ...REQUEST, ...extra, stop: ['never there', stop] };
    if (kind === 'streamed') {
      const chunks = await collect(engine.stream(request));
      expect(chunks.map((chunk) => chunk.text).join('')).toBe(text.slice(0, cut));
      return;
    }
    const [sequence] = (await engine.generate(request)).sequences;
    expect(sequence).toMatchObject({ text: text.slice(0, cut), finishReason: 'stop' });
    const length = sequence?.tokenIds.length ?? 0;
    expect(sequence?.tokenIds).toEqual(whole?.tokenIds.slice(0, length));
    expect(length).toBeLessThan(12);
    if (kind === 'with log-probabilities') expect(sequence?.logProbs).toHaveLength(length);
  });

  test('are refused where a token has no text of its own', async () => {
    const wordPieces = { ...unigramTokenizer(), decoder: { type: 'WordPiece', prefix: '##' } };
    const files = await directoryWith({ 'tokenizer.json': wordPieces });
    await using other = new Engine(model, { tokenizer: await loadTokenizer(files) });
    const error = await errorOf(() => other.generate({ ...REQUEST, stop: 'a' }));
    expect(error).toMatchObject({ code: 'UNSUPPORTED', field: 'tokenizer.json: decoder' });
    expect((await other.generate(REQUEST)).sequences).toHaveLength(1);
  });

  test('end a beam, as an end token would', async () => {
    const beams = { ...REQUEST, numBeams: 3, numReturnSequences: 3 };
    const whole = (await engine.generate(beams)).sequences[0]?.text ?? '';
    const stop = whole.slice(4, 6);
    const tokenizer = await loadTokenizer(directory);
    const { sequences } = await engine.generate({ ...beams, stop });
    const ended = sequences.filter(({ finishReason }) => finishReason === 'stop');
    expect(ended.length).toBeGreaterThan(0);
    for (const { text = '', tokenIds } of sequences) {
      expect(text).not.toContain(stop);
      const all = tokenizer.decode(tokenIds);
      expect(all.startsWith(text)).toBe(true);
      // Its last token completed the string.
      expect(tokenizer.decode(tokenIds.slice(0, -1))).not.toContain(stop);
    }
    for (const { text = '', tokenIds } of ended) {
      expect(tokenizer.decode(tokenIds).slice(text.length).startsWith(stop)).toBe(true);
    }
  });
});
