/** `wgqa inspect`: what is in a model directory. */
import type { Command } from 'commander';
import { loadModel, type Model, type ModelConfig } from '../index.ts';
import { formatTable } from '../report/index.ts';
import { formatBytes, formatInteger } from '../report/format.ts';
import { printJson, printLines, type CliContext } from './context.ts';
import { cacheBytesPerToken, describeGrouping, headsOf, sizesOf } from './describe.ts';
import { addCommand } from './options.ts';

interface InspectOptions {
  readonly json?: boolean;
  readonly tensors?: boolean;
}

export function addInspectCommand(program: Command, context: CliContext): void {
  addCommand(program, 'inspect <model>', 'Show architecture, heads, sizes and K/V cache.', [
    'wgqa inspect demo/model',
    'wgqa inspect t5-base-wgqa --tensors --json',
  ])
    .option('--tensors', 'list every tensor with shape and stored type')
    .action(async (directory: string, { json, tensors = false }: InspectOptions) => {
      await using model = await loadModel(directory, { signal: context.signal });
      const summary = { ...summarize(model, tensors), repeatedKvHeads: await repeatsOf(model) };
      if (json) printJson(context, { directory, ...summary });
      else printLines(context, ...formatSummary(model, summary));
    });
}

function summarize(model: Model, tensors: boolean) {
  const { config } = model;
  return {
    architecture: {
      encoderLayers: config.num_layers,
      decoderLayers: config.num_decoder_layers,
      heads: config.num_heads,
      headDim: config.d_kv,
      modelDim: config.d_model,
      feedForwardDim: config.d_ff,
      activation: config.feed_forward_proj,
      vocabSize: config.vocab_size,
      tiedEmbeddings: config.tie_word_embeddings,
    },
    conversion: config.wgqa ?? null,
    modules: headsOf(config),
    ...sizesOf(model),
    cacheBytesPerToken: {
      float32: cacheBytesPerToken(config, 'float32'),
      bfloat16: cacheBytesPerToken(config, 'bfloat16'),
    },
    ...(tensors && {
      tensors: [...model.parameters()].map(([name, info]) => ({ name, ...info })),
    }),
  };
}

/**
 * How many query heads each different K/V head of a multi-head model stands for: more than one in an
 * expanded layout, whose cache is that of all heads.
 */
async function repeatsOf(model: Model): Promise<number> {
  const { config } = model;
  if (config.num_key_value_heads !== undefined) return 1;
  const { data } = await model.readParameter('decoder.block.0.layer.0.SelfAttention.k.weight');
  const { num_heads: heads } = config;
  const size = data.length / heads;
  const head = (index: number) => data.subarray(index * size, (index + 1) * size);
  const isRepeat = (index: number): boolean => {
    const before = head(index - 1);
    return head(index).every((value, i) => value === before[i]);
  };
  let repeats = 1;
  while (repeats < heads && isRepeat(repeats)) repeats += 1;
  return heads % repeats === 0 ? repeats : 1;
}

function formatSummary(
  { config }: Model,
  { architecture, modules, parameters, bytes, cacheBytesPerToken, tensors, ...rest }: Summary,
): string[] {
  const { encoderLayers, decoderLayers, heads, headDim, modelDim } = architecture;
  const cache = (dtype: 'float32' | 'bfloat16'): string => {
    const { selfAttention, crossAttention } = cacheBytesPerToken[dtype];
    return `${formatBytes(selfAttention)} self, ${formatBytes(crossAttention)} cross`;
  };
  const merge =
    parameters.merge > 0 ? `, ${formatInteger(parameters.merge)} merge or expansion weights` : '';
  const facts: [string, string][] = [
    ['Layers', `${encoderLayers} encoder, ${decoderLayers} decoder`],
    ['Heads', `${heads} of ${headDim}`],
    ['Width', `${modelDim}, feed-forward ${architecture.feedForwardDim}`],
    ['Activation', architecture.activation],
    ['Vocabulary', `${architecture.vocabSize}${architecture.tiedEmbeddings ? ', tied' : ''}`],
    ['Grouping', groupingOf(config, rest.repeatedKvHeads)],
    [
      'K/V heads',
      modules.map(({ module, kvHeads }) => `${module} ${[kvHeads].flat().join(' ')}`).join(', '),
    ],
    ['Parameters', `${formatInteger(parameters.total)}${merge}, ${formatBytes(bytes)}`],
    ['K/V per token', `${cache('float32')} in float32`],
    ['', `${cache('bfloat16')} in bfloat16`],
  ];
  const lines = facts.map(([term, fact]) => `${term.padEnd(13)}  ${fact}`);
  if (tensors === undefined) return lines;
  const rows = tensors.map(({ name, shape, dtype }) => [name, shape.join(' × '), dtype]);
  const columns = [{ heading: 'Tensor' }, { heading: 'Shape' }, { heading: 'Type' }];
  return [...lines, '', formatTable(columns, rows)];
}

function groupingOf(config: ModelConfig, repeats: number): string {
  if (repeats === 1) return describeGrouping(config);
  return `expanded: each K/V head stands ${repeats} times; grouped, wgqa and ONNX keep it once`;
}

type Summary = ReturnType<typeof summarize> & { readonly repeatedKvHeads: number };
