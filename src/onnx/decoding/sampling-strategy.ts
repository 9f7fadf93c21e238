/** Greedy decoding and sampling: sequences that do not know of each other. */
import type { FinishedSequence, ResolvedOptions } from '../../decode/request-reader.ts';
import { processScores } from './logits-processors.ts';
import { sampleUniform } from './random.ts';
import { argmax, logSumExp, softmaxWeights, type ScoredToken } from './row-math.ts';
import type { StopState, StopStrings } from './stop-strings.ts';
import {
  alternativesOf,
  checkUsable,
  flatAlternatives,
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
  readonly alternatives: (readonly ScoredToken[])[];
  newest: readonly ScoredToken[];
  reason: FinishedSequence['finishReason'];
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
  #isLast = false;
  readonly #source: Int32Array;

  constructor({ options, prompt, source, stops }: StrategyRequest, onToken: OnToken) {
    this.#options = options;
    this.#source = source;
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
      alternatives: [],
      newest: [],
      reason: 'length',
    }));
    this.#live = this.#samples;
    this.continuations = [{ parent: 0, token: prompt.at(-1) ?? 0 }];
  }

  score(row: number, logits: Float32Array): void {
    checkUsable(logits, this.#options);
    const readers = this.#isFirst ? this.#live : [this.#live[row]!];
    const unprocessed = this.#options.logProbs ? logits.slice() : undefined;
    const logSum = unprocessed ? logSumExp(unprocessed) : 0;
    const alternatives = alternativesOf(logits, this.#options.topLogProbs);
    const context = {
      options: this.#options,
      source: this.#source,
      history: readers[0]!.history,
      promptTokens: this.#promptTokens,
    };
    processScores(context, logits);
    for (const sample of readers) {
      sample.newest = alternatives;
      sample.token = this.#choose(sample, logits);
      sample.logProb = unprocessed ? Math.fround(unprocessed[sample.token]! - logSum) : 0;
    }
  }

  setLastStep(): void {
    this.#isLast = true;
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
    return this.#samples.map(({ history, logProbs, alternatives, reason }) => ({
      tokenIds: Int32Array.from(history.slice(1)),
      ...(this.#options.logProbs && { logProbs: Float32Array.from(logProbs) }),
      ...flatAlternatives(alternatives, this.#options.topLogProbs),
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
    const { token, logProb, newest } = sample;
    if (token < 0) {
      sample.reason = 'blocked';
      return false;
    }
    sample.history.push(token);
    sample.logProbs.push(logProb);
    sample.alternatives.push(newest);
    sample.stopState = this.#stops.push(sample.stopState, token);
    this.#onToken(sample.index, token, logProb, newest);
    const reason = this.#endOf(sample);
    sample.reason = reason ?? 'length';
    return reason === undefined;
  }

  #endOf(sample: Sample): Sample['reason'] | undefined {
    const { eosTokenIds, maxNewTokens } = this.#options;
    if (sample.stopState.stopped || eosTokenIds.includes(sample.token)) return 'stop';
    if (this.#generated(sample) >= maxNewTokens) return 'length';
    return this.#isLast ? 'time' : undefined;
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
