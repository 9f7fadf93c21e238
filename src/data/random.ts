/**
 * A stream of random 32-bit integers that is a pure function of (seed, stream, position): any
 * epoch's order can be had again without replaying the ones before. Each output is a counter
 * passed through MurmurHash3's 32-bit finaliser, keyed before and after.
 */
export class CounterRandom {
  readonly #keys: readonly [number, number];
  #position = 0;

  /** `seed` and `stream` are safe integers from 0; all their 53 bits count. */
  constructor(seed: number, stream: number) {
    let [a, b] = [0x243f6a88, 0x85a308d3]; // the first fraction digits of pi: nothing up the sleeve
    for (const value of [seed, stream]) {
      a = mix(a ^ (value >>> 0));
      b = mix(b ^ (Math.floor(value / 2 ** 32) >>> 0) ^ a);
      a = mix((a + b) >>> 0);
    }
    this.#keys = [a, b];
  }

  /** The next integer in [0, 2^32). */
  nextUint32(): number {
    const [a, b] = this.#keys;
    const counter = Math.imul(this.#position, 0x9e3779b9);
    this.#position += 1;
    return mix(mix((counter + a) >>> 0) ^ b);
  }

  /** The next integer in [0, limit), every value equally likely; `limit` is at most 2^32. */
  nextBelow(limit: number): number {
    const fairRange = Math.floor(2 ** 32 / limit) * limit;
    for (;;) {
      const value = this.nextUint32();
      if (value < fairRange) return value % limit;
    }
  }

  /** Puts the items into random order, in place (Fisher and Yates), and returns them. */
  shuffle<T extends Int32Array | unknown[]>(items: T): T {
    for (let last = items.length - 1; last > 0; last -= 1) {
      const other = this.nextBelow(last + 1);
      [items[last], items[other]] = [items[other], items[last]];
    }
    return items;
  }
}

function mix(value: number): number {
  let h = value >>> 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
