// npm's install script where wgqa is someone's dependency: builds the addon if none loads. A build that
// fails fails the installation, as with other packages that are native alone: npm shows what is
// written here, and the reason is kept in build/failure.txt, which the package quotes when the addon is
// needed (pnpm and `npm rebuild` keep the folder).
//
//   WGQA_SKIP_BUILD=1   build nothing; `npm rebuild wgqa` does it later
//   WGQA_ADDON=<path>   an addon that was built before: nothing is built
//   WGQA_CUDA=ON        build the CUDA library though no GPU is here; OFF: never
import { spawnSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { ADDON, BUILD, FAILURE, ROOT, buildAddon, cudaWhereUseful } from './lib/native-build.mjs';
import { aptCommand, missingPackages } from './lib/requirements.mjs';

const KEPT_LINES = 60;
const PROGRESS_MILLISECONDS = 10_000;

/**
 * Why the addon does not load, or undefined if it does. In a process of its own: a broken binary
 * must not end this one.
 */
function loadProblem() {
  if (!existsSync(ADDON)) return 'there is none';
  const load = `require(${JSON.stringify(ADDON)})`;
  const { status, stderr } = spawnSync(process.execPath, ['--eval', load], { encoding: 'utf8' });
  if (status === 0) return undefined;
  return /^Error: (.*)$/m.exec(stderr)?.[1] ?? 'it ended its process';
}

/** A clone builds by `npm start`, `npm test` and `npm run build`. */
function isClone() {
  return existsSync(path.join(ROOT, 'src/index.ts'));
}

async function install() {
  if (process.env['WGQA_SKIP_BUILD'] || process.env['WGQA_ADDON'] || isClone()) return;
  const problem = loadProblem();
  if (problem === undefined) return;
  const library = /^(lib\S+): cannot open shared object file/.exec(problem)?.[1];
  if (library !== undefined) {
    throw new Error(
      `${ADDON} is there, but this machine lacks ${library}, with which it was built: install it, ` +
        'or delete the folder build and install again',
    );
  }
  const missing = missingPackages();
  if (missing.length > 0) {
    throw new Error(
      `the addon is built from source, and these packages of Debian or Ubuntu are missing: ` +
        `${missing.join(', ')}. Run this, then install again:\n\n  sudo sh -c '${aptCommand(missing)}'\n`,
    );
  }
  // What is there does not load, so its objects are not to be trusted either.
  rmSync(BUILD, { recursive: true, force: true });
  await build();
}

async function build() {
  /** @type {string[]} */
  const log = [];
  const progress = startProgress();
  const succeeded = await buildAddon(cudaWhereUseful(), (line) => {
    log.push(line);
    progress.line(line);
  });
  progress.end();
  if (!succeeded) throw new Error(`the build failed:\n${log.slice(-KEPT_LINES).join('\n')}`);
  const problem = loadProblem();
  if (problem !== undefined) throw new Error(`the addon was built and does not load: ${problem}`);
  // Objects and libraries are some hundred megabytes.
  for (const name of readdirSync(BUILD)) {
    if (name !== 'Release') rmSync(path.join(BUILD, name), { recursive: true, force: true });
  }
}

/** npm shows the output of install scripts only if they fail: lines go to the terminal itself. */
function startProgress() {
  const terminal = process.stderr.isTTY || process.env['CI'] ? 2 : openTerminal();
  const started = Date.now();
  let [shownAt, steps] = [started, ''];
  /** @param {string} text */
  const show = (text) => {
    const seconds = Math.round((Date.now() - started) / 1000);
    if (terminal !== undefined) writeSync(terminal, `wgqa: ${text}, ${seconds} s\n`);
    shownAt = Date.now();
  };
  show('building the native addon, which takes some minutes');
  return {
    /** @param {string} line of ninja or make */
    line(line) {
      steps = /^\[\s*([\d/]+%?)\]/.exec(line)?.[1] ?? steps;
      if (Date.now() - shownAt >= PROGRESS_MILLISECONDS) show(`building, ${steps}`);
    },
    end() {
      show('the build has ended');
      if (terminal !== undefined && terminal !== 2) closeSync(terminal);
    },
  };
}

function openTerminal() {
  try {
    return openSync('/dev/tty', 'w');
  } catch {
    return undefined;
  }
}

try {
  await install();
} catch (error) {
  const reason = error instanceof Error ? error.message : String(error);
  try {
    mkdirSync(BUILD, { recursive: true });
    writeFileSync(FAILURE, `${reason}\n`);
  } catch {
    // It is told below.
  }
  process.stderr.write(`wgqa: the native addon was not built: ${reason}\n`);
  process.exitCode = 1;
}
