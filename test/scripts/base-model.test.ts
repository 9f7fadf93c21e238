import { describe, expect, test } from '@jest/globals';
import { TASKS } from '../../scripts/base-model/tasks.ts';

describe('auxiliary pairs of a base model', () => {
  const pairOf = (task: string, source: string, target: string) =>
    TASKS[task]?.auxiliary.pairOf({ source, target });

  test('continue a description from its middle', () => {
    expect(pairOf('summarize', 'summarize: one two three four five', 'numbers')).toEqual({
      source: 'continue: one two',
      target: 'three four five',
    });
    expect(pairOf('summarize', 'summarize: one', 'numbers')).toBeUndefined();
  });

  test('copy short German texts', () => {
    const source = 'translate English to German: text';
    expect(pairOf('translate', source, 'ein Text')).toEqual({
      source: 'copy: ein Text',
      target: 'ein Text',
    });
    expect(pairOf('translate', source, 'x'.repeat(60))).toBeDefined();
    expect(pairOf('translate', source, 'x'.repeat(61))).toBeUndefined();
  });
});
