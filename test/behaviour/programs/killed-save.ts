/** Saves into a directory and kills itself before change number `at` of names; prints their count. */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

const [, , directory = '', at = ''] = process.argv;
let changes = 0;
for (const name of ['rename', 'link', 'rm', 'unlink', 'rmdir', 'mkdir'] as const) {
  const original = fs.promises[name] as (...args: unknown[]) => Promise<unknown>;
  Object.assign(fs.promises, {
    [name]: async (...args: unknown[]) => {
      if (changes === Number(at)) process.kill(process.pid, 'SIGKILL');
      changes += 1;
      return original(...args);
    },
  });
}
syncBuiltinESMExports();
const { textFile, writeDirectory } = await import('../../../src/checkpoint/atomic-directory.ts');
const files = ['a', 'b', 'c'].map((name) => textFile(name, 'new'));
await writeDirectory(directory, files, { isObsolete: (name) => name === 'obsolete' });
process.stdout.write(String(changes));
