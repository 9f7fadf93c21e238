/** Runs the contenders of a round in turn and keeps every figure. */
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import type { Impossible as ImpossibleCase } from '../../src/bench/measurement.ts';
import { sourcesOf } from '../../src/bench/sources.ts';
import { Impossible } from '../asked-process.ts';
import { Child } from './child.ts';
import { CONTENDERS, type ContenderName } from './contenders.ts';
import type { Decoded, LoadOptions } from './protocol.ts';
import type { Round } from './rounds.ts';

const WARM_UP_TOKENS = 16;
/** Threads of ONNX Runtime go on spinning for a while after a run, on the next contender's cores. */
const REST_MILLISECONDS = 250;

/** What one contender did in one round. */
export interface Performance {
  /** Until each source has its first token. */
  readonly encodeMilliseconds: number;
  /** Bytes that the process holds, the most seen. */
  residentBytes: number;
  /** By number of beams, one entry per repetition. */
  readonly decoded: Map<number, Decoded[]>;
}

export interface TournamentOptions extends Omit<LoadOptions, 'directory' | 'dtype'> {
  /** With a folder for each variant. */
  readonly directory: string;
  readonly vocabSize: number;
  readonly repetitions: number;
  readonly newTokens: number;
  readonly onProgress: (text: string) => void;
}

/** What a contender cannot do is kept in `impossible`. */
export class Tournament implements AsyncDisposable {
  readonly impossible: ImpossibleCase[] = [];
  readonly #options: TournamentOptions;
  /** Of the running round. Undefined: it could not be loaded. */
  readonly #children = new Map<ContenderName, Child | undefined>();

  constructor(options: TournamentOptions) {
    this.#options = options;
  }

  async play(round: Round): Promise<Map<ContenderName, Performance>> {
    const { batch, sourceTokens, contests } = round;
    const title = `${String(batch)} × ${String(sourceTokens)} tokens`;
    const { vocabSize, onProgress, repetitions } = this.#options;
    const sources = sourcesOf(vocabSize, batch, sourceTokens, batch);
    const performances = new Map<ContenderName, Performance>();
    for (const name of new Set(contests.flatMap(({ ours, peer }) => [ours, peer]))) {
      const child = await this.#child(name);
      if (child === undefined) continue;
      onProgress(`${title}: ${name} encodes`);
      const encoded = await this.#attempt(`${name}, ${title}`, () => child.encode(sources));
      if (encoded === undefined) continue;
      performances.set(name, {
        encodeMilliseconds: encoded.milliseconds,
        residentBytes: encoded.residentBytes,
        decoded: new Map(),
      });
    }
    for (const numBeams of new Set(contests.map((contest) => contest.numBeams))) {
      onProgress(
        `${title}: all decode, ${numBeams === 1 ? 'greedy' : `${String(numBeams)} beams`}`,
      );
      const names = contests
        .filter((contest) => contest.numBeams === numBeams)
        .flatMap(({ ours, peer }) => [ours, peer]);
      // The first repetition warms up.
      for (let i = 0; i <= repetitions; ++i) {
        for (const name of new Set(names)) {
          const performance = performances.get(name);
          if (performance !== undefined) await this.#decode(name, numBeams, performance, i > 0);
        }
      }
    }
    await this[Symbol.asyncDispose]();
    return performances;
  }

  /** Ends all contenders: one that kept the memory of a long round would leave too little for the next. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children.values()) await child?.[Symbol.asyncDispose]();
    this.#children.clear();
  }

  async #decode(
    name: ContenderName,
    numBeams: number,
    performance: Performance,
    counts: boolean,
  ): Promise<void> {
    const child = this.#children.get(name);
    const { newTokens } = this.#options;
    await setTimeout(REST_MILLISECONDS);
    const decoded = await this.#attempt(`${name}, ${String(numBeams)} beams`, () =>
      child?.decode({ numBeams, newTokens }),
    );
    if (decoded === undefined) return;
    performance.residentBytes = Math.max(performance.residentBytes, decoded.residentBytes);
    if (!counts) return;
    const all = performance.decoded.get(numBeams) ?? [];
    performance.decoded.set(numBeams, [...all, decoded]);
  }

  async #child(name: ContenderName): Promise<Child | undefined> {
    if (this.#children.has(name)) return this.#children.get(name);
    const { program, variant, dtype } = CONTENDERS[name];
    const { directory, threads, mostRows, mostTokens } = this.#options;
    const child = new Child(program);
    this.#options.onProgress(`loading ${name}`);
    const loaded = await this.#attempt(name, async () => {
      const paths = { directory: path.join(directory, variant) };
      await child.load({ ...paths, dtype, threads, mostRows, mostTokens });
      // Some pack their weights when they are loaded, others with the first source.
      return child.encode(sourcesOf(this.#options.vocabSize, 1, WARM_UP_TOKENS));
    });
    if (loaded === undefined) await child[Symbol.asyncDispose]();
    this.#children.set(name, loaded === undefined ? undefined : child);
    return this.#children.get(name);
  }

  /** Undefined, and a line in `impossible`, for what a contender has no such feature for. */
  async #attempt<T>(name: string, work: () => Promise<T> | undefined): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof Impossible)) throw error;
      if (this.impossible.every((known) => known.name !== name)) {
        this.impossible.push({ name, reason: error.message });
      }
      return undefined;
    }
  }
}
