// npm's install script where wgqa is someone's dependency: builds the addon if none loads. It never
// fails their install: the package says what is missing when the addon is first needed, and
// `npm rebuild wgqa` comes back here. WGQA_SKIP_BUILD=1 leaves the build out.
import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { ADDON, BUILD, buildAddon } from './lib/native-build.mjs';
import { findProgram } from './lib/process.mjs';

/** In a process of its own: a broken binary must not end this one. */
function addonLoads() {
  const load = `require(${JSON.stringify(ADDON)})`;
  return spawnSync(process.execPath, ['--eval', load], { stdio: 'ignore' }).status === 0;
}

async function install() {
  if (process.env['WGQA_SKIP_BUILD'] || addonLoads()) return;
  if (!findProgram('cmake')) throw new Error('cmake was not found');
  // What is there does not load, so its objects are not to be trusted either.
  rmSync(BUILD, { recursive: true, force: true });
  /** @type {string[]} */
  const log = [];
  if (!(await buildAddon((line) => log.push(line)))) {
    throw new Error(`the build failed:\n${log.slice(-40).join('\n')}`);
  }
}

try {
  await install();
} catch (error) {
  const reason = error instanceof Error ? error.message : String(error);
  process.stderr.write(
    `wgqa: the native addon was not built: ${reason}\n` +
      'wgqa: it needs g++, cmake, ninja-build, libdnnl-dev, libhwy-dev and libeigen3-dev; then run: npm rebuild wgqa\n',
  );
}
