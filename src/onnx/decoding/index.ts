import { BeamStrategy } from './beam-strategy.ts';
import { SamplingStrategy } from './sampling-strategy.ts';
import type { OnToken, Strategy, StrategyRequest } from './strategy.ts';

export { StopStrings } from './stop-strings.ts';
export type {
  CandidateCounts,
  Continuation,
  OnToken,
  Strategy,
  StrategyRequest,
} from './strategy.ts';

/** Beam search and beam sampling, or greedy decoding and independent samples. */
export function makeStrategy(request: StrategyRequest, onToken: OnToken): Strategy {
  return request.options.numBeams > 1
    ? new BeamStrategy(request)
    : new SamplingStrategy(request, onToken);
}
