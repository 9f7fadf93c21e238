import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { readFile, readdir, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type * as ort from 'onnxruntime-node';
import { exportOnnx, loadModel, type Model } from '../../src/index.ts';
import { useTemporaryDirectories } from '../support/directories.ts';
import { errorOf, failureOf } from '../support/errors.ts';
import { GOLDEN_CASES, loadGoldenModel, readGolden } from '../support/golden.ts';
import {
  bool,
  emptyPast,
  integers,
  openGraph,
  pastOf,
  toTensor,
  type Values,
} from '../support/onnx.ts';
import { expectClose, relativeError } from '../support/tensors.ts';
import { TINY_V10, tinyModel } from '../support/tiny-model.ts';
import { makeVariant, VARIANTS } from '../support/variants.ts';

/** Both sides compute in float32, in different orders: the row "end to end" of CONTRIBUTING.md. */
const TOLERANCE = 1e-4;
/**
 * Inputs have one scale per tensor, and the weights of these random models no structure: 1.9 % to
 * 5.5 % were measured, the same with and without VNNI. Products that saturate gave 9 % to 71 %, a
 * wrong scale or zero point some 100 %.
 */
const INT8_TOLERANCE = 7e-2;

const temporary = useTemporaryDirectories();

/** Two sources, the second padded, and as many tokens of the decoder. */
const BATCH = {
  inputIds: [
    [5, 6, 7, 8, 9, 10, 1],
    [9, 3, 12, 1, 0, 0, 0],
  ],
  attentionMask: [
    [1, 1, 1, 1, 1, 1, 1],
    [1, 1, 1, 1, 0, 0, 0],
  ],
  decoderInputIds: [
    [0, 4, 9, 17, 2],
    [0, 8, 2, 30, 7],
  ],
} as const;

interface Encoded {
  readonly directory: string;
  readonly source: Values;
}

async function encode(model: Model, quantize?: 'int8'): Promise<Encoded> {
  const directory = temporary();
  await exportOnnx(model, directory, quantize && { quantize });
  const encoder = await openGraph(
    directory,
    quantize ? 'encoder_model_quantized' : 'encoder_model',
  );
  const mask = integers(BATCH.attentionMask);
  const states = await encoder.run({ input_ids: integers(BATCH.inputIds), attention_mask: mask });
  const source = {
    encoder_attention_mask: mask,
    encoder_hidden_states: states['last_hidden_state'] as ort.Tensor,
  };
  return { directory, source };
}

const columns = (begin: number, end: number): ort.Tensor =>
  integers(BATCH.decoderInputIds.map((row) => row.slice(begin, end)));

describe.each(VARIANTS)('$name', (variant) => {
  test('all steps, one after another and from both kinds of file, equal the native model', async () => {
    await using model = await makeVariant(variant);
    const { logits, encoderStates } = await model.forward(BATCH);
    const { directory, source } = await encode(model);
    const { encoder_attention_mask: mask, encoder_hidden_states: states } = source;
    for (const row of [0, 1]) {
      // Behind a source's end the native model leaves zeros, the graph computes what nobody reads.
      const length = BATCH.attentionMask[row]!.reduce<number>((sum, one) => sum + one, 0);
      const part = (data: Float32Array): Float32Array =>
        data.subarray(row * 7 * 16, row * 7 * 16 + length * 16);
      const actual = part(toTensor(states).data);
      expect(relativeError(actual, part(encoderStates!.data))).toBeLessThan(TOLERANCE);
    }
    const decoder = await openGraph(directory, 'decoder_model');
    const later = await openGraph(directory, 'decoder_with_past_model');
    const merged = await openGraph(directory, 'decoder_model_merged');
    const whole = await decoder.run({ ...source, input_ids: columns(0, 5) });
    expectClose('logits', toTensor(whole['logits']), logits, TOLERANCE);

    const empty = { ...emptyPast(merged, model, 2), use_cache_branch: bool(false) };
    const first = await merged.run({ ...source, ...empty, input_ids: columns(0, 1) });
    let past = pastOf(first);
    for (const [begin, end] of [
      [1, 2],
      [2, 4],
      [4, 5],
    ] as const) {
      const tokens = { encoder_attention_mask: mask!, input_ids: columns(begin, end), ...past };
      const step = await later.run(tokens);
      const same = await merged.run({ ...source, ...tokens, use_cache_branch: bool(true) });
      const expected = slice(logits, begin, end);
      expectClose(`logits ${begin}`, toTensor(step['logits']), expected, TOLERANCE);
      expectClose(`merged ${begin}`, toTensor(same['logits']), expected, TOLERANCE);
      past = { ...past, ...pastOf(step) };
    }
    const kvHeads = variant.conversion?.kvHeads ?? 4;
    for (const [name, { dims }] of Object.entries(past)) {
      expect({ name, dims }).toEqual({
        name,
        dims: [2, kvHeads, name.includes('decoder') ? 5 : 7, 6],
      });
    }
  });

  test('int8 stays close', async () => {
    await using model = await makeVariant(variant);
    const { logits } = await model.forward(BATCH);
    const { directory, source } = await encode(model, 'int8');
    const decoder = await openGraph(directory, 'decoder_model_quantized');
    const whole = await decoder.run({ ...source, input_ids: columns(0, 5) });
    const actual = toTensor(whole['logits']);
    expectClose('logits', actual, logits, INT8_TOLERANCE);
    // Weights of 8 bits cannot be exact: these are not the float32 graphs.
    expect(relativeError(actual.data, logits.data)).toBeGreaterThan(1e-4);
  });
});

test.each(['gelu', 'gated-silu'])('the activation %s', async (feed_forward_proj) => {
  await using model = await tinyModel({ ...TINY_V10, feed_forward_proj });
  const { logits } = await model.forward(BATCH);
  const { directory, source } = await encode(model);
  const decoder = await openGraph(directory, 'decoder_model');
  const whole = await decoder.run({ ...source, input_ids: columns(0, 5) });
  expectClose('logits', toTensor(whole['logits']), logits, TOLERANCE);
});

/** Columns [begin, end) of [rows, columns, width]. */
function slice(
  { data, shape }: { data: Float32Array; shape: readonly number[] },
  begin: number,
  end: number,
) {
  const [rows = 0, width = 0, vocab = 0] = shape;
  const parts = Array.from({ length: rows }, (_, row) => [
    ...data.subarray((row * width + begin) * vocab, (row * width + end) * vocab),
  ]);
  return { data: Float32Array.from(parts.flat()), shape: [rows, end - begin, vocab] };
}

test.each(GOLDEN_CASES)('%s: padded batch and labels of the reference', async (name) => {
  const golden = await readGolden(name);
  await using model = await loadGoldenModel(name, golden);
  const directory = temporary();
  await exportOnnx(model, directory);
  const { inputIds, attentionMask, labels } = golden.batch;
  const { logits } = await model.forward({ inputIds, attentionMask, labels });
  const rows = (block: typeof inputIds): number[][] => {
    const { data, shape } = block as { data: BigInt64Array; shape: number[] };
    const width = shape[1] ?? 0;
    const numbers = Array.from(data, Number);
    return Array.from({ length: shape[0] ?? 0 }, (_, i) =>
      numbers.slice(i * width, (i + 1) * width),
    );
  };
  const mask = integers(rows(attentionMask));
  const encoder = await openGraph(directory, 'encoder_model');
  const states = await encoder.run({ input_ids: integers(rows(inputIds)), attention_mask: mask });
  const decoder = await openGraph(directory, 'decoder_model');
  const shifted = rows(labels).map((row) => [0, ...row.slice(0, -1)].map((id) => Math.max(id, 0)));
  const { logits: actual } = await decoder.run({
    encoder_attention_mask: mask,
    encoder_hidden_states: states['last_hidden_state'] as ort.Tensor,
    input_ids: integers(shifted),
  });
  const [, width = 0, vocab = 0] = logits.shape;
  for (const [row, ids] of rows(labels).entries()) {
    const length = ids.findIndex((id) => id === -100);
    const end = (row * width + (length < 0 ? width : length)) * vocab;
    const part = (data: Float32Array): Float32Array => data.subarray(row * width * vocab, end);
    expect(relativeError(part(toTensor(actual).data), part(logits.data))).toBeLessThan(TOLERANCE);
  }
});

describe('files', () => {
  let model: Model;
  beforeAll(async () => {
    model = await tinyModel();
  });
  afterAll(async () => {
    await model.dispose();
  });

  test('have the inputs and outputs that Optimum and transformers.js expect', async () => {
    const directory = temporary();
    await exportOnnx(model, directory);
    const layers = [0, 1, 2];
    const cache = (kinds: readonly string[]) => (prefix: string) =>
      layers.flatMap((i) =>
        kinds.flatMap((kind) => ['key', 'value'].map((part) => `${prefix}.${i}.${kind}.${part}`)),
      );
    const all = cache(['decoder', 'encoder']);
    const own = cache(['decoder']);
    const expected: Record<string, [string[], string[]]> = {
      encoder_model: [['input_ids', 'attention_mask'], ['last_hidden_state']],
      decoder_model: [
        ['encoder_attention_mask', 'input_ids', 'encoder_hidden_states'],
        ['logits', ...all('present')],
      ],
      decoder_with_past_model: [
        ['encoder_attention_mask', 'input_ids', ...all('past_key_values')],
        ['logits', ...own('present')],
      ],
      decoder_model_merged: [
        [
          ...['encoder_attention_mask', 'input_ids', 'encoder_hidden_states'],
          ...[...all('past_key_values'), 'use_cache_branch'],
        ],
        ['logits', ...all('present')],
      ],
    };
    for (const [file, [inputs, outputs]] of Object.entries(expected)) {
      const session = await openGraph(directory, file);
      expect([session.inputNames, session.outputNames]).toEqual([inputs, outputs]);
    }
  });

  test('say what they are in config.json, without merge weights', async () => {
    await using converted = await model.convert({ kvHeads: 2, merge: 'weighted' });
    const directory = temporary();
    const { files } = await exportOnnx(converted, directory);
    expect(files).toEqual([
      ...['generation_config.json', 'config.json'],
      ...['encoder_model', 'decoder_model', 'decoder_with_past_model', 'decoder_model_merged'].map(
        (name) => `onnx/${name}.onnx`,
      ),
    ]);
    const config = JSON.parse(
      await readFile(path.join(directory, 'config.json'), 'utf8'),
    ) as object;
    expect(config).toMatchObject({ model_type: 't5', num_heads: 4, num_key_value_heads: 2 });
    expect(config).not.toHaveProperty('wgqa');
    // It is still the caller's to use.
    expect(converted.config.wgqa?.merge).toBe('weighted');
  });

  test('carry the tokenizer along', async () => {
    const source = temporary();
    await model.save(source);
    await writeFile(path.join(source, 'tokenizer.json'), '{"kept": "as it is"}');
    await using loaded = await loadModel(source);
    const directory = temporary();
    await exportOnnx(loaded, directory);
    expect(await readFile(path.join(directory, 'tokenizer.json'), 'utf8')).toBe(
      '{"kept": "as it is"}',
    );
  });

  test('keep weights beside the graph where a file would be too large', async () => {
    const directory = temporary();
    await exportOnnx(model, directory, { maxFileBytes: 4096 });
    const names = await readdir(path.join(directory, 'onnx'));
    expect(names).toContain('decoder_model_merged.onnx_data');
    const config = JSON.parse(await readFile(path.join(directory, 'config.json'), 'utf8')) as {
      'transformers.js_config': unknown;
    };
    expect(config['transformers.js_config']).toMatchObject({
      use_external_data_format: { 'encoder_model.onnx': 1, 'decoder_model_merged.onnx': 1 },
    });
    const outside = await logitsOf(directory);
    // The next export is small enough, and must not leave the old weights lying about.
    await exportOnnx(model, directory);
    expect(
      (await readdir(path.join(directory, 'onnx'))).filter((n) => n.endsWith('_data')),
    ).toEqual([]);
    expect(await logitsOf(directory)).toEqual(outside);
  });

  async function logitsOf(directory: string): Promise<Float32Array> {
    const decoder = await openGraph(directory, 'decoder_model');
    const { logits } = await decoder.run({
      encoder_attention_mask: integers([[1, 1]]),
      encoder_hidden_states: new (await import('onnxruntime-node')).Tensor(
        'float32',
        Float32Array.from({ length: 2 * TINY_V10.d_model }, (_, i) => Math.sin(i)),
        [1, 2, TINY_V10.d_model],
      ),
      input_ids: integers([[0, 3]]),
    });
    return toTensor(logits).data;
  }

  test('of both precisions lie in one directory, int8 in less than half the bytes', async () => {
    await using wide = await tinyModel({ ...TINY_V10, d_model: 96, d_ff: 256, d_kv: 24 });
    const directory = temporary();
    const float = await exportOnnx(wide, directory);
    const int8 = await exportOnnx(wide, directory, { quantize: 'int8' });
    expect(int8.weightBytes).toBeLessThan(0.5 * float.weightBytes);
    const names = await readdir(path.join(directory, 'onnx'));
    expect(names.filter((name) => name.endsWith('_quantized.onnx'))).toHaveLength(4);
    expect(names).toHaveLength(8);
    const size = async (name: string): Promise<number> =>
      (await stat(path.join(directory, 'onnx', name))).size;
    expect(await size('encoder_model_quantized.onnx')).toBeLessThan(
      await size('encoder_model.onnx'),
    );
  });

  test('are all there or none: an abort leaves nothing', async () => {
    const directory = path.join(temporary(), 'out');
    const abort = new AbortController();
    const seen: number[] = [];
    const onProgress = (done: number, total: number): void => {
      seen.push(done / total);
      if (done > total / 2) abort.abort('enough');
    };
    const { code, cause } = await errorOf(() =>
      exportOnnx(model, directory, { signal: abort.signal, onProgress }),
    );
    expect({ code, cause }).toEqual({ code: 'ABORTED', cause: 'enough' });
    expect(seen.at(-1)).toBeLessThan(1);
    await expect(readdir(directory)).rejects.toThrow('ENOENT');
  });

  test('progress ends at all bytes', async () => {
    let last: [number, number] = [0, 1];
    const { weightBytes } = await exportOnnx(model, temporary(), {
      onProgress: (done, total) => (last = [done, total]),
    });
    expect(last).toEqual([weightBytes, weightBytes]);
  });

  test.each([
    { options: { quantize: 'int4' }, field: 'quantize' },
    { options: { maxFileBytes: 0 }, field: 'maxFileBytes' },
    { options: { dtype: 'float16' }, field: 'dtype' },
  ])('refuse $options', async ({ options, field }) => {
    const failure = await failureOf(() => exportOnnx(model, temporary(), options as never));
    expect(failure).toEqual({ code: 'INVALID_ARGUMENT', field });
  });

  test('refuse a disposed model and a place that is no directory', async () => {
    const gone = await tinyModel();
    await gone.dispose();
    expect((await errorOf(() => exportOnnx(gone, temporary()))).code).toBe('DISPOSED');
    const file = path.join(temporary(), 'file');
    await writeFile(file, '');
    expect((await errorOf(() => exportOnnx(model, file))).code).toBe('IO');
  });
});
