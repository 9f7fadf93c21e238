/** One forward pass: padded blocks in, padded blocks out. */
import { totalmem } from 'node:os';
import type { ModelConfig } from '../checkpoint/config.ts';
import { WgqaError } from '../errors.ts';
import type { NativeModel } from '../native.ts';
import { abortable } from './abort.ts';
import { countLabels, prepareBatch, toNativeBatch } from './batch.ts';
import type { ForwardInput, ForwardResult, Tensor } from './types.ts';

/** @throws WgqaError INVALID_ARGUMENT, OUT_OF_MEMORY, ABORTED */
export async function forward(
  native: NativeModel,
  config: ModelConfig,
  input: ForwardInput,
  signal: AbortSignal | undefined,
): Promise<ForwardResult> {
  const { rows, sourceColumns, sourceStarts, targetColumns } = prepareBatch(input, config);
  checkMemory(rows.length * (sourceColumns * config.d_model + targetColumns * config.vocab_size));
  const result = await abortable(signal, (abort) =>
    native.forward(toNativeBatch(rows), { logits: true, encoderStates: true }, abort),
  );
  const logits = padRows(result.logits ?? new Float32Array(), {
    lengths: rows.map((row) => row.decoder.length),
    starts: rows.map(() => 0),
    columns: targetColumns,
    width: config.vocab_size,
  });
  const encoderStates = padRows(result.encoderStates ?? new Float32Array(), {
    lengths: rows.map((row) => row.source.length),
    starts: sourceStarts,
    columns: sourceColumns,
    width: config.d_model,
  });
  if (result.lossSums === undefined) return { logits, encoderStates };
  const lossTokens = rows.reduce((sum, row) => sum + countLabels(row), 0);
  const lossSum = result.lossSums.reduce((sum, loss) => sum + loss, 0);
  return { logits, loss: lossSum / lossTokens, encoderStates };
}

/** The results alone must fit; what native code needs besides, it asks for itself. */
function checkMemory(floats: number): void {
  const bytes = floats * Float32Array.BYTES_PER_ELEMENT;
  if (bytes <= totalmem()) return;
  throw new WgqaError('OUT_OF_MEMORY', `logits and encoder states would take ${bytes} bytes`, {
    field: 'inputIds',
    allowed: `results of at most ${totalmem()} bytes`,
  });
}

interface Layout {
  /** Tokens of each row, and the column of its first one. */
  readonly lengths: readonly number[];
  readonly starts: readonly number[];
  readonly columns: number;
  readonly width: number;
}

/** Ragged rows [tokens, width] as one block [rows, columns, width], zero where padded. */
function padRows(data: Float32Array, { lengths, starts, columns, width }: Layout): Tensor {
  const shape = [lengths.length, columns, width];
  if (lengths.every((length) => length === columns)) return { data, shape };
  const padded = new Float32Array(lengths.length * columns * width);
  let position = 0;
  for (const [row, length] of lengths.entries()) {
    const source = data.subarray(position, (position += length * width));
    padded.set(source, (row * columns + (starts[row] ?? 0)) * width);
  }
  return { data: padded, shape };
}
