/** Saving where there is no room: a typed error, and nothing is left behind. */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { parseOutput, programCommand, runChild } from '../support/child.ts';
import { useTemporaryDirectories } from '../support/directories.ts';

// The saved model takes 1.2 MB.
const ROOM_KB = 256;
const TARGETS = ['new', 'existing', 'trainer'];

const newDirectory = useTemporaryDirectories();

describe('a full disk', () => {
  // A file system of its own, in a mount namespace that ends with the process.
  const mount = (directory: string, then: string): [string, ...string[]] => [
    'unshare',
    '--user',
    '--map-root-user',
    '--mount',
    'sh',
    '-c',
    `mount -t tmpfs -o size=${ROOM_KB}k none "$0" && ${then}`,
    directory,
  ];
  const [command, ...args] = mount(newDirectory(), 'true');
  const mountable = spawnSync(command, args).status === 0;
  if (!mountable) {
    process.stderr.write('full disk: skipped, this user may not mount a tmpfs\n');
  }

  (mountable ? test : test.skip).each(TARGETS)('%s', async (target) => {
    const directory = newDirectory();
    const save = [...mount(directory, 'touch "$0/kept" && exec "$@"')] as [string, ...string[]];
    const result = await runChild([...save, ...programCommand('save.ts', [directory, target])]);
    expect(parseOutput(result)).toEqual({ code: 'NO_SPACE', systemCode: 'ENOSPC', left: ['kept'] });
  });
});

describe('a file that may not grow', () => {
  test.each(TARGETS)('%s', async (target) => {
    const directory = newDirectory();
    writeFileSync(path.join(directory, 'kept'), '');
    const limit = [`ulimit -f ${ROOM_KB} && exec "$0" "$@"`] as const;
    const program = programCommand('save.ts', [directory, target]);
    const result = await runChild(['bash', '-c', ...limit, ...program]);
    expect(parseOutput(result)).toEqual({ code: 'IO', systemCode: 'EFBIG', left: ['kept'] });
  });
});
