/** Nothing is kept of a model once it is disposed. */
import { expect, test } from '@jest/globals';
import { createModel } from '../../src/index.ts';
import { parseOutput, programCommand, runChild } from '../support/child.ts';
import { useTemporaryDirectories } from '../support/directories.ts';
import { TINY_V10 } from '../support/tiny-model.ts';

const CYCLES = 200;
const WARM_UP = 20;
// From the first to the second half of the cycles after warm-up, 90 cycles apart at the median. A cycle
// makes three models of 1.2 MB, gradients, two moments and a cache: keeping any one of them would add
// over 100 MB. The allocator and the garbage collector move the median by 2 or 3.
const MAX_GROWTH = 8 * 2 ** 20;

const newDirectory = useTemporaryDirectories();

test('resident memory is flat after twenty cycles of load, convert, train, decode and dispose', async () => {
  const directory = newDirectory();
  await using model = await createModel({ ...TINY_V10, d_model: 64, d_kv: 16, d_ff: 256 });
  expect(model.parameterCount).toBeGreaterThan(250_000);
  await model.save(directory);
  const command = programCommand('memory-cycles.ts', [directory, String(CYCLES)], ['--expose-gc']);
  const resident = parseOutput(await runChild(command, 240_000)) as number[];
  expect(resident).toHaveLength(CYCLES);
  const rest = resident.slice(WARM_UP);
  const half = rest.length / 2;
  expect(median(rest.slice(half)) - median(rest.slice(0, half))).toBeLessThan(MAX_GROWTH);
}, 300_000);

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;
}
