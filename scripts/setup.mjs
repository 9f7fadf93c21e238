// Makes a bare Debian or Ubuntu machine ready and does only what is missing: system packages, node
// modules, native code. Built on Node alone, since nothing else may be there yet.
//
//   node scripts/setup.mjs [modules | addon | tests]     each includes those before it; default addon
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  BUILD,
  ROOT,
  SANITIZED,
  buildAddon,
  buildPreset,
  cudaWhereUseful,
} from './lib/native-build.mjs';
import { findProgram } from './lib/process.mjs';
import { aptCommand, missingPackages } from './lib/requirements.mjs';

const STAGES = ['modules', 'addon', 'tests'];

/** @param {string} message */
function say(message) {
  process.stderr.write(`setup: ${message}\n`);
}

function checkNode() {
  const text = readFileSync(path.join(ROOT, 'package.json'), 'utf8');
  const { engines } = /** @type {{ engines: { node: string } }} */ (JSON.parse(text));
  const [major = 0, minor = 0] = engines.node.replace('>=', '').split('.').map(Number);
  const [ownMajor = 0, ownMinor = 0] = process.versions.node.split('.').map(Number);
  if (ownMajor > major || (ownMajor === major && ownMinor >= minor)) return;
  throw new Error(`Node ${engines.node} is needed; this is ${process.versions.node}`);
}

function installSystemPackages() {
  const missing = missingPackages();
  if (missing.length === 0) return;
  const list = missing.join(' ');
  if (!findProgram('apt-get')) {
    throw new Error(`please install what Debian calls ${list}, then run this command again`);
  }
  const command = aptCommand(missing);
  if (process.getuid?.() !== 0) {
    throw new Error(`system packages are missing; please run:\n\n  sudo sh -c '${command}'\n`);
  }
  say(`installing ${list}`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const { status } = spawnSync('sh', ['-c', command], { env, stdio: ['ignore', 2, 2] });
  if (status !== 0) throw new Error(`this command failed: ${command}`);
}

/**
 * @typedef {{ version?: string, integrity?: string, optional?: boolean }} LockedPackage
 * @param {string} file a package lock, relative to the repository
 * @returns {Record<string, LockedPackage>} by installation path
 */
function lockedPackages(file) {
  const text = readFileSync(path.join(ROOT, file), 'utf8');
  return /** @type {{ packages: Record<string, LockedPackage> }} */ (JSON.parse(text)).packages;
}

/** Whether node_modules holds what package-lock.json asks for; npm writes the inner lock last. */
function hasNodeModules() {
  if (!existsSync(path.join(ROOT, 'node_modules/.package-lock.json'))) return false;
  const installed = lockedPackages('node_modules/.package-lock.json');
  return Object.entries(lockedPackages('package-lock.json')).every(
    ([place, wanted]) =>
      place === '' ||
      (place in installed
        ? installed[place]?.integrity === wanted.integrity
        : wanted.optional === true),
  );
}

function installNodeModules() {
  if (hasNodeModules()) return;
  say('installing node modules');
  const npm = process.env['npm_execpath'];
  const [command, ...args] = npm ? [process.execPath, npm] : ['npm'];
  const options = ['ci', '--include=dev', '--ignore-scripts'];
  const { status } = spawnSync(command, [...args, ...options], {
    cwd: ROOT,
    stdio: ['ignore', 2, 2],
  });
  if (status !== 0) throw new Error('npm ci failed');
}

/** @param {'ON' | 'AUTO' | 'OFF'} cuda */
async function buildNativeAddon(cuda) {
  if (!(await buildAddon(cuda, say))) throw new Error('building the native addon failed');
}

async function buildSanitizedTests() {
  for (const [preset, programs] of Object.entries(SANITIZED)) {
    if (!(await buildPreset(preset, programs, say))) {
      throw new Error('building the native tests failed');
    }
  }
}

/** @param {string} last */
async function setUp(last) {
  const wanted = STAGES.slice(0, STAGES.indexOf(last) + 1);
  checkNode();
  if (wanted.includes('addon')) installSystemPackages();
  installNodeModules();
  // The tests read what nvcc made of each kernel, with a GPU or without.
  const cuda = wanted.includes('tests') ? 'AUTO' : cudaWhereUseful();
  if (wanted.includes('addon')) await buildNativeAddon(cuda);
  if (wanted.includes('tests')) await buildSanitizedTests();
}

/**
 * Runs this script again under flock(1), part of every Debian, so that set-ups of one checkout
 * follow one another; the kernel frees the lock however its holder ends.
 * @param {string} stage
 * @returns {number} exit status
 */
function runLocked(stage) {
  mkdirSync(BUILD, { recursive: true });
  const busy = 75;
  const script = [path.join(BUILD, 'setup.lock'), process.execPath, fileURLToPath(import.meta.url)];
  const env = { ...process.env, WGQA_SETUP_LOCKED: '1' };
  /** @param {string[]} options */
  const flock = (...options) =>
    spawnSync('flock', [...options, ...script, stage], { env, stdio: 'inherit' }).status ?? 1;
  const status = flock('--nonblock', '--conflict-exit-code', String(busy));
  if (status !== busy) return status;
  say('waiting for another set-up of this checkout');
  return flock();
}

const stage = process.argv[2] ?? 'addon';
try {
  if (!STAGES.includes(stage))
    throw new Error(`expected one of ${STAGES.join(', ')}, not ${stage}`);
  if (process.env['WGQA_SETUP_LOCKED'] || !findProgram('flock')) await setUp(stage);
  else process.exitCode = runLocked(stage);
} catch (error) {
  say(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}
