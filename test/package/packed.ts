/** The package as npm packs it, and projects that it is installed into. */
import { spawnSync, type SpawnSyncReturns } from 'node:child_process';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

export const ROOT = path.join(import.meta.dirname, '../..');
export const ADDON = path.join(ROOT, 'build/Release/wgqa.node');
export const MODEL = path.join(ROOT, 'demo/model');

export type Run = SpawnSyncReturns<string>;

export interface RunOptions {
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/** Runs a command to its end, with the addon of this checkout unless `env` says otherwise. */
export function run(command: string, args: readonly string[], { cwd, env }: RunOptions): Run {
  const { npm_config_ignore_scripts: _, ...inherited } = process.env;
  return spawnSync(command, args, {
    cwd,
    env: { ...inherited, WGQA_ADDON: ADDON, ...env },
    encoding: 'utf8',
    timeout: 1_200_000,
  });
}

/** As `run`, and fails with what the command wrote unless it ended well. */
export function must(command: string, args: readonly string[], options: RunOptions): string {
  const { status, signal, stdout, stderr, error } = run(command, args, options);
  if (status === 0) return stdout;
  const end = error?.message ?? signal ?? `status ${String(status)}`;
  throw new Error(`${command} ${args.join(' ')} ended with ${end}:\n${stdout}\n${stderr}`);
}

/** Packs a copy of this checkout without dist/, so that what is packed must be made by npm's hooks. */
export class PackedPackage {
  readonly #folder = mkdtempSync(path.join(tmpdir(), 'wgqa-package-'));
  readonly file: string;
  readonly names: readonly string[];

  constructor() {
    const checkout = path.join(this.#folder, 'checkout');
    const packed = ['src', 'native', 'cmake', 'scripts', 'docs', 'demo'];
    const files = [
      'package.json',
      'CMakeLists.txt',
      'CHANGELOG.md',
      'README.md',
      'LICENSE',
      '.npmrc',
    ];
    const configurations = ['tsconfig.json', 'tsconfig.build.json'];
    for (const name of [...packed, ...files, ...configurations]) {
      cpSync(path.join(ROOT, name), path.join(checkout, name), { recursive: true });
    }
    symlinkSync(path.join(ROOT, 'node_modules'), path.join(checkout, 'node_modules'));
    const output = must('npm', ['pack', '--json', '--pack-destination', this.#folder], {
      cwd: checkout,
    });
    const [{ filename, files: listed }] = JSON.parse(output.slice(output.indexOf('['))) as [
      { filename: string; files: { path: string }[] },
    ];
    this.file = path.join(this.#folder, filename);
    this.names = listed.map(({ path: name }) => name);
  }

  /** A new project with the package, and what it depends on, in node_modules. */
  install(name: string, others: readonly string[] = []): string {
    const project = path.join(this.#folder, name);
    const modules = path.join(project, 'node_modules');
    mkdirSync(path.join(modules, 'wgqa'), { recursive: true });
    must('tar', ['xzf', this.file, '--strip-components=1', '-C', path.join(modules, 'wgqa')], {
      cwd: project,
    });
    for (const dependency of [...this.#dependencies(modules), ...others]) {
      const link = path.join(modules, dependency);
      mkdirSync(path.dirname(link), { recursive: true });
      symlinkSync(path.join(ROOT, 'node_modules', dependency), link);
    }
    return project;
  }

  /** A new empty folder. */
  folder(name: string): string {
    const folder = path.join(this.#folder, name);
    mkdirSync(folder, { recursive: true });
    return folder;
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #dependencies(modules: string): string[] {
    const text = readFileSync(path.join(modules, 'wgqa/package.json'), 'utf8');
    return Object.keys((JSON.parse(text) as { dependencies: object }).dependencies);
  }
}

/** Writes files into a project. */
export function write(project: string, files: Readonly<Record<string, string>>): void {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(project, name)), { recursive: true });
    writeFileSync(path.join(project, name), text);
  }
}
