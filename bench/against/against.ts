/**
 * This tree beside another one that is built, an older one as a rule: a process of each keeps its
 * model, and they measure in turn.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import {
  compareInTurn,
  type Benchmark,
  type Impossible as ImpossibleCase,
  type Measurement,
} from '../../src/bench/measurement.ts';
import { alternate } from '../../src/bench/ratio.ts';
import type { RunOptions } from '../../src/bench/run-options.ts';
import { AskedProcess, Impossible } from '../asked-process.ts';
import { limitInForce } from '../instruction-sets.ts';
import { alternationsOf } from '../types.ts';
import { COMPARABLE, type Group } from './cases.ts';
import type { Request, TreeDescription } from './protocol.ts';

const THIS_TREE = path.join(import.meta.dirname, '../..');
const WANTED_SHARE = 0.98;

type Side = 'new' | 'old';
const SIDES = ['new', 'old'] as const;

/** @param folder of the other tree. @throws Error if it is not built, or has no such limit */
export async function compareTrees(
  benchmark: string,
  folder: string,
  options: RunOptions,
): Promise<Benchmark> {
  const groups = COMPARABLE[benchmark];
  if (groups === undefined) {
    const names = Object.keys(COMPARABLE).join(', ');
    throw new Error(`${benchmark} cannot be compared with another tree; those that can: ${names}`);
  }
  const trees = { new: THIS_TREE, old: path.resolve(folder) };
  const names = { new: await nameOf(trees.new), old: await nameOf(trees.old) };
  await using duel = new Duel(trees);
  await duel.checkAlike();
  const measurements: Measurement[] = [];
  const impossible: ImpossibleCase[] = [];
  for (const group of groups(options.quick)) {
    try {
      measurements.push(...(await duel.play(group, names, options)));
    } catch (error) {
      if (!(error instanceof Impossible)) throw error;
      impossible.push({ name: `${group.title}, ${group.dtype}`, reason: error.message });
    }
  }
  return { title: `${benchmark}, ${names.new} beside ${names.old}`, measurements, impossible };
}

class Duel implements AsyncDisposable {
  readonly #processes: Readonly<Record<Side, AskedProcess>>;

  constructor(trees: Readonly<Record<Side, string>>) {
    for (const side of SIDES) checkBuilt(trees[side]);
    // Each tree loads the addon that it was built with.
    const { WGQA_ADDON: _, ...env } = process.env;
    const program = path.join(import.meta.dirname, 'child.ts');
    const start = (side: Side) => new AskedProcess(program, { args: [trees[side]], env });
    this.#processes = { new: start('new'), old: start('old') };
  }

  async checkAlike(): Promise<void> {
    const limit = limitInForce();
    const found = (await this.#both({ call: 'describe' })) as Record<Side, TreeDescription>;
    if (limit !== undefined && found.old.isa !== limit) {
      throw new Error(`the other tree cannot be limited to ${limit}`);
    }
    if (found.new.threads !== found.old.threads) {
      const { new: mine, old: others } = found;
      throw new Error(`the trees differ in threads: ${mine.threads} and ${others.threads}`);
    }
  }

  async play(
    { title, config, dtype, works }: Group,
    names: Readonly<Record<Side, string>>,
    options: RunOptions,
  ): Promise<Measurement[]> {
    await this.#both({ call: 'load', config, dtype });
    const measurements: Measurement[] = [];
    for (const { name, work } of works) {
      options.onProgress(`${title}, ${dtype}, ${name}`);
      await this.#both({ call: 'prepare', work });
      const times = await alternate(
        alternationsOf(options),
        new Map(SIDES.map((side) => [side, () => this.#measure(side)])),
      );
      const rates = (side: Side): number[] => (times.get(side) ?? []).map((one) => 1000 / one);
      measurements.push(
        compareInTurn({
          name: `${title}, ${dtype}, ${name}`,
          limitName: names.old,
          unit: '1/s',
          values: rates('new'),
          limits: rates('old'),
          wanted: { reaches: WANTED_SHARE },
        }),
      );
    }
    return measurements;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const side of SIDES) await this.#processes[side][Symbol.asyncDispose]();
  }

  async #measure(side: Side): Promise<number> {
    return (await this.#ask(side, { call: 'measure' })) as number;
  }

  /** One after the other: both at once would take each other's cores. */
  async #both(request: Request): Promise<Record<Side, unknown>> {
    return { new: await this.#ask('new', request), old: await this.#ask('old', request) };
  }

  #ask(side: Side, request: Request): Promise<unknown> {
    return this.#processes[side].ask(request);
  }
}

function checkBuilt(tree: string): void {
  for (const file of ['src/index.ts', 'build/Release/wgqa.node']) {
    if (existsSync(path.join(tree, file))) continue;
    throw new Error(`${tree} has no ${file}: build it with \`node scripts/setup.mjs\` there`);
  }
}

/** Its commit, and whether files differ from it; of no repository its folder's name. */
async function nameOf(tree: string): Promise<string> {
  const git = async (...args: readonly string[]): Promise<string> =>
    (await promisify(execFile)('git', ['-C', tree, ...args])).stdout.trim();
  try {
    const changed = await git('status', '--porcelain', '--untracked-files=no');
    return (await git('rev-parse', '--short=9', 'HEAD')) + (changed === '' ? '' : ' and changes');
  } catch {
    return path.basename(tree);
  }
}
