/** `wgqa evaluate`: loss, ROUGE and BLEU on text pairs. */
import type { Command } from 'commander';
import {
  computeBleu,
  computeRouge,
  createDataset,
  Engine,
  evaluateLoss,
  loadModel,
  loadTokenizer,
  tokenizePairs,
  type Example,
  type GenerationOptions,
  type Model,
  type TextPair,
} from '../index.ts';
import { generateTexts, type GeneratedTexts } from '../scoring/generate-texts.ts';
import { integerIn } from '../options.ts';
import { formatBytes, formatCount, formatFixed, formatScore } from '../report/format.ts';
import { printJson, printLines, type CliContext } from './context.ts';
import { writeFiles } from './files.ts';
import { addGenerationOptions, generationOptions } from './generation.ts';
import {
  addCommand,
  addComputeOptions,
  cacheOptions,
  listOf,
  numeric,
  dtypeLines,
  modelOptions,
  pick,
  type ComputeOptions,
} from './options.ts';
import { addPairOptions, readAllPairs, type PairOptions } from './pairs.ts';
import { createProgress } from './progress.ts';

const METRICS = ['loss', 'rouge', 'bleu'] as const;

interface Options extends ComputeOptions, PairOptions, GenerationOptions {
  readonly json?: boolean;
  readonly metrics: readonly (typeof METRICS)[number][];
  readonly limit?: number;
  readonly batchSize: number;
  readonly outputs?: string;
}

export function addEvaluateCommand(program: Command, context: CliContext): void {
  const command = addCommand(
    program,
    'evaluate <model> <pairs...>',
    'Measure loss and perplexity, and ROUGE or BLEU of generated against reference texts.',
    [
      'wgqa evaluate demo/model demo/data/test.jsonl.gz --limit 100 --max-new-tokens 32',
      'wgqa evaluate en-de test.tsv --metrics bleu --num-beams 4 --outputs outputs.jsonl',
    ],
  )
    .optionsGroup('Evaluation:')
    .option('--metrics <list>', `of ${METRICS.join(',')}`, listOf(METRICS), ['loss', 'rouge'])
    .option('--limit <n>', 'only the first n pairs', numeric(integerIn(1)))
    .option('--batch-size <n>', 'pairs computed together', numeric(integerIn(1)), 16)
    .option('--outputs <file>', 'write source, target and output of each pair as JSON lines');
  addPairOptions(command);
  addGenerationOptions(command);
  addComputeOptions(command).action(async (model: string, files: string[], options: Options) => {
    await evaluate(model, files, options, context);
  });
}

interface Corpus {
  readonly pairs: readonly TextPair[];
  readonly examples: readonly Example[];
}

async function evaluate(
  directory: string,
  files: readonly string[],
  options: Options,
  context: CliContext,
): Promise<void> {
  const { signal } = context;
  const { metrics, outputs, json } = options;
  const tokenizer = await loadTokenizer(directory);
  const pairs = await takePairs(files, options);
  const limits = pick(options, ['maxSourceTokens', 'maxTargetTokens']);
  const examples = await tokenizePairs(pairs, tokenizer, { ...limits, signal });
  await using model = await loadModel(directory, {
    ...modelOptions(options),
    signal,
  });
  if (!options.json) for (const line of dtypeLines(model)) context.stderr.write(`${line}\n`);
  const corpus = { pairs, examples };
  const loss = metrics.includes('loss') ? await lossOf(model, corpus, options, signal) : undefined;
  const scored = metrics.includes('rouge') || metrics.includes('bleu') || outputs !== undefined;
  const generated = scored ? await textsOf(model, corpus, options, context) : undefined;
  const result = { model: directory, pairs: pairs.length, ...loss, ...generated?.summary };
  if (outputs !== undefined && generated) {
    const lines = pairs.map((pair, i) => JSON.stringify({ ...pair, output: generated.texts[i] }));
    await writeFiles({ [outputs]: `${lines.join('\n')}\n` });
  }
  if (json) printJson(context, result);
  else printLines(context, ...formatResult(result));
}

async function takePairs(files: readonly string[], options: Options): Promise<TextPair[]> {
  const pairs: TextPair[] = [];
  for await (const pair of readAllPairs(files, options)) {
    pairs.push(pair);
    if (pairs.length === options.limit) break;
  }
  return pairs;
}

async function lossOf(
  model: Model,
  { examples }: Corpus,
  { batchSize }: Options,
  signal: AbortSignal,
) {
  const dataset = createDataset(examples, { batchSize });
  const { loss, perplexity, tokens } = await evaluateLoss(model, dataset, { signal });
  return { loss, perplexity, targetTokens: tokens };
}

async function textsOf(
  model: Model,
  { pairs, examples }: Corpus,
  options: Options,
  { stderr, signal }: CliContext,
) {
  await using engine = new Engine(model, {
    ...cacheOptions(options),
    maxBatchSize: options.batchSize * (options.numBeams ?? 1),
    tokenizer: await loadTokenizer(model.directory ?? ''),
  });
  const progress = createProgress({
    label: 'generate',
    total: examples.length,
    stream: stderr,
    json: options.json === true,
  });
  const sources = examples.map(({ inputIds }) => inputIds);
  const generated = await generateTexts(engine, sources, {
    generation: generationOptions(options),
    signal,
    onDone: (step, tokens) => {
      progress.update({ step, tokens });
    },
  });
  progress.finish();
  const references = pairs.map(({ target }) => target);
  const { rouge, bleu } = scoresOf(generated, references, options);
  const { cacheBytesPerToken } = engine.stats();
  const { tokens, milliseconds, texts } = generated;
  const speed = { tokens, milliseconds, tokensPerSecond: (1000 * tokens) / milliseconds };
  return { texts, summary: { rouge, bleu, generation: speed, cacheBytesPerToken } };
}

function scoresOf({ texts }: GeneratedTexts, references: readonly string[], options: Options) {
  const { metrics } = options;
  return {
    rouge: metrics.includes('rouge') ? computeRouge(texts, references).mean : undefined,
    bleu: metrics.includes('bleu') ? computeBleu(texts, references) : undefined,
  };
}

type Result = { readonly pairs: number } & Partial<Awaited<ReturnType<typeof lossOf>>> &
  Partial<Awaited<ReturnType<typeof textsOf>>['summary']>;

function formatResult(result: Result): string[] {
  const lines: string[] = [`${result.pairs} pairs`];
  const { loss, perplexity, rouge, bleu, generation, cacheBytesPerToken } = result;
  if (loss !== undefined && perplexity !== undefined) {
    lines.push(`loss ${formatFixed(loss, 4)}, perplexity ${formatFixed(perplexity, 2)}`);
  }
  for (const [name, { precision, recall, fmeasure }] of Object.entries(rouge ?? {})) {
    const parts = `precision ${formatScore(precision)}, recall ${formatScore(recall)}`;
    lines.push(`${name} ${formatScore(fmeasure)} (${parts})`);
  }
  if (bleu) lines.push(`BLEU ${formatFixed(bleu.score, 2)} (${bleu.signature})`);
  if (generation && cacheBytesPerToken) {
    const { selfAttention, crossAttention } = cacheBytesPerToken;
    lines.push(
      `${generation.tokens} tokens generated, ${formatCount(generation.tokensPerSecond)} a second`,
      `K/V per token: ${formatBytes(selfAttention)} self, ${formatBytes(crossAttention)} cross`,
    );
  }
  return lines;
}
