/** The merge weights of a converted model, module by module. */
import type { Model } from '../index.ts';
import type { MergeWeightGroup } from '../report/index.ts';

const NAME =
  /^(encoder|decoder)\.block\.(\d+)\.layer\.\d+\.(SelfAttention|EncDecAttention)\.([kv])\.merge_weight$/;

/** Empty for a model without merge weights. */
export async function readMergeWeights(model: Model): Promise<MergeWeightGroup[]> {
  const { wgqa, num_heads: heads } = model.config;
  const granularity = wgqa?.granularity;
  if (!wgqa || !granularity) return [];
  const initial = wgqa.init === 'random' ? 'random' : wgqa.kv_heads / heads;
  const groups: MergeWeightGroup[] = [];
  for (const name of model.parameters().keys()) {
    const match = NAME.exec(name);
    if (match === null) continue;
    const { data } = await model.readParameter(name);
    groups.push({
      layer: Number(match[2]),
      module: moduleOf(match[1], match[3]),
      projection: match[4] === 'k' ? 'k' : 'v',
      granularity,
      initial,
      values: [...data],
    });
  }
  return groups;
}

function moduleOf(
  stack: string | undefined,
  attention: string | undefined,
): MergeWeightGroup['module'] {
  if (stack === 'encoder') return 'encoderSelf';
  return attention === 'SelfAttention' ? 'decoderSelf' : 'decoderCross';
}
