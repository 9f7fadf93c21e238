/**
 * Builds text-pair data sets from Debian's package descriptions:
 *
 *   npx tsx scripts/fetch-debian-data.ts [--task summarize|translate] [--codename bookworm]
 *     [--out data/debian] [--subset demo/data] [--subset-train 6000] [--subset-per-family 1]
 *
 * Needs apt with a source list that has the release's "main"; the system's own package lists are
 * not touched. Writes <out>/<task>/{train,validation,test}.jsonl and manifest.json; --subset
 * writes gzip files of the same names into that folder too: at most so many training pairs, and of
 * one family, and at most 500 pairs for validation and for test.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';
import { PrivateApt } from './debian/apt.ts';
import {
  readDescriptions,
  readSourcePackages,
  summaryPairs,
  translationPairs,
  type Pair,
} from './debian/pairs.ts';
import { firstOfFamilies, splitByFamily, type Splits } from './debian/split.ts';

const SPLIT_NAMES = ['train', 'validation', 'test'] as const;
const SUBSET_EVALUATION_PAIRS = 500;

const { values: options } = parseArgs({
  options: {
    task: { type: 'string', default: 'summarize' },
    codename: { type: 'string', default: 'bookworm' },
    out: { type: 'string', default: 'data/debian' },
    subset: { type: 'string' },
    'subset-train': { type: 'string', default: '6000' },
    'subset-per-family': { type: 'string', default: '1' },
  },
});

const apt = new PrivateApt(join(options.out, 'apt'));
apt.update();
const { pairs, dropped, files, release } = readPairs(options.task);
const splits = splitByFamily(pairs, {
  evaluationShare: 0.02,
  maxFamilySize: 32,
  // Translations come many to a package, and few packages are translated.
  maxEvaluationFamilySize: options.task === 'translate' ? 8 : 1,
});
const { families, thinned, overlapping } = splits;
const provenance = {
  task: options.task,
  release,
  files,
  fetched: new Date().toISOString().slice(0, 10),
  dropped: { ...dropped, thinned, overlapping },
  families,
};

const directory = join(options.out, options.task);
write(directory, splits, (text) => text, '.jsonl');
if (options.subset !== undefined) {
  const train = firstOfFamilies(splits.train, Number(options['subset-per-family']));
  const subset = {
    train: train.slice(0, Number(options['subset-train'])),
    validation: splits.validation.slice(0, SUBSET_EVALUATION_PAIRS),
    test: splits.test.slice(0, SUBSET_EVALUATION_PAIRS),
  };
  write(options.subset, subset, (text) => gzipSync(text, { level: 9 }), '.jsonl.gz');
}

function readPairs(task: string) {
  const read = (pattern: RegExp) => apt.read(options.codename, pattern);
  const english = read(/^main\/i18n\/Translation-en$/);
  const packages = read(/^main\/binary-[^/]+\/Packages$/);
  const descriptions = readDescriptions(english.text, 'en');
  const sources = readSourcePackages(packages.text);
  const files = [english.name, packages.name];
  if (task === 'summarize') {
    return { ...summaryPairs(descriptions, sources), files, release: english.release };
  }
  if (task === 'translate') {
    const german = read(/^main\/i18n\/Translation-de$/);
    const translations = readDescriptions(german.text, 'de');
    return {
      ...translationPairs(descriptions, translations, sources),
      files: [...files, german.name],
      release: english.release,
    };
  }
  throw new Error(`--task must be summarize or translate, not ${task}`);
}

/** Writes the splits as JSON lines, and the manifest that says what they are. */
function write(
  folder: string,
  parts: Pick<Splits, (typeof SPLIT_NAMES)[number]>,
  encode: (text: string) => string | Uint8Array,
  extension: string,
): void {
  mkdirSync(folder, { recursive: true });
  for (const name of SPLIT_NAMES) {
    const lines = parts[name].map(({ source, target }: Pair) => JSON.stringify({ source, target }));
    writeFileSync(join(folder, name + extension), encode(`${lines.join('\n')}\n`));
  }
  const counts = Object.fromEntries(SPLIT_NAMES.map((name) => [name, parts[name].length]));
  const manifest = `${JSON.stringify({ ...provenance, pairs: counts }, null, 2)}\n`;
  writeFileSync(join(folder, 'manifest.json'), manifest);
  process.stdout.write(`${folder}: ${manifest}`);
}
