import { expect, test } from '@jest/globals';
import { readUsage } from '../../scripts/cuda-registers.mjs';

const LOG = `
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '_Z4softv' for 'sm_80'
ptxas info    : Function properties for _Z4softv
    24 bytes stack frame, 20 bytes spill stores, 16 bytes spill loads
ptxas info    : Used 168 registers, used 1 barriers, 528 bytes cmem[0]
ptxas info    : Compiling entry function '_Z4hardv' for 'sm_90a'
ptxas info    : Function properties for _Z4hardv
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 40 registers, used 0 barriers
`;

test('registers and spills of each kernel are read from what the assembler says', () => {
  expect(readUsage(LOG)).toEqual([
    { kernel: '_Z4softv', architecture: 'sm_80', registers: 168, spillBytes: 36 },
    { kernel: '_Z4hardv', architecture: 'sm_90a', registers: 40, spillBytes: 0 },
  ]);
});

test('a log without kernels has none', () => {
  expect(readUsage('nvcc: nothing to do')).toEqual([]);
});
