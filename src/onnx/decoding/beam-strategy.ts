/**
 * Beam search and beam sampling, step for step what Hugging Face's transformers
 * (generation/utils.py, _beam_search) computes for one input. Where it fills missing beams with
 * copies that score -1e9, there are simply fewer beams here: the first step has one.
 */
import type { FinishedSequence, ResolvedOptions } from '../../decode/request-reader.ts';
import { processScores } from './logits-processors.ts';
import { addGumbelNoise } from './random.ts';
import { addToRow, isUsable, logSumExp, topTokens, type ScoredToken } from './row-math.ts';
import type { StopState, StopStrings } from './stop-strings.ts';
import {
  alternativesOf,
  checkUsable,
  flatAlternatives,
  type CandidateCounts,
  type Continuation,
  type Strategy,
  type StrategyRequest,
} from './strategy.ts';

type FinishReason = FinishedSequence['finishReason'];

interface Beam {
  readonly history: readonly number[];
  readonly logProbs: readonly number[];
  readonly alternatives: readonly (readonly ScoredToken[])[];
  readonly stopState: StopState;
  /** Sum of processed log-probabilities. */
  readonly score: number;
}

interface Candidate {
  /** The order in which candidates count: the score, or the perturbed score. */
  readonly rank: number;
  /** Of the beam with this token. */
  readonly score: number;
  readonly logProb: number;
  readonly beam: number;
  readonly token: number;
}

interface Hypothesis {
  readonly sequence: FinishedSequence;
  /** Sum / length^lengthPenalty. */
  readonly score: number;
}

export class BeamStrategy implements Strategy {
  continuations: readonly Continuation[];
  readonly #options: ResolvedOptions;
  readonly #stops: StopStrings;
  readonly #promptTokens: number;
  readonly #source: Int32Array;
  readonly #candidateCounts: CandidateCounts;
  #isLast = false;
  /** Of each beam, at the running step. */
  #alternatives: (readonly ScoredToken[])[] = [];
  #beams: readonly Beam[];
  #candidates: Candidate[] = [];
  /** Best first, at most numBeams. */
  readonly #finished: Hypothesis[] = [];
  #generated = 0;

  constructor({ options, prompt, source, stops, candidates }: StrategyRequest) {
    this.#options = options;
    this.#source = source;
    this.#candidateCounts = candidates;
    this.#stops = stops;
    this.#promptTokens = prompt.length;
    const stopState = stops.after(prompt);
    this.#beams = [{ history: prompt, logProbs: [], alternatives: [], stopState, score: 0 }];
    this.continuations = [{ parent: 0, token: prompt.at(-1) ?? 0 }];
  }

  score(row: number, logits: Float32Array): void {
    checkUsable(logits, this.#options);
    const beam = this.#beams[row]!;
    this.#alternatives[row] = alternativesOf(logits, this.#options.topLogProbs);
    // Of a row with NaN or infinity nothing but NaN is left, as in PyTorch.
    if (isUsable(logits)) addToRow(logits, -logSumExp(logits));
    else logits.fill(NaN);
    const unprocessed = this.#options.logProbs ? logits.slice() : undefined;
    const context = {
      options: this.#options,
      source: this.#source,
      history: beam.history,
      promptTokens: this.#promptTokens,
    };
    processScores(context, logits);
    for (const { score: rank, token } of this.#rank(row, logits)) {
      const score = Math.fround(logits[token]! + beam.score);
      this.#candidates.push({ rank, score, logProb: unprocessed?.[token] ?? 0, beam: row, token });
    }
  }

  setLastStep(): void {
    this.#isLast = true;
  }

  advance(): void {
    const { ofStep } = this.#candidateCounts;
    const candidates = this.#candidates.sort(compareCandidates).slice(0, ofStep);
    this.#candidates = [];
    if (candidates.length === 0) {
      this.#giveUp();
      return;
    }
    this.#generated += 1;
    this.#finish(candidates.slice(0, this.#options.numBeams));
    this.#continue(candidates.filter((candidate) => !this.#ends(candidate)));
    if (this.#beams.length === 0 || this.#isDone()) this.#stop();
  }

  sequences(): FinishedSequence[] {
    return this.#finished
      .slice(0, this.#options.numReturnSequences)
      .map(({ sequence }) => sequence);
  }

  #rank(row: number, scores: Float32Array) {
    const { score } = this.#beams[row]!;
    if (!this.#options.doSample) return topTokens(scores, score, this.#candidateCounts.ofRow);
    const noisy = scores.slice();
    addGumbelNoise(noisy, this.#options.seed, this.#generated, row);
    return topTokens(noisy, score, this.#candidateCounts.ofRow);
  }

  #normalised(score: number, length: number): number {
    return Math.fround(score / Math.fround(length ** this.#options.lengthPenalty));
  }

  /** Whether the candidate's token is an end token or completes a stop string. */
  #stopsWith({ beam, token }: Candidate): boolean {
    const isEnd = this.#options.eosTokenIds.includes(token);
    return isEnd || this.#stops.push(this.#beams[beam]!.stopState, token).stopped;
  }

  #ends(candidate: Candidate): boolean {
    const isLast = this.#isLast || this.#generated >= this.#options.maxNewTokens;
    return isLast || this.#stopsWith(candidate);
  }

  #reasonOf(candidate: Candidate): FinishReason {
    if (this.#stopsWith(candidate)) return 'stop';
    return this.#generated >= this.#options.maxNewTokens ? 'length' : 'time';
  }

  /** An ending among the first numBeams candidates becomes a hypothesis. */
  #finish(first: readonly Candidate[]): void {
    for (const candidate of first) {
      if (!this.#ends(candidate)) continue;
      this.#addHypothesis(this.#extend(candidate), this.#reasonOf(candidate));
    }
  }

  #addHypothesis(beam: Beam, finishReason: FinishReason): void {
    const { history, logProbs, alternatives, score: sum } = beam;
    // A forced prefix does not count.
    const score = this.#normalised(sum, Math.max(history.length - this.#promptTokens, 1));
    const sequence = {
      tokenIds: Int32Array.from(history.slice(1)),
      ...(this.#options.logProbs && { logProbs: Float32Array.from(logProbs) }),
      ...flatAlternatives(alternatives, this.#options.topLogProbs),
      score,
      finishReason,
    };
    // Behind its equals, and only the best numBeams stay.
    const place = this.#finished.findIndex((other) => score > other.score);
    this.#finished.splice(place < 0 ? this.#finished.length : place, 0, { sequence, score });
    if (this.#finished.length > this.#options.numBeams) this.#finished.pop();
  }

  #extend({ beam, token, logProb, score }: Candidate): Beam {
    const parent = this.#beams[beam]!;
    return {
      history: [...parent.history, token],
      logProbs: this.#options.logProbs ? [...parent.logProbs, logProb] : [],
      alternatives: [...parent.alternatives, this.#alternatives[beam] ?? []],
      stopState: this.#stops.push(parent.stopState, token),
      score,
    };
  }

  /** The numBeams best candidates that do not end become the beams. */
  #continue(open: readonly Candidate[]): void {
    const ordered = this.#options.doSample ? [...open].sort((a, b) => b.score - a.score) : open;
    const chosen = ordered.slice(0, this.#options.numBeams);
    this.#beams = chosen.map((candidate) => this.#extend(candidate));
    this.continuations = chosen.map(({ beam, token }) => ({ parent: beam, token }));
  }

  #isDone(): boolean {
    const { numBeams, earlyStopping, lengthPenalty, maxNewTokens } = this.#options;
    if (this.#finished.length < numBeams) return false;
    if (earlyStopping === true) return true;
    const longest = earlyStopping === 'never' && lengthPenalty > 0;
    const length = longest ? maxNewTokens : this.#generated;
    return !(this.#normalised(this.#beams[0]!.score, length) > this.#finished.at(-1)!.score);
  }

  /** No beam has an allowed token left: the beams themselves are what can be returned. */
  #giveUp(): void {
    for (const beam of this.#beams) this.#addHypothesis(beam, 'blocked');
    this.#stop();
  }

  #stop(): void {
    this.#beams = [];
    this.continuations = [];
  }
}

function compareCandidates(a: Candidate, b: Candidate): number {
  return b.rank - a.rank || a.beam - b.beam || a.token - b.token;
}
