import { describe, expect, test } from '@jest/globals';
import { learningRateAt } from '../../src/train/schedule.ts';

const rates = (steps: number[], schedule: Parameters<typeof learningRateAt>[2]): number[] =>
  steps.map((step) => learningRateAt(step, 0.8, schedule));

describe('learning rates', () => {
  test('linear without warm-up starts at the peak and ends at 0', () => {
    expect(rates([0, 1, 2, 3, 4, 9], { type: 'linear', totalSteps: 4 })).toEqual([
      0.8, 0.6000000000000001, 0.4, 0.2, 0, 0,
    ]);
  });

  test('linear with warm-up rises from 0, then falls, as in Hugging Face Transformers', () => {
    const schedule = { type: 'linear', warmupSteps: 2, totalSteps: 6 } as const;
    expect(rates([0, 1, 2, 4, 6], schedule)).toEqual([0, 0.4, 0.8, 0.4, 0]);
    const ratio = { type: 'linear', warmupRatio: 0.3, totalSteps: 6 } as const;
    expect(rates([0, 1, 2, 4, 6], ratio)).toEqual([0, 0.4, 0.8, 0.4, 0]);
  });

  test('constant, with and without warm-up', () => {
    expect(rates([0, 5], { type: 'constant' })).toEqual([0.8, 0.8]);
    expect(rates([0, 1, 5], { type: 'constant', warmupSteps: 2 })).toEqual([0, 0.4, 0.8]);
  });

  test('linear needs to know its end', () => {
    expect(() => rates([0], { type: 'linear' })).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT', field: 'schedule.totalSteps' }),
    );
  });
});
