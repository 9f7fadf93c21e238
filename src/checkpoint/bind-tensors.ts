/** Matching the tensors of a checkpoint's files with the parameters of its configuration. */
import { WgqaError } from '../errors.ts';
import type { ModelConfig } from './config.ts';
import { shortJson } from './json-parser.ts';
import type { TensorEntry } from './safetensors.ts';
import { haveSameContent } from './tensor-content.ts';
import {
  EMBEDDING_NAMES,
  FLOAT_DTYPES,
  HEAD_NAME,
  t5Parameters,
  isConversionWeight,
} from './t5-tensors.ts';
import { nameList, warn } from './warnings.ts';

export type TensorEntries = ReadonlyMap<string, TensorEntry>;

/** A configuration and its parameters, one for each name of `t5Parameters`, in that order. */
export interface BoundTensors {
  /** With `tie_word_embeddings` as the weights have it. */
  readonly config: ModelConfig;
  readonly tensors: readonly TensorEntry[];
}

/** What binding asks of files. */
export interface TensorAccess {
  /** Gives a tensor in row-major order without gaps; most are already. */
  readonly densify: (tensor: TensorEntry) => Promise<TensorEntry>;
  readonly signal?: AbortSignal | undefined;
}

/** An unused table in the files of the first T5 conversions; Hugging Face ignores it as well. */
const IGNORED = new Set(['decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight']);
/** In the state of a model whose base is T5: Transformers removes it, too. */
const REMOVED_PREFIX = 'transformer.';

/**
 * Matches tensors with the parameters of `config`. As in Transformers 5, a vocabulary head in the
 * file is used whatever `tie_word_embeddings` says, and any name of a tied weight is enough; tensors
 * that are no parameter are named in a warning.
 * @throws WgqaError INVALID_FILE naming a missing or mis-shaped tensor; UNSUPPORTED for a dtype that
 *   is no 16- or 32-bit float, and for embeddings that differ
 */
export async function bindTensors(
  config: ModelConfig,
  files: TensorEntries,
  access: TensorAccess,
): Promise<BoundTensors> {
  const given = withoutPrefix(files);
  const embedding = await bindEmbedding(config, given, access);
  const tied = await isTied(config, given, embedding, access);
  const resolved = Object.freeze({ ...config, tie_word_embeddings: tied });
  const shapes = t5Parameters(resolved);
  const tensors: TensorEntry[] = [];
  for (const [name, shape] of shapes) {
    const entry = name === EMBEDDING_NAMES[0] ? embedding : given.get(name);
    if (entry === undefined) throw missing(name, given);
    checkTensor(entry, shape);
    tensors.push({ ...(await access.densify(entry)), name });
  }
  checkSuperfluous([...given.keys()].filter((name) => !shapes.has(name)));
  return { config: resolved, tensors };
}

/** The shared embedding, which all of its copies must equal. */
async function bindEmbedding(
  config: ModelConfig,
  given: TensorEntries,
  access: TensorAccess,
): Promise<TensorEntry> {
  const copies = EMBEDDING_NAMES.flatMap((name) => given.get(name) ?? []);
  const head = given.get(HEAD_NAME);
  const [first, ...others] =
    copies.length === 0 && config.tie_word_embeddings && head !== undefined ? [head] : copies;
  if (first === undefined) throw missing(EMBEDDING_NAMES[0], given);
  const shape = [config.vocab_size, config.d_model];
  checkTensor(first, shape);
  const embedding = await access.densify(first);
  for (const copy of others) {
    checkTensor(copy, shape);
    if (await haveSameContent(embedding, await access.densify(copy), access.signal)) continue;
    const message = `${copy.name} differs from ${first.name}: embeddings of encoder and decoder must be one`;
    throw new WgqaError('UNSUPPORTED', message, {
      field: copy.name,
      allowed: `a copy of ${first.name}`,
    });
  }
  return embedding;
}

/** Whether the vocabulary head is the embedding. */
async function isTied(
  config: ModelConfig,
  given: TensorEntries,
  embedding: TensorEntry,
  access: TensorAccess,
): Promise<boolean> {
  const head = given.get(HEAD_NAME);
  if (head === undefined) {
    if (!config.tie_word_embeddings) {
      const message = `the checkpoint has no ${HEAD_NAME} although tie_word_embeddings is false; the embedding is used`;
      warn('WGQA_MISSING_HEAD', message);
    }
    return true;
  }
  checkTensor(head, [config.vocab_size, config.d_model]);
  return (
    config.tie_word_embeddings &&
    haveSameContent(embedding, await access.densify(head), access.signal)
  );
}

/** Names without `transformer.`, if all parameters have it. */
function withoutPrefix(files: TensorEntries): TensorEntries {
  const names = [...files.keys()];
  const isPrefixed = EMBEDDING_NAMES.some((name) => files.has(REMOVED_PREFIX + name));
  if (!isPrefixed || EMBEDDING_NAMES.some((name) => files.has(name))) return files;
  const stripped = names.map((name) =>
    name.startsWith(REMOVED_PREFIX) ? name.slice(REMOVED_PREFIX.length) : name,
  );
  if (new Set(stripped).size < names.length) return files;
  return new Map([...files.values()].map((entry, i) => [stripped[i]!, entry]));
}

function missing(name: string, given: TensorEntries): WgqaError {
  const names = [...given.keys()];
  const adapter = names.find((candidate) => /\.lora_[AB]\b/.test(candidate));
  const prefixed = names.find((candidate) => candidate.endsWith(`.${name}`));
  let cure = '';
  if (adapter !== undefined) {
    cure =
      `; ${nameList([adapter])} belongs to an adapter (LoRA): merge it into its base model with ` +
      'merge_and_unload() of PEFT and save the result';
  } else if (prefixed !== undefined) {
    const prefix = prefixed.slice(0, -name.length);
    cure = `; the file has ${nameList([prefixed])}: save it again without the prefix ${shortJson(prefix)}`;
  }
  return new WgqaError('INVALID_FILE', `tensor ${name} is missing${cure}`, { field: name });
}

function checkSuperfluous(names: readonly string[]): void {
  const known = new Set<string>([...EMBEDDING_NAMES, HEAD_NAME, ...IGNORED]);
  const superfluous = names.filter((name) => !known.has(name));
  // They change what the projections beside them mean: without them it would be another model.
  const conversion = superfluous.find(isConversionWeight);
  if (conversion !== undefined) {
    const message = `tensor ${conversion} is not part of the conversion that config.json describes`;
    throw new WgqaError('INVALID_FILE', message, { field: conversion });
  }
  if (superfluous.length === 0) return;
  const message = `the checkpoint holds tensors that its configuration has no use for: ${nameList(superfluous)}`;
  warn('WGQA_SUPERFLUOUS_TENSORS', message);
}

function checkTensor(entry: TensorEntry, shape: readonly number[]): void {
  const { name, dtype } = entry;
  if (entry.shape.length !== shape.length || entry.shape.some((size, i) => size !== shape[i])) {
    const message = `tensor ${name} has shape [${entry.shape.join(', ')}], not [${shape.join(', ')}]`;
    throw new WgqaError('INVALID_FILE', message, { field: name, allowed: `[${shape.join(', ')}]` });
  }
  if (!Object.hasOwn(FLOAT_DTYPES, dtype)) {
    const allowed = Object.keys(FLOAT_DTYPES).join(' | ');
    const message = `tensor ${name} has dtype ${dtype}; allowed: ${allowed}`;
    throw new WgqaError('UNSUPPORTED', message, { field: name, allowed });
  }
}
