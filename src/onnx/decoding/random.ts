/**
 * Random numbers of sampling, those of the native engine: Philox4x32-10 (Salmon et al., SC 2011) by
 * seed and position, so that a seed means the same draws in both.
 */

type Block = readonly [number, number, number, number];

const ROUNDS = 10;
const MULTIPLIERS = [0xd2511f53n, 0xcd9e8d57n] as const;
const WEYL = [0x9e3779b9, 0xbb67ae85] as const;
/** High word of the stream of beams; that of independent samples is stream 0. */
const BEAM_STREAM_HIGH = 1;

function philox(seed: number, counter: Block): Block {
  let [a, b, c, d] = counter;
  let key0 = seed >>> 0;
  let key1 = Math.floor(seed / 2 ** 32) >>> 0;
  for (let round = 0; round < ROUNDS; ++round) {
    const first = MULTIPLIERS[0] * BigInt(a);
    const second = MULTIPLIERS[1] * BigInt(c);
    a = (high(second) ^ b ^ key0) >>> 0;
    b = low(second);
    c = (high(first) ^ d ^ key1) >>> 0;
    d = low(first);
    key0 = (key0 + WEYL[0]) >>> 0;
    key1 = (key1 + WEYL[1]) >>> 0;
  }
  return [a, b, c, d];
}

const high = (product: bigint): number => Number(product >> 32n);
const low = (product: bigint): number => Number(product & 0xffffffffn);

/** A uniform number in [0, 1) with 53 random bits, for one token of one sample. */
export function sampleUniform(seed: number, sample: number, position: number): number {
  const column = 2 * position;
  const block = philox(seed, [Math.floor(column / 4), sample, 0, 0]);
  const upper = (block[column % 4] ?? 0) >>> 5;
  const lower = (block[(column % 4) + 1] ?? 0) >>> 6;
  return (upper * 2 ** 26 + lower) * 2 ** -53;
}

/**
 * Adds a standard Gumbel variable to each allowed score: the k largest are k draws without
 * replacement (Kool et al. 2019, arXiv 1903.06059).
 */
export function addGumbelNoise(
  scores: Float32Array,
  seed: number,
  position: number,
  beam: number,
): void {
  let block: Block = [0, 0, 0, 0];
  let drawn = -1;
  for (let token = 0; token < scores.length; ++token) {
    if (scores[token] === -Infinity) continue;
    const index = Math.floor(token / 4);
    if (index !== drawn) block = philox(seed, [index, beam, position, BEAM_STREAM_HIGH]);
    drawn = index;
    const uniform = ((block[token % 4] ?? 0) >>> 9) + 0.5;
    scores[token]! -= Math.log(-Math.log(uniform / 2 ** 23));
  }
}
