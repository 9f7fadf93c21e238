import { afterAll } from '@jest/globals';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export { byteFallbackTokenizer, byteLevelTokenizer, unigramTokenizer } from './layouts.ts';

const directories: string[] = [];

afterAll(async () => {
  for (const directory of directories) await rm(directory, { recursive: true });
});

/** A new directory, removed after the tests, with these files: text, or objects as JSON. */
export async function directoryWith(files: Record<string, unknown>): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'wgqa-test-'));
  directories.push(directory);
  for (const [name, content] of Object.entries(files)) {
    const text = typeof content === 'string' ? content : JSON.stringify(content);
    await writeFile(join(directory, name), text);
  }
  return directory;
}
