/** The peers' own modules: installed when they are first needed, from their own lock file. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { run } from '../../scripts/lib/process.mjs';

export async function installPeers(): Promise<void> {
  const folder = import.meta.dirname;
  if (existsSync(path.join(folder, 'node_modules/@huggingface/transformers'))) return;
  const onLine = (line: string): boolean => process.stderr.write(`${line}\n`);
  const status = await run('npm', ['ci', '--no-audit', '--no-fund'], { cwd: folder, onLine });
  if (status !== 0) throw new Error('installing the modules of bench/peers failed');
}
