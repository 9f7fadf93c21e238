/**
 * What a training checkpoint holds besides the model: `optimizer.safetensors` and `trainer.json`.
 * Both and the model's weights carry the step they belong to, so that a mixture is noticed.
 */
import { open } from 'node:fs/promises';
import path from 'node:path';
import { textFile, type OutputFile } from '../checkpoint/atomic-directory.ts';
import { readError } from '../checkpoint/io-errors.ts';
import { readJsonFile } from '../checkpoint/json.ts';
import { readSafetensorsHeader, type TensorEntry } from '../checkpoint/safetensors.ts';
import { SINGLE_FILE } from '../checkpoint/tensor-files.ts';
import { safetensorsFile, type OutputTensor } from '../checkpoint/write-safetensors.ts';
import { WgqaError } from '../errors.ts';
import { callNative, type NativeTrainer } from '../native.ts';
import { integerIn, objectRule, oneOf, type Rule } from '../options.ts';
import type { DistillationOptions, TrainerOptions } from './types.ts';

const OPTIMIZER_FILE = 'optimizer.safetensors';
const TRAINER_FILE = 'trainer.json';
const FORMAT = 'wgqa trainer 1';
const MAX_TRAINER_BYTES = 1 << 20;

/** Where `fit` stands. */
export interface Progress {
  /** 0-based. */
  epoch: number;
  /** Batches of the epoch already trained on. */
  batch: number;
  /** Optimiser steps that the latest `fit` is to reach; 0: it never ran. */
  plannedSteps: number;
}

/** A file holds no model: the teacher is given again. */
export interface SavedOptions extends Omit<TrainerOptions, 'distillation'> {
  readonly distillation?: Omit<DistillationOptions, 'teacher'>;
}

export interface TrainingState {
  readonly options: SavedOptions;
  readonly progress: Readonly<Progress>;
  /** Optimiser steps taken. */
  readonly step: number;
}

/** Metadata that every safetensors file of a training checkpoint carries. */
export function stepMetadata(step: number): Readonly<Record<string, string>> {
  return { training_step: String(step) };
}

/** The files of a training checkpoint besides the model's. */
export async function stateFiles(
  trainer: NativeTrainer,
  state: TrainingState,
): Promise<OutputFile[]> {
  const tensors = await callNative(() => trainer.stateTensors());
  const outputs = tensors.map(({ name, shape }): OutputTensor => {
    const read = async (): Promise<Uint8Array> => {
      const { buffer, byteOffset, byteLength } = await callNative(() => trainer.readState(name));
      return new Uint8Array(buffer, byteOffset, byteLength);
    };
    return { name, shape, dtype: 'float32', read };
  });
  return [
    safetensorsFile(OPTIMIZER_FILE, outputs, stepMetadata(state.step)),
    textFile(TRAINER_FILE, `${JSON.stringify({ format: FORMAT, ...state }, null, 2)}\n`),
  ];
}

/** @throws WgqaError NOT_FOUND, INVALID_FILE, IO */
export async function readTrainingState(directory: string): Promise<TrainingState> {
  const file = path.join(directory, TRAINER_FILE);
  const json = await readJsonFile(file, MAX_TRAINER_BYTES);
  const check = <T>(from: Readonly<Record<string, unknown>>, key: string, rule: Rule<T>): T => {
    const value = from[key];
    if (rule.accepts(value)) return value;
    throw invalidFile(key, `${key} of ${file} must be ${rule.allowed}`);
  };
  check(json, 'format', oneOf(FORMAT));
  const progress = check(json, 'progress', objectRule);
  return {
    options: check(json, 'options', objectRule),
    progress: {
      epoch: check(progress, 'epoch', integerIn()),
      batch: check(progress, 'batch', integerIn()),
      plannedSteps: check(progress, 'plannedSteps', integerIn()),
    },
    step: check(json, 'step', integerIn()),
  };
}

/** Gives the trainer the optimiser state that it was saved with. */
export async function restoreState(
  trainer: NativeTrainer,
  directory: string,
  step: number,
): Promise<void> {
  const file = path.join(directory, OPTIMIZER_FILE);
  const { tensors, metadata } = await readSafetensorsHeader(file);
  const model = await readSafetensorsHeader(path.join(directory, SINGLE_FILE));
  for (const found of [metadata, model.metadata]) {
    if (found['training_step'] === String(step)) continue;
    throw invalidFile('training_step', `${directory} holds files of different training steps`);
  }
  const expected = await callNative(() => trainer.stateTensors());
  const extra = [...tensors.keys()].find((name) => !expected.some((state) => state.name === name));
  if (extra !== undefined) throw invalidFile(extra, `${extra} of ${file} is no optimiser state`);
  for (const { name, shape } of expected) {
    const entry = tensors.get(name);
    if (entry?.dtype !== 'F32' || String(entry.shape) !== String(shape)) {
      throw invalidFile(name, `${file} lacks ${name} of shape [${shape.join(', ')}] in F32`);
    }
    const data = await readFloats(entry);
    await callNative(() => trainer.writeState(name, data));
  }
  trainer.setStepCount(step);
}

async function readFloats({ file, offset, bytes }: TensorEntry): Promise<Float32Array> {
  const data = new Float32Array(bytes / Float32Array.BYTES_PER_ELEMENT);
  const target = new Uint8Array(data.buffer);
  try {
    const handle = await open(file, 'r');
    try {
      for (let done = 0; done < bytes;) {
        const { bytesRead } = await handle.read(target, done, bytes - done, offset + done);
        if (bytesRead === 0) throw invalidFile(file, `${file} became shorter while it was read`);
        done += bytesRead;
      }
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw readError(error, file);
  }
  return data;
}

function invalidFile(field: string, message: string): WgqaError {
  return new WgqaError('INVALID_FILE', message, { field });
}
