/** What a checkpoint's generation_config.json does: all of it, or a warning names what it does not. */
import { cp, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { parseGenerationDefaults } from '../../src/decode/generation-defaults.ts';
import {
  Engine,
  loadModel,
  type GenerationRequest,
  type GenerationResult,
} from '../../src/index.ts';
import { saveTextModel } from '../support/decoding.ts';
import { useTemporaryDirectories } from '../support/directories.ts';
import { errorOf } from '../support/errors.ts';

const temporary = useTemporaryDirectories();
let source = '';
const emitted = jest.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
const warnings = (): unknown[] => emitted.mock.calls.map(([message]) => message);

beforeAll(async () => {
  source = temporary();
  await saveTextModel(source);
});

afterEach(() => {
  emitted.mockClear();
});

const SOURCE = [5, 6, 7, 1];

async function directoryOf(config: object): Promise<string> {
  const directory = temporary();
  await cp(source, directory, { recursive: true });
  await writeFile(path.join(directory, 'generation_config.json'), JSON.stringify(config));
  return directory;
}

async function run(config: object, requests: Partial<GenerationRequest>[] = [{}]) {
  await using model = await loadModel(await directoryOf(config));
  await using engine = new Engine(model);
  const results: GenerationResult[] = [];
  for (const request of requests) {
    results.push(await engine.generate({ inputIds: SOURCE, ...request } as GenerationRequest));
  }
  return results.map(({ sequences }) => sequences.map(({ tokenIds }) => tokenIds));
}

/** Tokens of one greedy request of 6 tokens at most. */
async function tokensWith(config: object): Promise<number[]> {
  const [[tokens = []] = []] = await run(config, [{ maxNewTokens: 6 }]);
  return tokens;
}

describe('a key of generation_config.json', () => {
  const EOS = { eos_token_id: 99 };

  test('forced_bos_token_id and forced_eos_token_id force the ends', async () => {
    const tokens = await tokensWith({ ...EOS, forced_bos_token_id: 9, forced_eos_token_id: [10] });
    expect(tokens).toHaveLength(6);
    expect(tokens[0]).toBe(9);
    expect(tokens.at(-1)).toBe(10);
  });

  test('suppress_tokens, begin_suppress_tokens and bad_words_ids ban tokens', async () => {
    const [first = 0, second = 0, third = 0] = await tokensWith(EOS);
    expect(await tokensWith({ ...EOS, suppress_tokens: [first] })).not.toContain(first);
    expect((await tokensWith({ ...EOS, begin_suppress_tokens: [first] }))[0]).not.toBe(first);
    expect(await tokensWith({ ...EOS, bad_words_ids: [[first]] })).not.toContain(first);
    const word = [first, second, third];
    const without = await tokensWith({ ...EOS, bad_words_ids: [word] });
    expect(without.slice(0, 2)).toEqual([first, second]);
    expect(without[2]).not.toBe(third);
  });

  test('sequence_bias pushes a token', async () => {
    const tokens = await tokensWith({ ...EOS, sequence_bias: [[[9], 1e4]] });
    expect(tokens).toEqual([9, 9, 9, 9, 9, 9]);
  });

  test('stop_strings end the text', async () => {
    const config = { ...EOS, max_new_tokens: 12, no_repeat_ngram_size: 2 };
    await using model = await loadModel(await directoryOf(config));
    await using engine = new Engine(model);
    const { text = '' } = (await engine.generate({ inputIds: SOURCE })).sequences[0] ?? {};
    const stop = text.slice(4, 6);
    const expected = await engine.generate({ inputIds: SOURCE, stop });
    expect(expected.sequences[0]).toMatchObject({ finishReason: 'stop', stopString: stop });
    const [stopped] = await run({ ...config, stop_strings: [stop] });
    expect(stopped).toEqual([expected.sequences[0]?.tokenIds]);
  });

  test('that is not applied is named in one warning', async () => {
    const config = {
      ...EOS,
      penalty_alpha: 0.6,
      num_beam_groups: 2,
      diversity_penalty: 0.5,
      some_new_key: 1,
      // Off, or without effect on tokens.
      guidance_scale: 1,
      constraints: null,
      force_words_ids: [],
      use_cache: true,
      transformers_version: '5.0.0',
      top_k: null,
    };
    await run(config, [{ maxNewTokens: 2 }, { maxNewTokens: 2 }]);
    expect(warnings()).toEqual([
      'generation_config.json has keys that wgqa does not apply: "diversity_penalty", ' +
        '"num_beam_groups", "penalty_alpha", "some_new_key"',
    ]);
  });
});

describe('defaults of a checkpoint never make a request fail', () => {
  test.each<[string, object, Partial<GenerationRequest>, number]>([
    ['min_length beyond the tokens asked for', { min_length: 30 }, { maxNewTokens: 8 }, 8],
    ['min_new_tokens, too', { min_new_tokens: 30 }, { maxNewTokens: 8 }, 8],
    ['max_length below the tokens asked for', { max_length: 4 }, { minNewTokens: 9 }, 9],
    ['max_length of the start token alone', { max_length: 1, eos_token_id: 99 }, {}, 20],
    ['more sequences than are decoded', { num_return_sequences: 3, eos_token_id: 99 }, {}, 20],
    ['fewer beams than sequences', { num_return_sequences: 3, max_length: 9 }, { numBeams: 2 }, 8],
    ['an end token beyond the vocabulary', { eos_token_id: 50_000 }, { maxNewTokens: 5 }, 5],
  ])('%s', async (_name, config, request, length) => {
    const [sequences = []] = await run(config, [{ minNewTokens: length, ...request }]);
    expect(sequences[0]).toHaveLength(length);
  });

  test('sampling options count only where tokens are sampled', async () => {
    const [greedy] = await run({}, [{ maxNewTokens: 6 }]);
    const config = { do_sample: false, temperature: 0, top_p: 0, top_k: -1, typical_p: 0 };
    expect(await run(config, [{ maxNewTokens: 6 }])).toEqual([greedy]);
    expect(warnings()).toEqual([]);
    await run(config, [{ maxNewTokens: 6, doSample: true, topK: 3 }]);
    expect(warnings()).toHaveLength(3);
    expect(warnings().join()).toMatch(
      /temperature of generation_config.json is not .* 0: not applied/,
    );
  });

  test('a stream has no beams', async () => {
    const config = { eos_token_id: 99, max_new_tokens: 4 };
    const beams = { num_beams: 4, num_return_sequences: 4 };
    await using model = await loadModel(await directoryOf({ ...config, ...beams }));
    await using engine = new Engine(model);
    const tokens: number[] = [];
    for await (const { tokenId } of engine.stream({ inputIds: SOURCE })) tokens.push(tokenId);
    expect([[tokens]]).toEqual(await run(config));
  });

  test('lengths count the prefix of the decoder', async () => {
    const config = { max_length: 8, min_length: 8, eos_token_id: 99 };
    const [plain, prefixed] = await run(config, [{}, { decoderInputIds: [9, 8, 7] }]);
    expect(plain?.[0]).toHaveLength(7);
    expect(prefixed?.[0]).toHaveLength(7);
  });
});

test('values that are malformed are refused by name', async () => {
  const parse = (json: Record<string, unknown>) => parseGenerationDefaults(json, 'g.json');
  for (const [key, value] of [
    ['num_beams', 0],
    ['temperature', 'hot'],
    ['bad_words_ids', [[1], []]],
    ['forced_bos_token_id', -1],
    ['exponential_decay_length_penalty', [1]],
    ['sequence_bias', [[[1], 'x']]],
  ] as const) {
    const error = await errorOf(() => parse({ [key]: value }));
    expect(error).toMatchObject({ code: 'INVALID_FILE', field: key });
    expect(error.message).toContain('g.json');
  }
  const { options } = parse({
    num_beams: 4,
    early_stopping: true,
    eos_token_id: [1, 2],
    top_k: null,
  });
  expect(options).toEqual({ numBeams: 4, earlyStopping: true, eosTokenId: [1, 2] });
  expect(parse({ max_length: 64 }).lengthsAfter(1).maxNewTokens).toBe(63);
  expect(parse({ max_length: 20 }).lengthsAfter(5).maxNewTokens).toBe(20);
  expect(parse({ max_new_tokens: 7, max_length: 64 }).lengthsAfter(1).maxNewTokens).toBe(7);
});
