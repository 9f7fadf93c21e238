import { describe, expect, test } from '@jest/globals';
import { StopStrings } from '../../src/decode/stop-strings.ts';

/** Pushes the pieces and returns what came out after each, and at the end. */
function run(stops: string[], pieces: string[]): { texts: string[]; stopped: boolean } {
  const state = new StopStrings(stops);
  const texts: string[] = [];
  for (const piece of pieces) {
    const { text, stopped } = state.push(piece);
    texts.push(text);
    if (stopped) return { texts, stopped };
  }
  return { texts: [...texts, state.end()], stopped: false };
}

describe('text up to a stop string', () => {
  test('passes through where there is none', () => {
    expect(run([], ['ab', 'c'])).toEqual({ texts: ['ab', 'c', ''], stopped: false });
    expect(run(['x'], ['ab', 'c'])).toEqual({ texts: ['ab', 'c', ''], stopped: false });
  });

  test('ends before a stop string inside a piece', () => {
    expect(run(['b'], ['abc'])).toEqual({ texts: ['a'], stopped: true });
  });

  test('ends before one that is spread over pieces, of which nothing was let out', () => {
    expect(run(['cde'], ['abc', 'd', 'ef'])).toEqual({ texts: ['ab', '', ''], stopped: true });
  });

  test('lets out what only looked like one', () => {
    expect(run(['cde'], ['abc', 'd', 'x'])).toEqual({
      texts: ['ab', '', 'cdx', ''],
      stopped: false,
    });
    expect(run(['aab'], ['a', 'a', 'a', 'b'])).toEqual({ texts: ['', '', 'a', ''], stopped: true });
  });

  test('lets out an unfinished one at the end', () => {
    expect(run(['cde'], ['abc'])).toEqual({ texts: ['ab', 'c'], stopped: false });
  });

  test('ends at the first of several', () => {
    expect(run(['d', 'bc'], ['abcd'])).toEqual({ texts: ['a'], stopped: true });
  });
});
