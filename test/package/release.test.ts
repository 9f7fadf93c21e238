/** The package built from source, as npm and pnpm install it: minutes, so only for a release. */
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { MODEL, must, PackedPackage, write } from './packed.ts';

const PNPM = 'pnpm@10.18.0';
const FROM_SOURCE = { WGQA_ADDON: undefined };
const ofRelease = process.env['WGQA_RELEASE'] ? test : test.skip;

let packed: PackedPackage;
beforeAll(() => {
  if (process.env['WGQA_RELEASE']) packed = new PackedPackage();
}, 600_000);
afterAll(() => {
  if (process.env['WGQA_RELEASE']) packed.remove();
});

const inspect = (project: string): string => {
  const program = path.join(project, 'node_modules/.bin/wgqa');
  return must(program, ['inspect', MODEL], { cwd: project, env: FROM_SOURCE });
};

ofRelease(
  'npm run test:release: npm installs and builds it from source',
  () => {
    const project = packed.folder('npm');
    write(project, { 'package.json': '{"name": "project", "allowScripts": {"wgqa": true}}' });
    must('npm', ['install', '--foreground-scripts', packed.file], {
      cwd: project,
      env: FROM_SOURCE,
    });
    const build = path.join(project, 'node_modules/wgqa/build');
    expect(readdirSync(build)).toEqual(['Release']);
    expect(existsSync(path.join(project, 'node_modules/cmake-js'))).toBe(false);
    expect(inspect(project)).toContain('Heads');
  },
  1_800_000,
);

ofRelease(
  'npm run test:release: pnpm builds it once that is allowed',
  () => {
    const project = packed.folder('pnpm');
    const pnpm = ['exec', '--yes', '--', PNPM];
    write(project, {
      'package.json': '{"name": "project"}',
      'pnpm-workspace.yaml': 'onlyBuiltDependencies:\n  - wgqa\n',
    });
    must('npm', [...pnpm, 'add', packed.file], { cwd: project, env: FROM_SOURCE });
    expect(inspect(project)).toContain('Heads');
  },
  1_800_000,
);
