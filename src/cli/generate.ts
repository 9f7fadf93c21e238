/** `wgqa generate`: text in, text out. */
import { open } from 'node:fs/promises';
import { createInterface } from 'node:readline';
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
import { printJson, printLines, type CliContext } from './context.ts';
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
  const results = await decodeTogether(engine, requests, signal);
  if (json) printJson(context, { results });
  else printLines(context, ...results.flatMap(textsOf));
}

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
  if (file === undefined || file === '-') {
    yield* readLines(Readable.from(stdin, { objectMode: false, signal }));
    return;
  }
  const handle = await open(file);
  yield* readLines(handle.createReadStream({ signal }));
}

async function* readLines(input: Readable): AsyncGenerator<string> {
  for await (const line of createInterface({ input, crlfDelay: Infinity })) {
    if (line.trim() !== '') yield line;
  }
}

async function streamTexts(
  engine: Engine,
  requests: AsyncIterable<Request>,
  prefix: string,
  { stdout, signal }: CliContext,
): Promise<void> {
  for await (const request of requests) {
    stdout.write(prefix);
    for await (const { text = '' } of engine.stream(request, { signal })) stdout.write(text);
    stdout.write('\n');
  }
}

/** The forced prefix as results show it: streams begin behind it. */
function prefixText(tokenizer: Tokenizer, { forcedPrefix = '' }: Options): string {
  return tokenizer.decode(tokenizer.encode(forcedPrefix, { addSpecialTokens: false }));
}

interface PromptResult extends GenerationResult {
  readonly prompt: string;
}

async function decodeTogether(
  engine: Engine,
  requests: AsyncIterable<Request>,
  signal: AbortSignal,
): Promise<PromptResult[]> {
  return mapConcurrently(requests, MAX_UNFINISHED_REQUESTS, async (request) => {
    const result = await engine.generate(request, { signal });
    return { prompt: request.prompt, ...result };
  });
}

/** One line per sequence; line breaks within a text would make it look like several. */
function textsOf({ sequences }: PromptResult): string[] {
  return sequences.map(({ text = '' }) => text.replaceAll(/\s*\n\s*/g, ' '));
}
