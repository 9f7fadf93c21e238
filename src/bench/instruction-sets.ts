/** Instruction sets that work can be limited to, by `WGQA_ISA`. */

/** From the least to the most. */
export const INSTRUCTION_SETS = ['sse4', 'avx2', 'avx512', 'avx512-vnni', 'avx512-bf16'] as const;
export type InstructionSet = (typeof INSTRUCTION_SETS)[number];

/** Limits our own kernels and the library's alike; read when the addon is loaded. */
export const VARIABLE = 'WGQA_ISA';
