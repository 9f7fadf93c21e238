import { describe, expect, test } from '@jest/globals';
import { ChunkQueue } from '../../src/decode/chunk-queue.ts';

describe('a queue between one that pushes and one that reads', () => {
  test('gives everything in order, then ends', async () => {
    const queue = new ChunkQueue<number>(3);
    const read: number[] = [];
    const reading = (async () => {
      for await (const value of queue) read.push(value);
    })();
    for (let i = 0; i < 10; ++i) {
      queue.push(i);
      if (i % 3 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    queue.end();
    await reading;
    expect(read).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  test('tells when it is full, and when half is read', async () => {
    const queue = new ChunkQueue<number>(4);
    const told: boolean[] = [];
    queue.onFull = (isFull) => told.push(isFull);
    for (let i = 0; i < 3; ++i) queue.push(i);
    expect(told).toEqual([]);
    for (let i = 3; i < 6; ++i) queue.push(i);
    expect(told).toEqual([true]);
    const reader = queue[Symbol.asyncIterator]();
    for (let i = 0; i < 3; ++i) expect(await reader.next()).toMatchObject({ value: i });
    expect(told).toEqual([true]);
    expect(await reader.next()).toMatchObject({ value: 3 });
    expect(told).toEqual([true, false]);
    queue.push(6);
    queue.push(7);
    expect(told).toEqual([true, false, true]);
  });

  test('fails behind what was pushed before', async () => {
    const queue = new ChunkQueue<number>(1);
    queue.push(1);
    queue.fail(new RangeError('late'));
    const read: number[] = [];
    const reading = async () => {
      for await (const value of queue) read.push(value);
    };
    await expect(reading).rejects.toThrow('late');
    expect(read).toEqual([1]);
  });
});
