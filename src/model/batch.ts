/**
 * Token ids as callers have them (nested arrays, typed arrays, padded blocks with a mask) to the
 * ragged rows that native code computes with, every id checked.
 */
import { eosTokenIds, type ModelConfig } from '../checkpoint/config.ts';
import { invalidArgument, WgqaError } from '../errors.ts';
import type { NativeBatch, NativeRagged } from '../native.ts';
import { isRecord } from '../options.ts';
import type { ForwardInput, TokenRow, TokenRows } from './types.ts';

/** Label of a position that does not count in the loss. */
export const IGNORED_LABEL = -100;

/** One sequence without padding; `labels` is as long as `decoder`. */
export interface BatchRow {
  readonly source: Int32Array;
  readonly decoder: Int32Array;
  readonly labels?: Int32Array;
}

export interface PreparedBatch {
  readonly rows: readonly BatchRow[];
  /** Columns of the source block, padding included. */
  readonly sourceColumns: number;
  /** Column of the source block that a row's first token stands in. */
  readonly sourceStarts: readonly number[];
  readonly targetColumns: number;
}

/**
 * Checks a batch and removes its padding.
 * @throws WgqaError INVALID_ARGUMENT naming the row and column
 */
export function prepareBatch(input: ForwardInput, config: ModelConfig): PreparedBatch {
  const vocab = config.vocab_size;
  const sources = readRows(input.inputIds, 'inputIds', vocab);
  const spans = readSpans(input.attentionMask, sources, config);
  const labels =
    input.labels === undefined ? undefined : readRows(input.labels, 'labels', vocab, IGNORED_LABEL);
  if (labels) checkLabels(labels, sources.length);
  const decoders = decoderRows(input.decoderInputIds, labels, sources.length, config);
  return {
    rows: sources.map((source, i) => {
      const row = {
        source: source.subarray(spans[i]?.start, spans[i]?.end),
        decoder: decoders[i] ?? new Int32Array(),
      };
      const rowLabels = labels?.[i];
      return rowLabels === undefined ? row : { ...row, labels: rowLabels };
    }),
    sourceColumns: longest(sources),
    sourceStarts: spans.map((span) => span.start),
    targetColumns: longest(decoders),
  };
}

/** Labels of a row that count in the loss. */
export function countLabels({ labels }: BatchRow): number {
  return labels?.reduce((count, label) => count + Number(label !== IGNORED_LABEL), 0) ?? 0;
}

/** Rows one after another, as native code takes them. */
export function toNativeBatch(rows: readonly BatchRow[]): NativeBatch {
  const batch = {
    encoder: toRagged(rows.map((row) => row.source)),
    decoder: toRagged(rows.map((row) => row.decoder)),
  };
  const labels = rows.flatMap((row) => (row.labels ? [row.labels] : []));
  return labels.length === 0 ? batch : { ...batch, labels: toRagged(labels).ids };
}

/**
 * Batches of text that a conversion weighs heads by, checked; none if `batches` are not given.
 * @throws WgqaError INVALID_ARGUMENT
 */
export function calibrationBatches(batches: unknown, config: ModelConfig): NativeBatch[] {
  if (batches === undefined) return [];
  const isIterable = typeof batches === 'object' && batches !== null && Symbol.iterator in batches;
  const list = isIterable ? [...(batches as Iterable<unknown>)] : [];
  if (list.length === 0) {
    throw invalidArgument('calibration', 'an iterable of one or more batches', batches);
  }
  return list.map((batch, index) => {
    const field = `calibration[${index}]`;
    if (!isRecord(batch)) throw invalidArgument(field, 'an object', batch);
    if (batch['labels'] === undefined) {
      throw invalidArgument(`${field}.labels`, 'rows of token ids', undefined);
    }
    const { rows } = within(field, () => prepareBatch(batch as unknown as ForwardInput, config));
    return toNativeBatch(rows);
  });
}

/** What `read` returns; the fields of its errors are below `field`. */
function within<T>(field: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof WgqaError)) throw error;
    const { code, message, field: inner, allowed } = error;
    throw new WgqaError(code, `${field}.${message}`, { field: `${field}.${inner}`, allowed });
  }
}

/** Reads one row of token ids, e.g. a prompt. @throws WgqaError INVALID_ARGUMENT */
export function readTokenRow(row: unknown, field: string, vocab: number): Int32Array {
  if (!isTokenRow(row)) throw invalidArgument(field, 'an array of token ids', row);
  if (row.length === 0) throw invalidArgument(field, 'at least one token id', row);
  return checkIds(row, field, vocab);
}

function readRows(rows: unknown, field: string, vocab: number, alsoAllowed?: number): Int32Array[] {
  const list = splitRows(rows, field);
  if (list.length === 0) throw invalidArgument(field, 'at least one row of token ids', list);
  return list.map((row, i) => {
    const name = `${field}[${i}]`;
    if (!isTokenRow(row)) throw invalidArgument(name, 'an array of token ids', row);
    if (row.length === 0) throw invalidArgument(name, 'at least one token id', row);
    return checkIds(row, name, vocab, alsoAllowed);
  });
}

/** Cuts a block { data, shape: [rows, columns] } into rows; rows are taken as they are. */
function splitRows(rows: unknown, field: string): readonly unknown[] {
  if (Array.isArray(rows)) return rows;
  if (!isRecord(rows)) throw invalidArgument(field, 'rows of token ids or { data, shape }', rows);
  const { data, shape } = rows;
  if (!(data instanceof Int32Array || data instanceof BigInt64Array)) {
    throw invalidArgument(`${field}.data`, 'an Int32Array or BigInt64Array', data);
  }
  const [count, columns] = Array.isArray(shape) && shape.length === 2 ? (shape as unknown[]) : [];
  if (!isSize(count) || !isSize(columns) || count * columns !== data.length) {
    throw invalidArgument(`${field}.shape`, `[rows, columns] of ${data.length} elements`, shape);
  }
  return Array.from({ length: count }, (_, i) => data.subarray(i * columns, (i + 1) * columns));
}

function isSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isTokenRow(row: unknown): row is TokenRow {
  return Array.isArray(row) || row instanceof Int32Array || row instanceof BigInt64Array;
}

function checkIds(row: TokenRow, field: string, vocab: number, alsoAllowed?: number): Int32Array {
  const ids = new Int32Array(row.length);
  for (let i = 0; i < row.length; ++i) {
    const value: unknown = row[i];
    const id = typeof value === 'bigint' ? Number(value) : value;
    const inVocabulary = Number.isSafeInteger(id) && (id as number) >= 0 && (id as number) < vocab;
    if (!inVocabulary && (id !== alsoAllowed || id === undefined)) {
      const also = alsoAllowed === undefined ? '' : `, or ${alsoAllowed}`;
      throw invalidArgument(`${field}[${i}]`, `a token id from 0 to ${vocab - 1}${also}`, value);
    }
    ids[i] = id as number;
  }
  return ids;
}

interface Span {
  readonly start: number;
  readonly end: number;
}

/** Where each row's tokens lie: padding is by length, so the ones must be contiguous. */
function readSpans(
  mask: TokenRows | undefined,
  sources: readonly Int32Array[],
  config: ModelConfig,
): Span[] {
  if (mask === undefined) return sources.map((source) => spanWithoutPadding(source, config));
  const rows = readRows(mask, 'attentionMask', 2);
  if (rows.length !== sources.length) {
    throw invalidArgument('attentionMask', `${sources.length} rows, as inputIds`, rows);
  }
  return rows.map((row, i) => readSpan(row, sources[i]?.length ?? 0, `attentionMask[${i}]`));
}

/**
 * Pad tokens before and behind the others are padding, unless they are end tokens, too. Where there
 * are no others, every state is the same whether they are masked or not.
 */
function spanWithoutPadding(source: Int32Array, config: ModelConfig): Span {
  const pad = config.pad_token_id;
  const whole = { start: 0, end: source.length };
  if (eosTokenIds(config).includes(pad)) return whole;
  const isToken = (id: number): boolean => id !== pad;
  const start = source.findIndex(isToken);
  return start < 0 ? whole : { start, end: source.findLastIndex(isToken) + 1 };
}

/** Reads a mask of 0 and 1, with a 1. @throws WgqaError INVALID_ARGUMENT */
export function readMaskRow(row: unknown, field: string, length: number): Int32Array {
  const mask = readTokenRow(row, field, 2);
  if (mask.length !== length) {
    throw invalidArgument(field, `of length ${length}, as inputIds`, [...mask]);
  }
  if (!mask.includes(1)) throw invalidArgument(field, 'one or more 1', 'all 0');
  return mask;
}

function readSpan(row: Int32Array, length: number, field: string): Span {
  if (row.length !== length) {
    throw invalidArgument(field, `of length ${length}, as the row of inputIds`, [...row]);
  }
  const start = row.indexOf(1);
  const end = row.lastIndexOf(1) + 1;
  if (start < 0) throw invalidArgument(field, 'one or more 1', 'all 0');
  if (row.subarray(start, end).includes(0)) {
    throw invalidArgument(
      field,
      '1 from the first to the last token: padded left or right',
      'holes',
    );
  }
  return { start, end };
}

function checkLabels(labels: readonly Int32Array[], rows: number): void {
  if (labels.length !== rows) throw invalidArgument('labels', `${rows} rows, as inputIds`, labels);
  if (labels.every((row) => row.every((label) => label === IGNORED_LABEL))) {
    throw invalidArgument('labels', `at least one label that is not ${IGNORED_LABEL}`, labels);
  }
}

function decoderRows(
  given: TokenRows | undefined,
  labels: readonly Int32Array[] | undefined,
  rows: number,
  config: ModelConfig,
): Int32Array[] {
  if (given === undefined) {
    const startOnly = Array.from({ length: rows }, () =>
      Int32Array.of(config.decoder_start_token_id),
    );
    return labels?.map((row) => shiftRight(row, config)) ?? startOnly;
  }
  const decoders = readRows(given, 'decoderInputIds', config.vocab_size);
  if (decoders.length !== rows) {
    throw invalidArgument('decoderInputIds', `${rows} rows, as inputIds`, decoders);
  }
  for (const [i, row] of decoders.entries()) {
    const expected = labels?.[i]?.length ?? row.length;
    if (row.length === expected) continue;
    throw invalidArgument(`decoderInputIds[${i}]`, `of length ${expected}, as labels`, [...row]);
  }
  return decoders;
}

/** Decoder inputs of teacher forcing: the start token, then all labels but the last. */
function shiftRight(labels: Int32Array, config: ModelConfig): Int32Array {
  const inputs = new Int32Array(labels.length);
  inputs.set(labels.subarray(0, -1), 1);
  inputs[0] = config.decoder_start_token_id;
  return inputs.map((id) => (id === IGNORED_LABEL ? config.pad_token_id : id));
}

function toRagged(rows: readonly Int32Array[]): NativeRagged {
  const offsets = new Int32Array(rows.length + 1);
  for (const [i, row] of rows.entries()) offsets[i + 1] = (offsets[i] ?? 0) + row.length;
  const ids = new Int32Array(offsets.at(-1) ?? 0);
  for (const [i, row] of rows.entries()) ids.set(row, offsets[i]);
  return { ids, offsets };
}

function longest(rows: readonly Int32Array[]): number {
  return Math.max(...rows.map((row) => row.length));
}
