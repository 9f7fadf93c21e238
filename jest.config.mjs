// As src/native.ts, whose `process.env` is a copy under jest.
process.env['OMP_WAIT_POLICY'] ??= 'passive';

/** @type {import('jest').Config} */
export default {
  testEnvironment: '<rootDir>/test/support/realm-environment.mjs',
  testMatch: ['<rootDir>/test/**/*.test.ts'],
  modulePathIgnorePatterns: ['<rootDir>/build/', '<rootDir>/dist/'],
  extensionsToTreatAsEsm: ['.ts'],
  transform: {
    '\\.ts$': [
      '@swc/jest',
      {
        jsc: { parser: { syntax: 'typescript' }, target: 'es2023' },
        module: { type: 'es6' },
        sourceMaps: 'inline',
      },
    ],
  },
  testTimeout: 60_000,
  // Each worker computes on every core through the addon for part of its time; most of it is one thread's.
  maxWorkers: 2,
};
