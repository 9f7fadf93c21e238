/**
 * Loads tokenizer files with random changes, encodes and decodes with those that load. What ends or
 * holds up the process shows as a file that stays behind:
 *
 *   npx tsx scripts/tokenizer/fuzz.ts [--count 10000] [--seed 1]
 */
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { WgqaError } from '../../src/errors.ts';
import { loadTokenizer } from '../../src/tokenizer/index.ts';
import { mutate, randomFrom, randomTexts } from '../../test/tokenizer/mutations.ts';

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '10000' },
    seed: { type: 'string', default: '1' },
  },
});
const random = randomFrom(Number(values.seed));
const directory = mkdtempSync(join(tmpdir(), 'wgqa-fuzz-'));
const outcomes = new Map<string, number>();

for (let i = 0; i < Number(values.count); ++i) {
  writeFileSync(join(directory, 'tokenizer.json'), JSON.stringify(mutate(random)));
  const started = performance.now();
  const outcome = await use();
  outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
  if (performance.now() - started > 5000) keep(`slow-${i}`);
}
rmSync(directory, { recursive: true });
console.log(Object.fromEntries([...outcomes].sort((a, b) => b[1] - a[1])));

async function use(): Promise<string> {
  try {
    const tokenizer = await loadTokenizer(directory);
    for (const text of randomTexts(random)) {
      const ids = await tokenizer.encodeAsync(text);
      const stream = tokenizer.createTextStream();
      const streamed = [...ids].map((id) => stream.push([id])).join('') + stream.end();
      if (streamed === tokenizer.decode(ids)) continue;
      keep('stream');
      return `a stream differs: ${JSON.stringify(text)}`;
    }
    return 'used';
  } catch (error) {
    if (error instanceof WgqaError) return error.code;
    return `untyped: ${String(error)}`;
  }
}

/** Copies the file that is in use to where it can be looked at. */
function keep(name: string): void {
  const copy = join(tmpdir(), `wgqa-fuzz-${name}.json`);
  copyFileSync(join(directory, 'tokenizer.json'), copy);
  console.log(copy);
}
