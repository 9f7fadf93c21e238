/** What `npm run bench -- ...` was asked for. */
import { parseArgs } from 'node:util';
import type { InstructionSet } from '../src/bench/instruction-sets.ts';
import { parseInstructionSets } from './instruction-sets.ts';

export interface Arguments {
  readonly names: readonly string[];
  readonly quick: boolean;
  /** To be limited to, one after another; none: as the processor is. */
  readonly instructionSets: readonly InstructionSet[];
  /** Folder of another tree. */
  readonly against: string | undefined;
}

export interface KnownBenchmarks {
  readonly all: readonly string[];
  /** Those that another tree can be compared by. */
  readonly comparable: readonly string[];
}

const SYNTAX = {
  allowPositionals: true,
  options: {
    quick: { type: 'boolean', default: false },
    isa: { type: 'string', multiple: true, default: [] as string[] },
    against: { type: 'string' },
  },
} as const;

/** @throws Error saying what is wrong and what there is */
export function parseArguments(args: readonly string[], known: KnownBenchmarks): Arguments {
  const { values, positionals } = parseArgs({ ...SYNTAX, args: [...args] });
  const { quick, isa, against } = values;
  if (against === '') throw new Error('--against takes the folder of another tree');
  const names = against === undefined ? known.all : known.comparable;
  const unknown = positionals.find((name) => !names.includes(name));
  if (unknown !== undefined) {
    const which = against === undefined ? 'is called' : 'that takes --against is called';
    throw new Error(`no benchmark ${which} ${unknown}; there are ${names.join(', ')}`);
  }
  return {
    names: positionals.length > 0 ? [...new Set(positionals)] : names,
    quick,
    instructionSets: parseInstructionSets(isa),
    against,
  };
}

/** The same without `--isa`, for a process that is limited already. */
export function withoutInstructionSets(args: readonly string[]): string[] {
  const { tokens } = parseArgs({ ...SYNTAX, args: [...args], tokens: true });
  const dropped = new Set<number>();
  for (const token of tokens) {
    if (token.kind !== 'option' || token.name !== 'isa') continue;
    dropped.add(token.index);
    if (!token.inlineValue) dropped.add(token.index + 1);
  }
  return args.filter((_, index) => !dropped.has(index));
}
