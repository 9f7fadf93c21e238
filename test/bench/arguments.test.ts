import { describe, expect, test } from '@jest/globals';
import { parseArguments, withoutInstructionSets } from '../../bench/arguments.ts';
import {
  limitedTo,
  limitInForce,
  parseInstructionSets,
  withoutLimits,
} from '../../bench/instruction-sets.ts';

const KNOWN = { all: ['machine', 'decoding', 'types'], comparable: ['decoding', 'types'] };

describe('arguments of npm run bench', () => {
  test('without any everything runs, as the processor is', () => {
    expect(parseArguments([], KNOWN)).toEqual({
      names: KNOWN.all,
      quick: false,
      instructionSets: [],
      against: undefined,
    });
  });

  test('instruction sets are given one by one or in a list, each runs once', () => {
    const args = [
      'decoding',
      '--isa',
      'avx2,avx512',
      '--quick',
      '--isa=avx512-vnni, avx2',
      'types',
    ];
    expect(parseArguments(args, KNOWN)).toEqual({
      names: ['decoding', 'types'],
      quick: true,
      instructionSets: ['avx2', 'avx512', 'avx512-vnni'],
      against: undefined,
    });
  });

  test('another tree is compared by everything that can be, or what is named', () => {
    expect(parseArguments(['--against', '../old'], KNOWN)).toMatchObject({
      names: ['decoding', 'types'],
      against: '../old',
    });
    expect(parseArguments(['types', 'types', '--against', 'x'], KNOWN).names).toEqual(['types']);
  });

  test.each([
    [['speed'], 'no benchmark is called speed; there are machine, decoding, types'],
    [
      ['machine', '--against', 'x'],
      'no benchmark that takes --against is called machine; there are decoding, types',
    ],
    [['--against', ''], '--against takes the folder'],
    [['--against='], '--against takes the folder'],
    [['--against'], 'argument missing'],
    [['--isa'], 'argument missing'],
    [['--isa', 'avx3'], 'no instruction set is called avx3; there are sse4, avx2, avx512'],
    [['--isa', 'avx2,'], 'no instruction set is called ""'],
    [['--isa', 'AVX2'], 'no instruction set is called AVX2'],
    [['--fast'], "Unknown option '--fast'"],
  ])('%j is refused', (args, message) => {
    expect(() => parseArguments(args, KNOWN)).toThrow(message);
  });

  test('a process that is limited already gets the rest', () => {
    const args = ['types', '--isa', 'avx2,sse4', '--quick', '--isa=avx512', '--against', 'isa'];
    expect(withoutInstructionSets(args)).toEqual(['types', '--quick', '--against', 'isa']);
  });
});

describe('limits', () => {
  test('bind those that they are for, and no others', () => {
    const env = { PATH: '/bin', WGQA_ISA: 'sse4', ONEDNN_MAX_CPU_ISA: 'AVX2' };
    expect(limitedTo(env, 'avx512')).toEqual({ PATH: '/bin', WGQA_ISA: 'avx512' });
    expect(withoutLimits(env)).toEqual({ PATH: '/bin' });
  });

  test('that are unknown, or not in force, are refused', () => {
    const before = process.env['WGQA_ISA'];
    try {
      process.env['WGQA_ISA'] = '';
      expect(limitInForce()).toBeUndefined();
      process.env['WGQA_ISA'] = 'avx3';
      expect(() => limitInForce()).toThrow('no instruction set is called avx3');
    } finally {
      if (before === undefined) delete process.env['WGQA_ISA'];
      else process.env['WGQA_ISA'] = before;
    }
    expect(parseInstructionSets([])).toEqual([]);
  });
});
