/** Running benchmarks as if the processor had less. */
import { INSTRUCTION_SETS, VARIABLE, type InstructionSet } from '../src/bench/instruction-sets.ts';
import { native } from '../src/native.ts';

/** What our addon sets for oneDNN, which would bind the children's, too. */
const LIBRARY_VARIABLE = 'ONEDNN_MAX_CPU_ISA';

/** `avx2,avx512-vnni`, once or more. @throws Error naming those there are */
export function parseInstructionSets(values: readonly string[]): InstructionSet[] {
  const names = values.flatMap((value) => value.split(',')).map((name) => name.trim());
  const found = names.map((name) => {
    const known = INSTRUCTION_SETS.find((one) => one === name);
    if (known === undefined) {
      const all = INSTRUCTION_SETS.join(', ');
      throw new Error(`no instruction set is called ${name || '""'}; there are ${all}`);
    }
    return known;
  });
  return [...new Set(found)];
}

/** The limit that this process runs under, if any. @throws Error if it is unknown or not in force */
export function limitInForce(): InstructionSet | undefined {
  const name = process.env[VARIABLE];
  if (name === undefined || name === '') return undefined;
  const [limit] = parseInstructionSets([name]);
  const { isa } = native().cpu();
  if (isa !== limit) throw new Error(`${name} is not to be had: ${isa} is in force`);
  return limit;
}

export function limitedTo(env: NodeJS.ProcessEnv, limit: InstructionSet): NodeJS.ProcessEnv {
  return { ...withoutLimits(env), [VARIABLE]: limit };
}

/** For whoever is not to be bound by it. */
export function withoutLimits(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const { [VARIABLE]: _, [LIBRARY_VARIABLE]: __, ...rest } = env;
  return rest;
}
