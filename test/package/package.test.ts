/** What npm packs runs, compiles and explains itself in other projects. */
import { chmodSync, existsSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { SYSTEM_PACKAGES } from '../../scripts/lib/requirements.mjs';
import { ADDON, MODEL, must, PackedPackage, ROOT, run, write } from './packed.ts';

const NODE = process.execPath;
const TSC = path.join(ROOT, 'node_modules/typescript/bin/tsc');
const GENERATE = `
async function main({ Engine, loadModel }) {
  const model = await loadModel(${JSON.stringify(MODEL)});
  const engine = new Engine(model);
  const { sequences } = await engine.generate({ prompt: 'summarize: a package', maxNewTokens: 4 });
  console.log(typeof sequences[0].text);
  await engine.close();
  await model.dispose();
}
`;

let packed: PackedPackage;
beforeAll(() => {
  packed = new PackedPackage();
}, 600_000);
afterAll(() => {
  packed.remove();
});

describe('npm pack', () => {
  test('compiles dist/ first, and packs what the build needs', () => {
    for (const name of ['dist/index.js', 'dist/index.d.ts', 'dist/cli/main.js', 'CMakeLists.txt']) {
      expect(packed.names).toContain(name);
    }
    expect(packed.names.filter((name) => /^(src|test|build|native\/test)\//.test(name))).toEqual(
      [],
    );
  });

  test('source maps hold their sources, and no map points to what is not there', () => {
    const project = packed.install('maps');
    const maps = packed.names.filter((name) => name.endsWith('.map'));
    expect(maps.length).toBeGreaterThan(50);
    for (const name of maps) {
      const text = readFileSync(path.join(project, 'node_modules/wgqa', name), 'utf8');
      const { sourcesContent = [] } = JSON.parse(text) as { sourcesContent?: string[] };
      expect([name, sourcesContent.length]).toEqual([name, 1]);
    }
  });

  test('publishing is refused while package.json holds placeholders', () => {
    const { status, stderr } = run(NODE, ['scripts/prepublish.mjs'], { cwd: ROOT });
    expect(status).toBe(1);
    expect(stderr).toContain('wgqa.example');
  });
});

describe('runs', () => {
  test.each([
    ['an ES module', 'main.mjs', `import * as wgqa from 'wgqa';${GENERATE}await main(wgqa);`],
    ['CommonJS', 'main.cjs', `${GENERATE}main(require('wgqa'));`],
    ['CommonJS with import()', 'main.cjs', `${GENERATE}import('wgqa').then(main);`],
    [
      'a worker',
      'main.mjs',
      `import { isMainThread, Worker } from 'node:worker_threads';
import * as wgqa from 'wgqa';${GENERATE}
if (isMainThread) new Worker(new URL(import.meta.url));
else await main(wgqa);`,
    ],
  ])('in %s', (name, file, text) => {
    const project = packed.install(`run-${name.replaceAll(/\W/g, '')}`);
    write(project, { [file]: text });
    expect(must(NODE, [file], { cwd: project })).toBe('string\n');
  });

  test('as the program wgqa', () => {
    const project = packed.install('program');
    const program = path.join(project, 'node_modules/wgqa/dist/cli/main.js');
    const { version } = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8')) as {
      version: string;
    };
    expect(must(NODE, [program, '--version'], { cwd: project })).toBe(`${version}\n`);
    expect(must(NODE, [program, 'inspect', MODEL], { cwd: project })).toContain('Heads');
  });

  test('bundled by esbuild as an external; bundled whole, it says what to do', () => {
    const project = packed.install('bundle');
    write(project, { 'main.mjs': `import * as wgqa from 'wgqa';${GENERATE}await main(wgqa);` });
    const esbuild = path.join(ROOT, 'node_modules/esbuild/bin/esbuild');
    const options = ['main.mjs', '--bundle', '--platform=node', '--format=esm'];
    must(esbuild, [...options, '--external:wgqa', '--outfile=external.mjs'], { cwd: project });
    expect(must(NODE, ['external.mjs'], { cwd: project })).toBe('string\n');
    const banner = `--banner:js=import{createRequire as r}from'node:module';var require=r(import.meta.url);`;
    const whole = ['--external:onnxruntime-node', banner, '--outfile=out/whole.mjs'];
    must(esbuild, [...options, ...whole], { cwd: project });
    const { status, stderr } = run(NODE, ['out/whole.mjs'], {
      cwd: project,
      env: { WGQA_ADDON: undefined },
    });
    expect(status).toBe(1);
    expect(stderr).toMatch(/NATIVE_UNAVAILABLE|bundled into other code.*--external:wgqa/s);
    expect(stderr).toContain('--external:wgqa');
  });
});

describe('compiles in strict projects, with library checks and without onnxruntime-node', () => {
  const source = `import { Engine, loadModel, loadOnnx, WgqaError, type Model } from 'wgqa';
export async function use(): Promise<string | undefined> {
  const model: Model = await loadModel('org/name', { offline: true });
  const engine = new Engine(model);
  const { sequences } = await engine.generate({ prompt: 'x' });
  const onnx = await loadOnnx('directory', { threads: 1 });
  await onnx.close();
  return sequences[0]?.text;
}
export const isWgqa = (error: unknown): error is WgqaError => error instanceof WgqaError;
`;
  test.each([
    ['node16', 'node16', 'module'],
    ['nodenext', 'nodenext', 'module'],
    ['esnext', 'bundler', 'module'],
    ['nodenext', 'nodenext', 'commonjs'],
  ])('module %s, resolution %s, type %s', (module, moduleResolution, type) => {
    const project = packed.install(`types-${module}-${moduleResolution}-${type}`, [
      '@types/node',
      'undici-types',
    ]);
    const compilerOptions = {
      ...{ module, moduleResolution, target: 'es2022', strict: true, noEmit: true },
      ...{ skipLibCheck: false, exactOptionalPropertyTypes: true, types: ['node'] },
      lib: ['es2023', 'esnext.disposable'],
    };
    write(project, {
      'package.json': JSON.stringify({ type }),
      'tsconfig.json': JSON.stringify({ compilerOptions, include: ['main.ts'] }),
      'main.ts': source,
    });
    expect(must(NODE, [TSC, '-p', '.'], { cwd: project })).toBe('');
  });
});

describe('installation', () => {
  const install = (project: string, env: Readonly<Record<string, string | undefined>>) =>
    run(NODE, ['node_modules/wgqa/scripts/install.mjs'], {
      cwd: project,
      env: { WGQA_ADDON: undefined, WGQA_SKIP_BUILD: undefined, ...env },
    });
  const load = (project: string): string => {
    const model = JSON.stringify(MODEL);
    write(project, {
      'main.mjs': `import { loadModel } from 'wgqa';
await loadModel(${model}).catch(({ code, message }) => console.log(code, message));`,
    });
    return must(NODE, ['main.mjs'], { cwd: project, env: { WGQA_ADDON: undefined } });
  };
  /** Programs of this name that fail, found before any other. */
  const withFailing = (project: string, name: string, says: string): string => {
    write(project, { [`bin/${name}`]: `#!/bin/sh\necho '${says}' >&2\nexit 1\n` });
    chmodSync(path.join(project, 'bin', name), 0o755);
    return `${path.join(project, 'bin')}:${process.env['PATH'] ?? ''}`;
  };

  test('a build that fails fails it, shows why, and is quoted when the addon is needed', () => {
    const project = packed.install('failing');
    const says = 'CMake Error: the compiler is on holiday';
    const { status, stderr } = install(project, { PATH: withFailing(project, 'cmake', says) });
    expect(status).toBe(1);
    expect(stderr).toContain(says);
    expect(load(project)).toMatch(
      new RegExp(`^NATIVE_UNAVAILABLE .*build failed.*${says}.*rebuild`, 's'),
    );
  });

  test('what it is built with is named where it is missing, in the words of the README', () => {
    const project = packed.install('lacking');
    const { status, stderr } = install(project, { PATH: '', CPATH: '', CMAKE_PREFIX_PATH: '' });
    expect(status).toBe(1);
    expect(stderr).toContain('apt-get install -y --no-install-recommends g++ cmake ninja-build');
    expect(load(project)).toContain('apt-get install');
    const names = SYSTEM_PACKAGES.map(({ name }) => name).join(', ');
    expect(readFileSync(path.join(ROOT, 'README.md'), 'utf8')).toContain(names);
  });

  test('scripts that did not run are named; WGQA_SKIP_BUILD and WGQA_ADDON build nothing', () => {
    const project = packed.install('skipped');
    expect(install(project, { WGQA_SKIP_BUILD: '1' })).toMatchObject({ status: 0, stderr: '' });
    expect(install(project, { WGQA_ADDON: ADDON })).toMatchObject({ status: 0, stderr: '' });
    expect(existsSync(path.join(project, 'node_modules/wgqa/build'))).toBe(false);
    expect(load(project)).toMatch(
      /install script has not run.*pnpm approve-builds.*npm rebuild wgqa/s,
    );
  });

  test('an addon that lacks a library of the system is kept, and the library named', () => {
    const project = packed.install('library');
    const build = path.join(project, 'node_modules/wgqa/build/Release');
    write(build, { 'lacking.c': '' });
    // A library that needs another one which then goes.
    must(
      'c++',
      ['-shared', '-o', 'libdnnl.so.99.6', '-Wl,-soname,libdnnl.so.99.6', '-x', 'c', 'lacking.c'],
      { cwd: build },
    );
    must(
      'c++',
      [
        '-shared',
        '-o',
        'wgqa.node',
        '-Wl,--no-as-needed',
        '-x',
        'c',
        'lacking.c',
        '-x',
        'none',
        './libdnnl.so.99.6',
      ],
      { cwd: build },
    );
    rmSync(path.join(build, 'libdnnl.so.99.6'));
    const { status, stderr } = install(project, {});
    expect(status).toBe(1);
    expect(stderr).toContain('this machine lacks libdnnl.so.99.6');
    expect(existsSync(path.join(build, 'wgqa.node'))).toBe(true);
    expect(load(project)).toMatch(
      /lacks libdnnl\.so\.99\.6: install what .* call libdnnl99\.6 .*need not be built/,
    );
  });
});
