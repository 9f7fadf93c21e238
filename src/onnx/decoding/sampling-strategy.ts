/** Greedy decoding and sampling: sequences that do not know of each other. */
import type { FinishedSequence, ResolvedOptions } from '../../decode/request-reader.ts';
import { processScores } from './logits-processors.ts';
import { sampleUniform } from './random.ts';
import { argmax, isUsable, logSumExp, softmaxWeights } from './row-math.ts';
import type { StopState, StopStrings } from './stop-strings.ts';
import {
  nonFiniteLogits,
  type Continuation,
  type OnToken,
  type Strategy,
  type StrategyRequest,
} from './strategy.ts';

interface Sample {
  readonly index: number;
  /** The decoder's prompt and generated tokens. */
  readonly history: number[];
  readonly logProbs: number[];
  stopState: StopState;
  /** Chosen by the running step; -1: none is allowed. */
  token: number;
  logProb: number;
  reason: 'stop' | 'length';
}

export class SamplingStrategy implements Strategy {
  continuations: readonly Continuation[];
  readonly #options: ResolvedOptions;
  readonly #stops: StopStrings;
  readonly #onToken: OnToken;
  readonly #promptTokens: number;
  readonly #samples: readonly Sample[];
  /** Samples that go on. Before the first step they share one row, then each has its own. */
  #live: readonly Sample[];
  #isFirst = true;

  constructor({ options, prompt, stops }: StrategyRequest, onToken: OnToken) {
    this.#options = options;
    this.#stops = stops;
    this.#onToken = onToken;
    this.#promptTokens = prompt.length;
    this.#samples = Array.from({ length: options.numReturnSequences }, (_, index) => ({
      index,
      history: [...prompt],
      logProbs: [],
      stopState: stops.after(prompt),
      token: -1,
      logProb: 0,
      reason: 'length',
    }));
    this.#live = this.#samples;
    this.continuations = [{ parent: 0, token: prompt.at(-1) ?? 0 }];
  }

  score(row: number, logits: Float32Array): void {
    if (!isUsable(logits)) throw nonFiniteLogits();
    const readers = this.#isFirst ? this.#live : [this.#live[row]!];
    const unprocessed = this.#options.logProbs ? logits.slice() : undefined;
    const logSum = unprocessed ? logSumExp(unprocessed) : 0;
    processScores(this.#options, readers[0]!.history, this.#promptTokens, logits);
    for (const sample of readers) {
      sample.token = this.#choose(sample, logits);
      sample.logProb = unprocessed ? Math.fround(unprocessed[sample.token]! - logSum) : 0;
    }
  }

  advance(): void {
    const goesOn = this.#live.map((sample) => this.#append(sample));
    const parentOf = (place: number): number => (this.#isFirst ? 0 : place);
    this.continuations = this.#live
      .map(({ token }, place) => ({ parent: parentOf(place), token }))
      .filter((_, place) => goesOn[place]);
    this.#live = this.#live.filter((_, place) => goesOn[place]);
    this.#isFirst = false;
  }

  sequences(): FinishedSequence[] {
    return this.#samples.map(({ history, logProbs, reason }) => ({
      tokenIds: Int32Array.from(history.slice(1)),
      ...(this.#options.logProbs && { logProbs: Float32Array.from(logProbs) }),
      finishReason: reason,
    }));
  }

  #generated({ history }: Sample): number {
    return history.length - this.#promptTokens;
  }

  #choose(sample: Sample, scores: Float32Array): number {
    const { doSample, seed } = this.#options;
    if (!doSample) return argmax(scores);
    return drawToken(scores, sampleUniform(seed, sample.index, this.#generated(sample)));
  }

  /** Takes the chosen token; false if the sample ends with it. */
  #append(sample: Sample): boolean {
    const { token, logProb } = sample;
    if (token < 0) return false;
    sample.history.push(token);
    sample.logProbs.push(logProb);
    sample.stopState = this.#stops.push(sample.stopState, token);
    const { eosTokenIds, maxNewTokens } = this.#options;
    if (sample.stopState.stopped || eosTokenIds.includes(token)) sample.reason = 'stop';
    this.#onToken(sample.index, token, logProb);
    return sample.reason !== 'stop' && this.#generated(sample) < maxNewTokens;
  }
}

/** Draws from softmax(scores): the token at which the cumulative probability passes `uniform`. */
function drawToken(scores: Float32Array, uniform: number): number {
  let last = argmax(scores);
  if (last < 0) return last;
  const weights = softmaxWeights(scores);
  let left = uniform * weights.reduce((sum, weight) => sum + weight, 0);
  for (let token = 0; token < weights.length; ++token) {
    if (weights[token] === 0) continue;
    last = token;
    left -= weights[token]!;
    if (left < 0) break;
  }
  return last;
}
