import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';

/** One index file that apt fetched, decompressed. */
export interface Index {
  readonly text: string;
  /** Path of the file inside the archive, as in "main/i18n/Translation-en". */
  readonly name: string;
  /** The release the file belongs to, as in "Debian 12.1 (bookworm)". */
  readonly release: string;
}

const MAX_INDEX_BYTES = 512 * 1024 * 1024;

/**
 * Fetches package indices with apt's own configuration (mirrors, proxies and keys are whatever the
 * machine uses) into `directory`, so that the system's package lists stay untouched.
 */
export class PrivateApt {
  readonly #options: string[];

  constructor(directory: string) {
    const root = resolve(directory);
    mkdirSync(join(root, 'lists', 'partial'), { recursive: true });
    mkdirSync(join(root, 'cache', 'archives', 'partial'), { recursive: true });
    const settings = [
      `Dir::State::Lists=${join(root, 'lists')}`,
      `Dir::Cache=${join(root, 'cache')}`,
      'Acquire::Languages=en,de',
      'APT::Sandbox::User=', // the unprivileged download user cannot enter a private directory
    ];
    this.#options = settings.flatMap((setting) => ['-o', setting]);
  }

  /** Downloads what is out of date; throws `Error` with apt's own words when that fails. */
  update(): void {
    this.#run('apt-get', [...this.#options, 'update']);
  }

  /** The first index of Debian's release `codename` whose name matches, as in /Translation-en$/. */
  read(codename: string, pattern: RegExp): Index {
    const lines = this.#run('apt-get', [
      ...this.#options,
      'indextargets',
      '--format',
      '$(FILENAME)\t$(METAKEY)\t$(ORIGIN) $(VERSION) ($(CODENAME))',
      'Origin: Debian',
      `Codename: ${codename}`,
    ]).split('\n');
    for (const line of lines) {
      const [file = '', name = '', release = ''] = line.split('\t');
      if (!pattern.test(name)) continue;
      return { text: this.#run('/usr/lib/apt/apt-helper', ['cat-file', file]), name, release };
    }
    throw new Error(
      `apt has no index ${String(pattern)} of Debian ${codename}: its sources must list that release`,
    );
  }

  #run(program: string, args: string[]): string {
    return execFileSync(program, args, {
      encoding: 'utf8',
      env: { ...process.env, LC_ALL: 'C' },
      maxBuffer: MAX_INDEX_BYTES,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
  }
}
