/**
 * Trains a T5-style Unigram tokenizer on the training pairs of fetch-debian-data.ts and writes it
 * as Hugging Face files, then checks it against SentencePiece itself:
 *
 *   npx tsx scripts/train-tokenizer.ts [--data data/debian/summarize] [--out demo/model]
 *     [--vocab-size 8192]
 *
 * Needs spm_train and spm_encode (Debian and Ubuntu: apt-get install sentencepiece).
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { loadTokenizer } from '../src/tokenizer/index.ts';
import { readSentencePiece } from '../src/tokenizer/sources/sentencepiece-file.ts';
import { toHuggingFaceFiles } from './tokenizer/huggingface.ts';

interface Pair {
  readonly source: string;
  readonly target: string;
}

const MAX_LENGTH = 512; // T5's own; advisory
const PERCENTILES = [50, 90, 95, 99, 100];

const { values: options } = parseArgs({
  options: {
    data: { type: 'string', default: 'data/debian/summarize' },
    out: { type: 'string', default: 'demo/model' },
    'vocab-size': { type: 'string', default: '8192' },
  },
});

const scratch = mkdtempSync(join(tmpdir(), 'tokenizer-'));
try {
  const modelFile = trainModel(readPairs('train'));
  writeTokenizer(modelFile);
  await check(modelFile);
} finally {
  rmSync(scratch, { recursive: true });
}

function readPairs(split: string): Pair[] {
  const text = readFileSync(join(options.data, `${split}.jsonl`), 'utf8').trimEnd();
  return text.split('\n').map((line) => JSON.parse(line) as Pair);
}

function trainModel(pairs: readonly Pair[]): string {
  const corpus = join(scratch, 'corpus.txt');
  const lines = pairs.flatMap(({ source, target }) => [source, target]);
  writeFileSync(corpus, `${lines.join('\n')}\n`);
  execFileSync(
    'spm_train',
    [
      `--input=${corpus}`,
      `--model_prefix=${join(scratch, 'unigram')}`,
      '--model_type=unigram',
      `--vocab_size=${options['vocab-size']}`,
      '--character_coverage=1', // every character of the corpus survives decoding
      `--required_chars=${europeanLetters()}`, // and so do names the corpus happens not to have
      ...['--pad_id=0', '--eos_id=1', '--unk_id=2', '--bos_id=-1'], // T5's ids
      '--max_sentence_length=100000',
      '--num_threads=2', // fixed: the sums, and so the pieces, depend on it
      '--minloglevel=1',
    ],
    { stdio: 'inherit' },
  );
  return join(scratch, 'unigram.model');
}

/** Letters and signs of Latin-1, Latin Extended-A, Greek and Cyrillic, as NFKC leaves them. */
function europeanLetters(): string {
  const ranges = [
    [0xa1, 0x17f],
    [0x386, 0x3ce],
    [0x401, 0x45f],
    [0x2010, 0x2027],
    [0x2190, 0x2193],
    [0x2212, 0x2212],
  ] as const;
  const characters = ranges.flatMap(([first, last]) =>
    Array.from({ length: last - first + 1 }, (_, offset) => String.fromCodePoint(first + offset)),
  );
  return characters
    .filter((c) => c === c.normalize('NFKC') && /[\p{L}\p{P}\p{S}]/u.test(c))
    .join('');
}

function writeTokenizer(modelFile: string): void {
  mkdirSync(options.out, { recursive: true });
  const files = toHuggingFaceFiles(
    readSentencePiece(readFileSync(modelFile), modelFile),
    MAX_LENGTH,
  );
  for (const [name, content] of Object.entries(files)) {
    writeFileSync(join(options.out, name), `${JSON.stringify(content, null, 1)}\n`);
  }
}

/** Prints how the written files compare with spm_encode, and the lengths of the data in tokens. */
async function check(modelFile: string): Promise<void> {
  const tokenizer = await loadTokenizer(options.out);
  const pairs = [...readPairs('validation'), ...readPairs('test')];
  const lines = pairs.flatMap(({ source, target }) => [source, target]);
  const reference = execFileSync('spm_encode', [`--model=${modelFile}`, '--output_format=id'], {
    input: `${lines.join('\n')}\n`,
    encoding: 'utf8',
    maxBuffer: 1 << 30,
  }).split('\n');
  const encoded = lines.map((line) => [...tokenizer.encode(line)]);
  const { pieces } = readSentencePiece(readFileSync(modelFile), modelFile);
  const logProbability = (ids: readonly number[]) =>
    ids.reduce((sum, id) => sum + (pieces[id]?.score ?? NaN), 0);
  let different = 0;
  let ties = 0;
  encoded.forEach((withEnd, index) => {
    const ids = withEnd.slice(0, -1);
    const theirs = reference[index] ?? '';
    if (ids.join(' ') === theirs) return;
    different += 1;
    // Both add up log probabilities over the line, SentencePiece in single precision.
    const expected = logProbability(theirs.split(' ').map(Number));
    if (Math.abs(logProbability(ids) - expected) <= 1e-5 * Math.abs(expected)) ties += 1;
  });
  const changed = lines.filter((line, index) => tokenizer.decode(encoded[index] ?? []) !== line);
  const unknown = encoded.flat().filter((id) => id === tokenizer.unkTokenId).length;
  print(`vocabulary ${String(tokenizer.vocabSize)}`);
  print(
    `${String(different)} of ${String(lines.length)} lines differ from spm_encode, ` +
      `${String(ties)} of them in segmentations of equal probability`,
  );
  print(`${String(changed.length)} of ${String(lines.length)} lines change in encode and decode`);
  print(`${String(unknown)} unknown tokens of ${String(encoded.flat().length)}`);
  for (const [offset, name] of ['source', 'target'].entries()) {
    const lengths = encoded.filter((_, index) => index % 2 === offset).map((ids) => ids.length);
    print(`${name} tokens: ${describeLengths(lengths)}`);
  }
}

function describeLengths(lengths: number[]): string {
  const sorted = [...lengths].sort((a, b) => a - b);
  const mean = sorted.reduce((sum, length) => sum + length, 0) / sorted.length;
  const percentiles = PERCENTILES.map((percent) => {
    const index = Math.ceil((percent / 100) * sorted.length) - 1;
    return `p${String(percent)} ${String(sorted[index])}`;
  });
  return `mean ${mean.toFixed(1)}, ${percentiles.join(', ')}`;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
