// Counts the tests in the output of `ctest --verbose`. Each suite is one ctest entry, numbered k:
// its own lines start with "k: " and end with "N passed, N failed"; ctest's verdict on it reads
// "i/n Test #k: name ....   Passed    0.12 sec", or ***Failed, ***Timeout, ***Exception.

/** @typedef {{ passed: number, failed: number, skipped: number }} Counts */
/** @typedef {Counts & { name: string, output: string[] }} Suite */

const OWN_LINE = /^(\d+): (.*)$/;
const CLOSING_LINE = /^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$/;
const VERDICT = /^\s*\d+\/\d+ Test\s+#(\d+): (\S+) \.*\s*(Passed|\*\*\*.*?)\s+[\d.]+ sec/;

/**
 * A suite that ends without its closing line, or fails without a failed test (a crash, a leak), adds
 * one failure.
 * @param {readonly string[]} lines
 * @returns {{ suites: Suite[], total: Counts }}
 */
export function countNativeTests(lines) {
  /** @type {Map<string, string[]>} */
  const outputs = new Map();
  /** @type {Suite[]} */
  const suites = [];
  for (const line of lines) {
    const [, own, text = ''] = OWN_LINE.exec(line) ?? [];
    if (own !== undefined) outputs.set(own, [...(outputs.get(own) ?? []), text]);
    const [, id, name, verdict] = VERDICT.exec(line) ?? [];
    if (id !== undefined && name !== undefined) {
      suites.push(countSuite(name, verdict === 'Passed', outputs.get(id) ?? []));
    }
  }
  const total = { passed: 0, failed: 0, skipped: 0 };
  for (const { passed, failed, skipped } of suites) {
    total.passed += passed;
    total.failed += failed;
    total.skipped += skipped;
  }
  return { suites, total };
}

/**
 * @param {string} name
 * @param {boolean} succeeded
 * @param {string[]} output
 * @returns {Suite}
 */
function countSuite(name, succeeded, output) {
  const closing = output.map((line) => CLOSING_LINE.exec(line.trim())).findLast(Boolean);
  /** @param {number} group */
  const count = (group) => Number(closing?.[group] ?? 0);
  const failed = count(2);
  const hidden = failed === 0 && (!succeeded || !closing) ? 1 : 0;
  return { name, passed: count(1), failed: failed + hidden, skipped: count(3), output };
}
