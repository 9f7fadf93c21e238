// Runs the native tests (ctest, once for each set of sanitizers) and the TypeScript tests (jest), and ends with the
// total of both: `N passed, N failed`. Set-up comes before: see package.json.
//
//   node scripts/test.mjs [native | js] [jest arguments]
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { checkRegisters } from './cuda-registers.mjs';
import { BUILD, ROOT, SANITIZED } from './lib/native-build.mjs';
import { run, withFixedAddresses } from './lib/process.mjs';
import { countNativeTests } from './lib/ctest-output.mjs';

/** @typedef {import('./lib/ctest-output.mjs').Counts} Counts */

/** What depends on how the processor multiplies: run once more with the instructions of AVX2 alone. */
const TESTS_OF_PRODUCTS = [
  'test/golden',
  'test/behaviour/reduced-precision',
  'test/decode/by-layer',
  'test/decode/mixed',
];

/**
 * @param {string} preset
 * @returns {Promise<Counts>}
 */
async function runNativeTests(preset) {
  /** @type {string[]} */
  const lines = [];
  const [command = '', ...args] = withFixedAddresses([
    'ctest',
    `--preset=${preset}`,
    '--verbose',
    `-j${availableParallelism()}`, // ctest 3.25 takes no --parallel=n
  ]);
  const status = await run(command, args, { cwd: ROOT, onLine: (line) => lines.push(line) });
  const { suites, total } = countNativeTests(lines);
  for (const suite of suites) {
    if (suite.failed > 0) console.log(suite.output.join('\n'));
    console.log(`${suite.name} (${preset}): ${describe(suite)}`);
  }
  if (status !== 0 && total.failed === 0) {
    console.log(lines.slice(-40).join('\n'));
    total.failed = 1;
  }
  return total;
}

/**
 * @param {readonly string[]} jestArguments
 * @param {Record<string, string>} environment beside this process's own
 * @returns {Promise<Counts>}
 */
async function runJest(jestArguments, environment = {}) {
  const report = path.join(BUILD, 'jest.json');
  rmSync(report, { force: true });
  mkdirSync(BUILD, { recursive: true });
  const jest = path.join(ROOT, 'node_modules/jest/bin/jest.js');
  const status = await run(
    process.execPath,
    [
      '--experimental-vm-modules',
      '--disable-warning=ExperimentalWarning',
      jest,
      '--json',
      `--outputFile=${report}`,
      ...jestArguments,
    ],
    { cwd: ROOT, env: { ...process.env, ...environment } },
  );
  const counts = readJestReport(report);
  if (status !== 0 && counts.failed === 0) counts.failed = 1;
  return counts;
}

/**
 * What is used of jest's report.
 * @typedef {object} JestReport
 * @property {number} numPassedTests
 * @property {number} numFailedTests
 * @property {number} numPendingTests
 * @property {number} numTodoTests
 * @property {number} numRuntimeErrorTestSuites
 */

/**
 * @param {string} file
 * @returns {Counts} none where jest ended before it wrote a report
 */
function readJestReport(file) {
  if (!existsSync(file)) return { passed: 0, failed: 0, skipped: 0 };
  const report = /** @type {JestReport} */ (JSON.parse(readFileSync(file, 'utf8')));
  return {
    passed: report.numPassedTests,
    failed: report.numFailedTests + report.numRuntimeErrorTestSuites,
    skipped: report.numPendingTests + report.numTodoTests,
  };
}

/** @param {Counts} counts */
function describe({ passed, failed, skipped }) {
  const skips = skipped > 0 ? `, ${skipped} skipped` : '';
  return `${passed} passed, ${failed} failed${skips}`;
}

const [first = '', ...rest] = process.argv.slice(2);
const only = ['native', 'js'].includes(first) ? first : undefined;
const jestArguments = only ? rest : process.argv.slice(2);

const results = [];
if (only !== 'js') {
  for (const preset of Object.keys(SANITIZED)) results.push(await runNativeTests(preset));
  results.push(checkRegisters(BUILD));
}
if (only !== 'native') results.push(await runJest(jestArguments));
if (only === undefined && process.arch === 'x64' && !process.env['WGQA_ISA']) {
  console.log('as on a processor with AVX2 alone:');
  results.push(await runJest(TESTS_OF_PRODUCTS, { WGQA_ISA: 'avx2' }));
}
const total = results.reduce((sum, counts) => ({
  passed: sum.passed + counts.passed,
  failed: sum.failed + counts.failed,
  skipped: sum.skipped + counts.skipped,
}));
console.log(`\n${describe(total)}`);
process.exitCode = total.failed > 0 || total.passed === 0 ? 1 : 0;
