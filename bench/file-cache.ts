/** Files that must come from the disk again. */
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { run } from '../scripts/lib/process.mjs';

/** Drops what the system keeps of the files in a folder; no rights are needed for one's own. */
export async function dropFileCache(directory: string): Promise<void> {
  for (const name of await readdir(directory)) {
    const file = path.join(directory, name);
    // Only what is on the disk already can be dropped.
    const synced = await run('sync', [file]);
    const dropped = await run('dd', [`if=${file}`, 'iflag=nocache', 'count=0', 'status=none']);
    if (synced !== 0 || dropped !== 0) throw new Error(`cannot drop ${file} from the cache`);
  }
}
