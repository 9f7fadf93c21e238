/** Errors of the library in the words of the command line: `--kv-heads`, not `kvHeads`. */
import type { Command } from 'commander';
import { WgqaError } from '../index.ts';

/** Options of the library whose flags have other names. */
const FLAG_NAMES: Readonly<Record<string, string>> = {
  'kvCache.maxBytes': 'cacheBytes',
  'kvCache.blockSize': 'blockSize',
  'kvCache.dtype': 'cacheDtype',
  maxBytes: 'kvBytes',
  maxBatchSize: 'batchSize',
};

export interface InFlags {
  readonly error: WgqaError;
  /** It is a flag of the command that is wrong. */
  readonly isUsage: boolean;
}

/** The error as the running command tells it. */
export function inFlags(error: WgqaError, command: Command | undefined): InFlags {
  const { code, message, field, allowed, cause } = error;
  if (code !== 'INVALID_ARGUMENT' || field === undefined) return { error, isUsage: false };
  const flag = flagOf(field, command);
  if (flag === undefined) return { error, isUsage: false };
  const text = message.replace(field, flag).replace(/, not undefined$/, '');
  const told = new WgqaError(code, text, { field: flag, allowed, cause });
  return { error: told, isUsage: true };
}

/** `--learning-rate` for "optimizer.learningRate", if the command has it. */
function flagOf(field: string, command: Command | undefined): string | undefined {
  const last = field.slice(field.lastIndexOf('.') + 1);
  const names = [FLAG_NAMES[field], field, last];
  const option = command?.options.find((known) => names.includes(known.attributeName()));
  return option?.long;
}
