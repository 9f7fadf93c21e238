import { describe, expect, test } from '@jest/globals';
import {
  type ProgressOptions,
  type ProgressView,
  createProgress,
  formatBar,
  formatPlainLine,
  formatProgressLine,
} from '../../src/cli/progress.ts';

const view: ProgressView = {
  label: 'WGQA',
  step: 120,
  total: 400,
  loss: 2.31398,
  tokensPerSecond: 12_430,
  elapsedMilliseconds: 42_000,
  remainingMilliseconds: 98_000,
};

/** A stream and a clock under the test's control. */
function fixture(isTTY: boolean, columns = 120) {
  const written: string[] = [];
  const clock = { time: 0 };
  const options = {
    label: 'train',
    total: 10,
    stream: { write: (text: string) => written.push(text), isTTY, columns },
    now: () => clock.time,
  } satisfies ProgressOptions;
  return { written, clock, options };
}

describe('formatting', () => {
  test('a bar is filled in proportion and never overflows', () => {
    expect(formatBar(0, 4)).toBe('░░░░');
    expect(formatBar(0.5, 4)).toBe('██░░');
    expect(formatBar(1.5, 4)).toBe('████');
    expect(formatBar(-1, 4)).toBe('░░░░');
  });

  test('a wide terminal shows everything', () => {
    expect(formatProgressLine(view, 120)).toBe(
      'WGQA  ███████░░░░░░░░░░░░░░░░░  120/400  30%  loss 2.3140  12.4k tokens/s  ' +
        '42.0s elapsed  1:38 left',
    );
  });

  test.each([
    [80, 'WGQA  ███████░░░░░░░░░░░░░░░░░  120/400  loss 2.3140  12.4k tokens/s  1:38 left'],
    [60, 'WGQA  120/400  loss 2.3140  12.4k tokens/s  1:38 left'],
    [40, 'WGQA  120/400  loss 2.3140  1:38 left'],
    [20, 'WGQA  120/400'],
    [8, 'WGQA  12'],
  ])('%i columns keep what matters most', (width, expected) => {
    expect(formatProgressLine(view, width)).toBe(expected);
  });

  test('a line for a log', () => {
    expect(formatPlainLine(view)).toBe(
      'WGQA: step 120/400, loss 2.3140, 12.4k tokens/s, 42.0s elapsed, 1:38 left',
    );
  });

  test('what is unknown is left out', () => {
    const unknown = {
      loss: undefined,
      tokensPerSecond: undefined,
      remainingMilliseconds: undefined,
    };
    expect(formatPlainLine({ ...view, ...unknown })).toBe('WGQA: step 120/400, 42.0s elapsed');
    expect(formatPlainLine({ ...view, ...unknown, loss: NaN })).toContain('loss –');
  });
});

describe('on a terminal', () => {
  test('the line is redrawn in place, at most every 100 ms', () => {
    const { written, clock, options } = fixture(true);
    const progress = createProgress(options);
    for (let step = 1; step <= 10; step += 1) {
      clock.time = step * 50;
      progress.update({ step });
    }
    expect(written).toHaveLength(5);
    expect(written.every((text) => text.startsWith('\r\u001b[K') && !text.includes('\n'))).toBe(
      true,
    );
  });

  test('speed and time left come from the steps done', () => {
    const { written, clock, options } = fixture(true);
    const progress = createProgress(options);
    clock.time = 2000;
    progress.update({ step: 4, tokens: 1000, loss: 1.5 });
    expect(written.at(-1)).toContain(
      '4/10  40%  loss 1.5000  500 tokens/s  2.0s elapsed  3.0s left',
    );
  });

  test('the part that runs is shown in place of the label', () => {
    const { written, options } = fixture(true);
    const progress = createProgress(options);
    progress.update({ step: 4, label: 'WGQA: fine-tuning' });
    expect(written.at(-1)).toContain('WGQA: fine-tuning  ');
    expect(written.at(-1)).not.toContain('train');
  });

  test('speed forgets what is older than half a minute', () => {
    const { written, clock, options } = fixture(true);
    const progress = createProgress({ ...options, total: 100 });
    clock.time = 60_000;
    progress.update({ step: 1, tokens: 60 });
    clock.time = 61_000;
    progress.update({ step: 2, tokens: 1060 });
    expect(written.at(-1)).toContain('1.00k tokens/s');
  });

  test('a resumed run does not count the steps done before', () => {
    const { written, clock, options } = fixture(true);
    const progress = createProgress({ ...options, initialStep: 8 });
    clock.time = 5000;
    progress.update({ step: 9 });
    expect(written.at(-1)).toContain('5.0s left');
  });

  test('a message goes above the bar', () => {
    const { written, options } = fixture(true);
    const progress = createProgress(options);
    progress.log('saved');
    expect(written[0]).toBe('\r\u001b[Ksaved\n');
    expect(written[1]).toContain('0/10');
  });

  test('finishing draws the last state once and ends the line', () => {
    const { written, clock, options } = fixture(true);
    const progress = createProgress(options);
    clock.time = 1;
    progress.update({ step: 9 });
    progress.update({ step: 10 });
    progress.finish();
    progress.finish();
    progress.update({ step: 11 });
    const text = written.join('');
    expect(text.match(/\n/g)).toHaveLength(1);
    expect(text).toMatch(/10\/10 {2}100%.*\n$/);
  });
});

describe('elsewhere', () => {
  test('lines at intervals and at the end, without control characters', () => {
    const { written, clock, options } = fixture(false);
    const progress = createProgress({ ...options, intervalMilliseconds: 1000 });
    for (let step = 1; step <= 10; step += 1) {
      clock.time = step * 300;
      progress.update({ step });
    }
    progress.log('note');
    progress.finish();
    progress.finish();
    expect(written.map((text) => text.replace(/,.*/, ''))).toEqual([
      'train: step 4/10\n',
      'train: step 8/10\n',
      'note\n',
      'train: step 10/10\n',
    ]);
    expect(written.filter((text) => text.includes('\r') || text.includes('\u001b'))).toEqual([]);
  });

  test('JSON output is left alone', () => {
    for (const isTTY of [true, false]) {
      const { written, options } = fixture(isTTY);
      const progress = createProgress({ ...options, json: true });
      progress.update({ step: 10 });
      progress.log('note');
      progress.finish();
      expect(written).toEqual([]);
    }
  });
});

test.each([0, -1, 1.5, NaN])('a total of %p is refused', (total) => {
  expect(() => createProgress({ label: 'x', total })).toThrow(
    expect.objectContaining({ code: 'INVALID_ARGUMENT', field: 'total' }),
  );
});
