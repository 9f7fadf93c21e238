/** Reading the Parquet files that pyarrow wrote: test/fixtures/data/README.md. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { readPairs, type ReadPairsOptions, type TextPair } from '../../src/data/index.ts';

const FIXTURES = path.join(import.meta.dirname, '../fixtures/data');

export const fixture = (name: string): string => path.join(FIXTURES, `${name}.parquet`);

export const expected = JSON.parse(
  readFileSync(path.join(FIXTURES, 'expected.json'), 'utf8'),
) as Record<'articles' | 'translations' | 'dotted', TextPair[]> & { long: string[] };

/** The columns of the articles. */
export const ARTICLES = { sourceField: 'article', targetField: 'highlights' };

/** Adds the pairs to `pairs`, so that those before an error are seen, too. */
export async function collect(
  file: string,
  options: ReadPairsOptions = {},
  pairs: TextPair[] = [],
): Promise<TextPair[]> {
  for await (const pair of readPairs(file, options)) pairs.push(pair);
  return pairs;
}
