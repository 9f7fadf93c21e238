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

describe('a stop string among several', () => {
  test('is the one that begins first in what arrived', () => {
    expect(new StopStrings(['bc', 'abcd']).push('xabcd')).toEqual({
      text: 'x',
      stopped: true,
      stopString: 'abcd',
    });
    const stops = new StopStrings(['abcd', 'bc']);
    expect(stops.push('xabc')).toMatchObject({ text: 'xa', stopString: 'bc' });
  });

  test('is found, however texts are cut', () => {
    let state = 1;
    const random = (below: number): number => {
      state = (state * 48271) % 0x7fffffff;
      return state % below;
    };
    const letters = (most: number): string =>
      Array.from({ length: 1 + random(most) }, () => 'ab'[random(2)]).join('');
    for (let round = 0; round < 2000; ++round) {
      const strings = Array.from({ length: 1 + random(4) }, () => letters(6));
      const stops = new StopStrings(strings);
      let text = '';
      let out = '';
      let stopString: string | undefined;
      while (text.length < 20 && stopString === undefined) {
        const piece = letters(3);
        text += piece;
        const result = stops.push(piece);
        out += result.text;
        stopString = result.stopString;
        const begins = strings.map((string) => text.indexOf(string)).filter((at) => at >= 0);
        expect(stopString !== undefined).toBe(begins.length > 0);
        if (stopString === undefined) continue;
        expect(out).toBe(text.slice(0, Math.min(...begins)));
        expect(text.startsWith(stopString, out.length)).toBe(true);
      }
      if (stopString === undefined) expect(out + stops.end()).toBe(text);
    }
  });
});
