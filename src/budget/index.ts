/** K/V heads by layer under a budget of cache bytes: more where fewer would cost most. */
import { CACHED_MODULES, divisors, type KvHeadsByLayer } from '../checkpoint/grouping.ts';
import type { ModelConfig } from '../checkpoint/config.ts';
import type { ConvertOptions } from '../convert/index.ts';
import type { Dataset } from '../data/index.ts';
import { invalidArgument, WgqaError } from '../errors.ts';
import { implementationOf, throwIfAborted, type Model } from '../model/index.ts';
import {
  anything,
  checkOptions,
  checkValue,
  functionRule,
  integerIn,
  numberIn,
  oneOf,
  signalRule,
  type Rules,
} from '../options.ts';
import { checkDataset, evaluateLoss } from '../train/index.ts';
import { allocate } from './allocation.ts';

type CachedModule = (typeof CACHED_MODULES)[number];

const BYTES_PER_FLOAT32 = 4;

export interface AllocateOptions {
  /**
   * Most bytes of K and V in float32 (a bfloat16 cache takes half of them) of one sequence with so
   * many source and target tokens.
   */
  readonly maxBytes: number;
  /** Default 1: the cache of cross-attention. */
  readonly sourceTokens?: number;
  /** Default 1: the cache of self-attention. */
  readonly targetTokens?: number;
  /** Text that losses are taken on. */
  readonly calibration: Dataset;
  /** How heads are prepared where they are merged, as in `convert`. Default 'none'. */
  readonly alignment?: 'none' | 'orthogonal';
  readonly signal?: AbortSignal;
  /** Called after each evaluation. */
  readonly onProgress?: (done: number, total: number) => void;
}

export interface KvHeadAllocation {
  /** As `convert` takes them. */
  readonly kvHeads: KvHeadsByLayer;
  /** Bytes of the sequence with these heads. */
  readonly bytes: number;
  /** Loss per label on the calibration text, in nats, of the model as it is. */
  readonly loss: number;
  /** What the loss gains if one layer alone keeps so many heads, their mean. */
  readonly sensitivities: readonly Sensitivity[];
}

export interface Sensitivity {
  readonly module: CachedModule;
  readonly layer: number;
  readonly kvHeads: number;
  readonly lossIncrease: number;
}

const RULES = {
  maxBytes: numberIn({ min: 0, exclusive: true }),
  sourceTokens: integerIn(1),
  targetTokens: integerIn(1),
  calibration: anything<Dataset>(),
  alignment: oneOf('none', 'orthogonal'),
  signal: signalRule,
  onProgress: functionRule<(done: number, total: number) => void>(),
} satisfies Rules;

/**
 * Chooses the K/V heads of each decoder layer: what the loss gains when a single layer is pooled to
 * fewer heads is measured for every layer and number of heads, and the choice with the least sum
 * within the budget is taken. The sum stands for the loss of all layers pooled at once, which it is
 * not: layers share errors.
 * @throws WgqaError INVALID_ARGUMENT (`maxBytes` below one head everywhere, a model that is converted
 *   already), NON_FINITE, DISPOSED, ABORTED
 */
export async function allocateKvHeads(
  model: Model,
  options: AllocateOptions,
): Promise<KvHeadAllocation> {
  const { config } = implementationOf(model);
  const given = checkOptions(options, RULES);
  if (config.num_key_value_heads !== undefined) {
    throw invalidArgument('model', 'a multi-head model', 'a converted one');
  }
  checkDataset(given.calibration, 'calibration');
  const bytesOf = costOf(config, given);
  const maxBytes = checkBudget(given.maxBytes, placesOf(config), bytesOf);
  const { loss, sensitivities } = await measure(model, given.calibration, given);
  const picked = choose(placesOf(config), sensitivities, { bytesOf, maxBytes });
  const bytes = picked.reduce((sum, one) => sum + bytesOf(one), 0);
  return { kvHeads: byLayer(picked), bytes, loss, sensitivities };
}

/** Bytes of K and V of a layer with so many heads. */
type Cost = (layer: Pick<Sensitivity, 'module' | 'kvHeads'>) => number;

function costOf(
  { d_kv: headDim }: ModelConfig,
  { sourceTokens = 1, targetTokens = 1 }: Partial<AllocateOptions>,
): Cost {
  const tokens = { 'decoder.self': targetTokens, 'decoder.cross': sourceTokens };
  return ({ module, kvHeads }) => 2 * kvHeads * headDim * BYTES_PER_FLOAT32 * tokens[module];
}

function checkBudget(maxBytes: unknown, places: readonly Place[], bytesOf: Cost): number {
  const checked = checkValue(maxBytes, RULES.maxBytes, 'maxBytes');
  const least = places.reduce((sum, { module }) => sum + bytesOf({ module, kvHeads: 1 }), 0);
  if (checked >= least) return checked;
  throw invalidArgument('maxBytes', `at least ${least}, one head in each layer`, maxBytes);
}

/** One of its sensitivities for each place. */
function choose(
  places: readonly Place[],
  sensitivities: readonly Sensitivity[],
  { bytesOf, maxBytes }: { readonly bytesOf: Cost; readonly maxBytes: number },
): Sensitivity[] {
  const candidates = places.map((place) => sensitivities.filter((found) => isOf(found, place)));
  const chosen = allocate(
    candidates.map((ofPlace) =>
      ofPlace.map((one) => ({ cost: bytesOf(one), loss: one.lossIncrease })),
    ),
    maxBytes,
  );
  return candidates.map((ofPlace, place) => ofPlace[chosen?.[place] ?? 0]!);
}

interface Place {
  readonly module: CachedModule;
  readonly layer: number;
}

function placesOf({ num_decoder_layers: layers }: ModelConfig): Place[] {
  return CACHED_MODULES.flatMap((module) =>
    Array.from({ length: layers }, (_, layer) => ({ module, layer })),
  );
}

const isOf = (a: Place, b: Place): boolean => a.module === b.module && a.layer === b.layer;

async function measure(
  model: Model,
  dataset: Dataset,
  { alignment = 'none', signal, onProgress }: Partial<AllocateOptions>,
): Promise<Pick<KvHeadAllocation, 'loss' | 'sensitivities'>> {
  const calibration = alignment === 'none' ? [] : [...dataset.batches(0)];
  const abort = signal ? { signal } : {};
  const loss = await finiteLoss(model, dataset, abort);
  const places = placesOf(model.config);
  const heads = model.config.num_heads;
  const fewer = divisors(heads).filter((kvHeads) => kvHeads < heads);
  const total = places.length * fewer.length;
  const sensitivities: Sensitivity[] = [];
  let done = 0;
  for (const place of places) {
    for (const kvHeads of fewer) {
      throwIfAborted(signal);
      const conversion: ConvertOptions = {
        merge: 'mean',
        alignment,
        ...(calibration.length > 0 && { calibration }),
        kvHeads: oneLayer(model.config, { ...place, kvHeads }),
      };
      await using pooled = await model.convert(conversion, abort);
      const lossIncrease = (await finiteLoss(pooled, dataset, abort)) - loss;
      sensitivities.push({ ...place, kvHeads, lossIncrease });
      onProgress?.(++done, total);
    }
    sensitivities.push({ ...place, kvHeads: heads, lossIncrease: 0 });
  }
  return { loss, sensitivities };
}

/** @throws WgqaError NON_FINITE: what is no number cannot be compared */
async function finiteLoss(
  model: Model,
  dataset: Dataset,
  options: { readonly signal?: AbortSignal },
): Promise<number> {
  const { loss } = await evaluateLoss(model, dataset, options);
  if (Number.isFinite(loss)) return loss;
  const message = `the loss on the calibration text is ${loss}`;
  throw new WgqaError('NON_FINITE', message, { field: 'calibration' });
}

/** All heads in all layers of the place's module but one. */
function oneLayer(
  { num_heads: heads, num_decoder_layers: layers }: ModelConfig,
  { module, layer, kvHeads }: Place & { readonly kvHeads: number },
): KvHeadsByLayer {
  return { [module]: Array.from({ length: layers }, (_, i) => (i === layer ? kvHeads : heads)) };
}

function byLayer(picked: readonly Sensitivity[]): KvHeadsByLayer {
  const of = (module: CachedModule): number[] =>
    picked.filter((choice) => choice.module === module).map(({ kvHeads }) => kvHeads);
  return { 'decoder.self': of('decoder.self'), 'decoder.cross': of('decoder.cross') };
}
