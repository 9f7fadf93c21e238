/** Why the native addon cannot be loaded, and what helps. */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';

const MAX_QUOTED_CHARACTERS = 4000;
const REBUILD = 'run `npm rebuild wgqa` (pnpm: `pnpm rebuild wgqa`; a clone: `npm run build`)';

/**
 * @param reason what the loader says
 * @param file the addon
 * @param root the folder of the package
 */
export function describeAddonProblem(reason: string, file: string, root: string): string {
  return `the native addon could not be loaded: ${cureOf(reason.split('\n', 1)[0] ?? '', file, root)}`;
}

function cureOf(reason: string, file: string, root: string): string {
  const library = /^(lib[\w+.-]+?\.so[.\d]*): cannot open shared object file/.exec(reason)?.[1];
  if (library !== undefined) {
    return (
      `this machine lacks ${library}: install ${debianPackage(library)}; ` +
      'the addon itself is whole, and need not be built again'
    );
  }
  if (existsSync(file)) {
    return `${reason}; it was built for another system or version: delete ${path.dirname(file)} and ${REBUILD}`;
  }
  if (process.env['WGQA_ADDON'] !== undefined) {
    return `WGQA_ADDON names ${file}, which does not exist`;
  }
  if (!isOwnPackage(root)) {
    return (
      `${file} does not exist, since wgqa was bundled into other code: tell the bundler that it is ` +
      "external (esbuild: --external:wgqa), or set WGQA_ADDON to the package's build/Release/wgqa.node"
    );
  }
  const failure = readFailure(path.join(root, 'build/failure.txt'));
  if (failure !== undefined) return `its build failed: ${failure}\nThen ${REBUILD}`;
  return (
    `${file} does not exist: the package's install script has not run, which --ignore-scripts and ` +
    `pnpm without \`pnpm approve-builds\` leave out: ${REBUILD}, which says what it needs`
  );
}

/** As Debian and Ubuntu name packages of libraries: libdnnl.so.3.6 is in libdnnl3.6. */
function debianPackage(library: string): string {
  const [, name = '', version = ''] = /^(.*?)\.so\.?([\d.]*)/.exec(library) ?? [];
  const separator = /\d$/.test(name) ? '-' : '';
  return `what Debian and Ubuntu call ${name.toLowerCase()}${separator}${version} (or with t64 at its end)`;
}

function isOwnPackage(root: string): boolean {
  try {
    const text = readFileSync(path.join(root, 'package.json'), 'utf8');
    return (JSON.parse(text) as { name?: unknown }).name === 'wgqa';
  } catch {
    return false;
  }
}

function readFailure(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8').trim().slice(-MAX_QUOTED_CHARACTERS);
  } catch {
    return undefined;
  }
}
