/** `wgqa generate`: text in, text out. */
import { Readable } from 'node:stream';
import type { Command } from 'commander';
import {
  Engine,
  loadModel,
  loadTokenizer,
  type GenerationOptions,
  type GenerationResult,
  type Tokenizer,
} from '../index.ts';
import { mapConcurrently } from '../scoring/concurrency.ts';
import { MAX_UNFINISHED_REQUESTS } from '../scoring/generate-texts.ts';
import { integerIn, numberIn } from '../options.ts';
import { readLines, splitLines, type Line } from '../data/lines.ts';
import { printJson, printText, warn, type CliContext } from './context.ts';
import { addGenerationOptions, generationOptions } from './generation.ts';
import {
  addCommand,
  addComputeOptions,
  cacheOptions,
  numeric,
  dtypeLines,
  modelOptions,
  type ComputeOptions,
} from './options.ts';

interface Options extends ComputeOptions, GenerationOptions {
  readonly json?: boolean;
  readonly file?: string;
  readonly prefix: string;
  readonly stream: boolean;
}

const positiveNumber = numberIn({ min: 0, exclusive: true });

export function addGenerateCommand(program: Command, context: CliContext): void {
  const command = addCommand(
    program,
    'generate <model> [prompts...]',
    'Generate text for prompts: arguments, the lines of a file, or those of standard input.\n' +
      'On a terminal each token is shown as it comes; otherwise prompts are decoded together.',
    [
      'wgqa generate demo/model "summarize: This package contains …"',
      'wgqa generate demo/model --file sources.txt --num-beams 4 --json',
      'cat sources.txt | wgqa generate demo/model --prefix "summarize: " --do-sample --top-p 0.9',
    ],
  )
    .optionsGroup('Input and output:')
    .option('--file <path>', 'one prompt per line; - is standard input')
    .option('--prefix <text>', 'put before each prompt', '')
    .option('--no-stream', 'show whole texts on a terminal too');
  addGenerationOptions(command)
    .option(
      '--num-return-sequences <n>',
      'sequences per prompt; at most --num-beams unless sampling',
      numeric(integerIn(1)),
    )
    .option('--forced-prefix <text>', 'what every text begins with')
    .option('--timeout <ms>', 'give a prompt up after this time', numeric(positiveNumber))
    .option('--stop <text...>', 'end before the first of these strings')
    .option('--log-probs', 'with --json: log-probability of each token');
  addComputeOptions(command).action(async (model: string, prompts: string[], options: Options) => {
    await generate(model, prompts, options, context);
  });
}

async function generate(
  directory: string,
  prompts: readonly string[],
  options: Options,
  context: CliContext,
): Promise<void> {
  const { signal, stdout } = context;
  const tokenizer = await loadTokenizer(directory);
  await using model = await loadModel(directory, {
    ...modelOptions(options),
    signal,
  });
  if (!options.json) for (const line of dtypeLines(model)) context.stderr.write(`${line}\n`);
  await using engine = new Engine(model, { ...cacheOptions(options), tokenizer });
  const requests = readRequests(prompts, options, context);
  const { numBeams = 1, numReturnSequences = 1, json } = options;
  const single = numBeams === 1 && numReturnSequences === 1;
  if (!json && options.stream && stdout.isTTY === true && single) {
    const prefix = prefixText(tokenizer, options);
    await streamTexts(engine, requests, prefix, context);
    return;
  }
  warnOfIdleSampling(options, context);
  if (json) await decodeToJson(engine, requests, context);
  else await decodeToLines(engine, requests, context);
}

/** Of options that do nothing as they stand, only where nothing else may have turned sampling on. */
function warnOfIdleSampling(options: Options, context: CliContext): void {
  if (options.doSample === true) return;
  const idle = SAMPLING_FLAGS.find(([name]) => options[name] !== undefined);
  if (idle === undefined) return;
  const unless = 'unless the generation_config.json of the model turns it on';
  warn(context, `${idle[1]} has an effect only with --do-sample, ${unless}`);
}

const SAMPLING_FLAGS = [
  ['temperature', '--temperature'],
  ['topK', '--top-k'],
  ['topP', '--top-p'],
  ['minP', '--min-p'],
] as const;

type Request = GenerationOptions & { readonly prompt: string };

async function* readRequests(
  prompts: readonly string[],
  options: Options,
  context: CliContext,
): AsyncGenerator<Request> {
  for await (const prompt of readPrompts(prompts, options.file, context)) {
    yield { ...generationOptions(options), prompt: options.prefix + prompt };
  }
}

/** Prompts in the order of arguments, then file; without either, standard input. */
async function* readPrompts(
  prompts: readonly string[],
  file: string | undefined,
  { stdin, signal }: CliContext,
): AsyncGenerator<string> {
  yield* prompts;
  if (file === undefined && prompts.length > 0) return;
  if (file !== undefined && file !== '-') {
    yield* textsOfLines(readLines(file, MAX_LINE_LENGTH));
    return;
  }
  const lines = splitLines(untilAborted(stdin, signal), 'standard input', MAX_LINE_LENGTH);
  yield* textsOfLines(lines);
}

/** As many characters as the lines of data sets. */
const MAX_LINE_LENGTH = 1_000_000;

/** One prompt for each line, blank ones too: line n of the output belongs to line n. */
async function* textsOfLines(lines: AsyncIterable<Line>): AsyncGenerator<string> {
  for await (const { text } of lines) yield text;
}

/** Standard input may stay open for as long as its other end likes. */
async function* untilAborted<T>(chunks: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T> {
  const readable = Readable.from(chunks, { objectMode: false, signal });
  yield* readable as AsyncIterable<T>;
}

async function streamTexts(
  engine: Engine,
  requests: AsyncIterable<Request>,
  prefix: string,
  context: CliContext,
): Promise<void> {
  const { signal } = context;
  for await (const request of requests) {
    printText(context, prefix);
    for await (const { text = '' } of engine.stream(request, { signal })) printText(context, text);
    printText(context, '\n');
  }
}

/** The forced prefix as results show it: streams begin behind it. */
function prefixText(tokenizer: Tokenizer, { forcedPrefix = '' }: Options): string {
  return tokenizer.decode(tokenizer.encode(forcedPrefix, { addSpecialTokens: false }));
}

interface PromptResult extends GenerationResult {
  readonly prompt: string;
}

/** Decodes prompts together; `onResult` gets each result in order, as soon as it can. */
async function decodeTogether(
  engine: Engine,
  requests: AsyncIterable<Request>,
  signal: AbortSignal,
  onResult: (result: PromptResult) => void,
): Promise<void> {
  const decode = async (request: Request): Promise<PromptResult> => {
    const result = await engine.generate(request, { signal });
    return { prompt: request.prompt, ...result };
  };
  await mapConcurrently(requests, MAX_UNFINISHED_REQUESTS, decode, onResult);
}

async function decodeToLines(
  engine: Engine,
  requests: AsyncIterable<Request>,
  context: CliContext,
): Promise<void> {
  await decodeTogether(engine, requests, context.signal, (result) => {
    for (const text of textsOf(result)) printText(context, `${text}\n`);
  });
}

/** One document, which holds what was done also where a prompt fails or an interrupt comes. */
async function decodeToJson(
  engine: Engine,
  requests: AsyncIterable<Request>,
  context: CliContext,
): Promise<void> {
  const results: PromptResult[] = [];
  try {
    await decodeTogether(engine, requests, context.signal, (result) => results.push(result));
  } catch (error) {
    if (results.length > 0) printJson(context, { results });
    throw error;
  }
  printJson(context, { results });
}

/** One line per sequence; line breaks within a text would make it look like several. */
function textsOf({ sequences }: PromptResult): string[] {
  return sequences.map(({ text = '' }, index) => {
    const line = text.replaceAll(/\s*\n\s*/g, ' ');
    return sequences.length === 1 ? line : `${index + 1}/${sequences.length}: ${line}`;
  });
}
