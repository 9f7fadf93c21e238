/** The merge weights of a converted model, module by module. */
import { isConversionWeight, kvHeadsOf, type Model, type ModelConfig } from '../index.ts';
import type { InitialWeight, MergeWeightGroup } from '../report/index.ts';

const NAME =
  /^(encoder|decoder)\.block\.(\d+)\.layer\.\d+\.(SelfAttention|EncDecAttention)\.([kv])\.merge_weight$/;

/** As the merge uses them, whatever constrains them. Empty for a model without merge weights. */
export async function readMergeWeights(model: Model): Promise<MergeWeightGroup[]> {
  const { config } = model;
  const granularity = config.wgqa?.granularity;
  if (!granularity) return [];
  const groups: MergeWeightGroup[] = [];
  for (const name of model.parameters().keys()) {
    const match = NAME.exec(name);
    if (match === null) continue;
    const layer = Number(match[2]);
    const module = moduleOf(match[1], match[3]);
    const kvHeads = kvHeadsOf(config, MODULES[module], layer);
    const { data } = await model.readParameter(name);
    groups.push({
      layer,
      module,
      projection: match[4] === 'k' ? 'k' : 'v',
      granularity,
      initial: initialOf(config, kvHeads),
      values: constrained(data, config, kvHeads),
    });
  }
  return groups;
}

/** Scalars that the conversion added: those of merge and of weighted expansion. */
export function countConversionWeights(model: Model): number {
  let count = 0;
  for (const [name, { shape }] of model.parameters()) {
    if (isConversionWeight(name)) count += shape.reduce((product, size) => product * size, 1);
  }
  return count;
}

function initialOf({ wgqa, num_heads: heads }: ModelConfig, kvHeads: number): InitialWeight {
  const init = wgqa?.init ?? 'mean';
  return init === 'mean' ? kvHeads / heads : init;
}

/** What merges weigh by, from the values of the parameter. */
function constrained(
  raw: Float32Array,
  { wgqa, num_heads: heads }: ModelConfig,
  kvHeads: number,
): number[] {
  const constraint = wgqa?.constraint;
  if (constraint === undefined) return [...raw];
  const elements = raw.length / heads;
  const groupLength = raw.length / kvHeads;
  return Array.from(raw, (own, index) => {
    // Weights of one group at the same place of their heads belong together.
    const first = Math.floor(index / groupLength) * groupLength + (index % elements);
    const places = Array.from({ length: heads / kvHeads }, (_, i) => first + i * elements);
    const sumOf = (term: (value: number) => number): number =>
      places.reduce((sum, place) => sum + term(raw[place] ?? 0), 0);
    // Of differences, exp overflows to nothing but the limit.
    if (constraint === 'softmax') return 1 / sumOf((value) => Math.exp(value - own));
    const magnitude = sumOf(Math.abs);
    return magnitude === 0 ? 0 : own / magnitude;
  });
}

const MODULES = {
  encoderSelf: 'encoder.self',
  decoderSelf: 'decoder.self',
  decoderCross: 'decoder.cross',
} as const;

function moduleOf(
  stack: string | undefined,
  attention: string | undefined,
): MergeWeightGroup['module'] {
  if (stack === 'encoder') return 'encoderSelf';
  return attention === 'SelfAttention' ? 'decoderSelf' : 'decoderCross';
}
