// What the native code is built with: the one list of it, for set-up, installation and messages.
import { existsSync } from 'node:fs';
import path from 'node:path';
import { findProgram } from './process.mjs';

/**
 * Debian's package, and what shows that it, or another source of the same thing, is there.
 * @type {readonly { name: string, program?: string, header?: string }[]}
 */
export const SYSTEM_PACKAGES = [
  { name: 'g++', program: 'c++' },
  { name: 'cmake', program: 'cmake' },
  { name: 'ninja-build', program: 'ninja' },
  { name: 'libdnnl-dev', header: 'oneapi/dnnl/dnnl.hpp' },
  { name: 'libhwy-dev', header: 'hwy/highway.h' },
  { name: 'libeigen3-dev', header: 'eigen3/Eigen/Core' },
];

/** Names of the packages that are not there. */
export function missingPackages() {
  return SYSTEM_PACKAGES.filter(
    ({ program, header }) =>
      (program !== undefined && !findProgram(program)) ||
      (header !== undefined && !hasHeader(header)),
  ).map(({ name }) => name);
}

/** @param {string} header */
function hasHeader(header) {
  const prefixes = (process.env['CMAKE_PREFIX_PATH'] ?? '').split(path.delimiter).filter(Boolean);
  const folders = (process.env['CPATH'] ?? '').split(path.delimiter).filter(Boolean);
  return ['/usr', '/usr/local', ...prefixes]
    .map((prefix) => path.join(prefix, 'include'))
    .concat(folders)
    .some((folder) => existsSync(path.join(folder, header)));
}

/**
 * The command that installs Debian's packages.
 * @param {readonly string[]} names
 */
export function aptCommand(names) {
  return `apt-get update && apt-get install -y --no-install-recommends ${names.join(' ')}`;
}
