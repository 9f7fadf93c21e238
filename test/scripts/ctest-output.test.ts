import { describe, expect, test } from '@jest/globals';
import { countNativeTests } from '../../scripts/lib/ctest-output.mjs';

function verdict(id: number, name: string, result: string): string {
  return `${String(id)}/3 Test #${String(id)}: ${name} .......................   ${result}    0.12 sec`;
}

describe('countNativeTests', () => {
  test('sums the closing lines of interleaved suites', () => {
    const { suites, total } = countNativeTests([
      'test 1',
      '    Start 1: ops',
      '1: softmax f32 ok',
      '2: pool ok',
      '1: 12 passed, 0 failed',
      '2: 3 passed, 1 failed, 2 skipped',
      verdict(1, 'ops', 'Passed'),
      verdict(2, 'kvcache', '***Failed'),
    ]);
    expect(total).toEqual({ passed: 15, failed: 1, skipped: 2 });
    expect(suites.map(({ name }) => name)).toEqual(['ops', 'kvcache']);
    expect(suites[0]?.output).toEqual(['softmax f32 ok', '12 passed, 0 failed']);
  });

  test('a crash, and a leak after the last test, count as failures', () => {
    const { total } = countNativeTests([
      '1: softmax f32 ok',
      verdict(1, 'ops', '***Exception: SegFault'),
      '2: 3 passed, 0 failed',
      '2: ERROR: LeakSanitizer: detected memory leaks',
      verdict(2, 'kvcache', '***Failed'),
    ]);
    expect(total).toEqual({ passed: 3, failed: 2, skipped: 0 });
  });

  test('a suite that says nothing is a failure, though it exits with 0', () => {
    const { total } = countNativeTests([verdict(1, 'ops', 'Passed')]);
    expect(total).toEqual({ passed: 0, failed: 1, skipped: 0 });
  });
});
