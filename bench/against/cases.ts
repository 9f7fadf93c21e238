/** What an old and a new tree are compared by. */
import { decoderOf, SHAPES, shapeTitle, type ShapeName } from '../../src/bench/shapes.ts';
import type { EncodingCase, StepCase } from '../../src/bench/subjects.ts';
import { COMPUTE_DTYPES } from '../../src/bench/variants.ts';
import type { ComputeDtype } from '../../src/index.ts';
import { SOURCE_TOKENS, stepCase } from '../steps-in-turn.ts';

export type Work = { readonly step: StepCase } | { readonly encoding: EncodingCase };

/** A model, and the works that it is measured by. */
export interface Group {
  readonly title: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly dtype: ComputeDtype;
  readonly works: readonly { readonly name: string; readonly work: Work }[];
}

const BATCHES = [1, 8, 32] as const;
const SEQUENCES = [1, 8] as const;
/** That of `bench decoding`. */
const SHORT_SOURCE_TOKENS = 64;

type Groups = (quick: boolean) => Group[];

/** By the name of the benchmark whose work it is. */
export const COMPARABLE: Readonly<Record<string, Groups>> = {
  decoding: (quick) =>
    stepGroups(quick ? ['t5-small'] : ['t5-small', 't5-base'], SHORT_SOURCE_TOKENS, quick),
  encoder: (quick) => encodingGroups(quick ? ['t5-small'] : ['t5-small', 't5-base']),
  types: (quick) => {
    const shapes: readonly ShapeName[] = quick ? ['t5-small'] : ['t5-small', 't5-base'];
    return [...stepGroups(shapes, SOURCE_TOKENS, quick), ...encodingGroups(shapes)];
  },
};

function stepGroups(shapes: readonly ShapeName[], sourceTokens: number, quick: boolean): Group[] {
  const works = BATCHES.map((batch) => ({
    name: `batch ${String(batch)}, ${String(sourceTokens)} source tokens: step`,
    work: { step: { ...stepCase(batch, quick), sourceTokens } },
  }));
  return groups(shapes, decoderOf, works);
}

function encodingGroups(shapes: readonly ShapeName[]): Group[] {
  const works = SEQUENCES.map((sequences) => ({
    name: `${String(sequences)} × ${String(SOURCE_TOKENS)} tokens: encoding`,
    work: { encoding: { sequences, tokens: SOURCE_TOKENS } },
  }));
  return groups(shapes, (shape) => shape, works);
}

function groups(
  shapes: readonly ShapeName[],
  configOf: (shape: (typeof SHAPES)[ShapeName]) => Group['config'],
  works: Group['works'],
): Group[] {
  return shapes.flatMap((shape) =>
    COMPUTE_DTYPES.map((dtype) => {
      return { title: shapeTitle(shape), config: configOf(SHAPES[shape]), dtype, works };
    }),
  );
}
