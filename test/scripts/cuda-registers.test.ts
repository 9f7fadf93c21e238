import { expect, test } from '@jest/globals';
import { faultsOf, readUsage } from '../../scripts/cuda-registers.mjs';

const LOG = `
ptxas info    : (C7514) Potential Performance Loss: wgmma.mma_async instructions are serialized due to non wgmma instructions reading accumulator registers in the function '_Z4hardv'
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '_Z4softv' for 'sm_80'
ptxas info    : Function properties for _Z4softv
    24 bytes stack frame, 20 bytes spill stores, 16 bytes spill loads
ptxas info    : Used 168 registers, used 1 barriers, 528 bytes cmem[0]
ptxas info    : Compiling entry function '_Z4hardv' for 'sm_90a'
ptxas info    : Function properties for _Z4hardv
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 40 registers, used 0 barriers, 512 bytes smem
`;

test('registers and spills of each kernel are read from what the assembler says', () => {
  expect(readUsage(LOG)).toEqual([
    {
      kernel: '_Z4softv',
      architecture: 'sm_80',
      registers: 168,
      sharedBytes: 0,
      spillBytes: 36,
      serialised: false,
    },
    {
      kernel: '_Z4hardv',
      architecture: 'sm_90a',
      registers: 40,
      sharedBytes: 512,
      spillBytes: 0,
      serialised: true,
    },
  ]);
});

test('a log without kernels has none', () => {
  expect(readUsage('nvcc: nothing to do')).toEqual([]);
});

test('an attention kernel that spills is found by its file, whatever it is called', () => {
  const usage = { architecture: 'sm_80', registers: 255, sharedBytes: 0, serialised: false };
  expect(
    faultsOf([
      { ...usage, kernel: 'attention_tensor_backward/queryGradient<128, true>', spillBytes: 40 },
      { ...usage, kernel: 'attention_tensor/forward<64, true>', spillBytes: 0 },
      { ...usage, kernel: 'merge/mergeGradient', spillBytes: 40 },
    ]),
  ).toEqual(['attention_tensor_backward/queryGradient<128, true> (sm_80) spills']);
});

test('a kernel whose products wait for each other is a fault', () => {
  const usage = { architecture: 'sm_90a', registers: 168, sharedBytes: 0, spillBytes: 0 };
  expect(
    faultsOf([
      { ...usage, kernel: 'attention_hopper/a', serialised: true },
      { ...usage, kernel: 'attention_hopper/b', serialised: false },
    ]),
  ).toEqual(['attention_hopper/a (sm_90a) waits for each of its products']);
});
