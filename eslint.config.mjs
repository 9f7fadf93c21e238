import path from 'node:path';
import eslint from '@eslint/js';
import { defineConfig } from 'eslint/config';
import tseslint from 'typescript-eslint';

/** What src/index.ts is made of. */
const PUBLIC_API = [
  'hub',
  'model',
  'convert',
  'train',
  'budget',
  'decode',
  'onnx',
  'tokenizer',
  'data',
  'metrics',
  'index',
];
const FOUNDATIONS = ['errors', 'options', 'abort'];
/**
 * What each room of src/, a folder or a file in it, may import besides itself and the foundations.
 * Dependencies point downward only: see "The map" in README.md.
 * @type {Record<string, readonly string[]>}
 */
const ROOMS = {
  errors: [],
  options: [],
  abort: [],
  'addon-problem': [],
  native: ['addon-problem'],
  checkpoint: [],
  hub: ['checkpoint'],
  tokenizer: ['hub'],
  data: ['tokenizer'],
  metrics: [],
  dtype: ['native', 'checkpoint'],
  model: ['native', 'checkpoint', 'hub', 'convert', 'dtype', 'tokenizer'],
  convert: ['native', 'checkpoint', 'model'],
  train: ['native', 'checkpoint', 'model', 'data'],
  budget: ['checkpoint', 'convert', 'model', 'data', 'train'],
  decode: ['native', 'checkpoint', 'model', 'tokenizer'],
  onnx: ['checkpoint', 'hub', 'model', 'decode', 'tokenizer'],
  index: [...PUBLIC_API, 'native', 'checkpoint'],
  report: PUBLIC_API,
  scoring: [...PUBLIC_API, 'report'],
  demo: [...PUBLIC_API, 'report', 'scoring'],
  experiment: [...PUBLIC_API, 'checkpoint', 'report', 'scoring'],
  bench: [...PUBLIC_API, 'native', 'report'],
  cli: [...PUBLIC_API, 'report', 'scoring', 'demo', 'experiment', 'bench'],
};

const SOURCE = path.join(import.meta.dirname, 'src');

/**
 * The room of a file in src/, or undefined outside of it.
 * @param {string} file
 */
function roomOf(file) {
  const relative = path.relative(SOURCE, file);
  return relative.startsWith('..') ? undefined : relative.split(path.sep)[0]?.replace(/\.ts$/, '');
}

/** @type {import('eslint').Rule.RuleModule} */
const importDirection = {
  meta: { type: 'problem', schema: [] },
  create(context) {
    const from = roomOf(context.filename) ?? '';
    const allowed = ROOMS[from];
    return {
      Program(node) {
        if (allowed === undefined) context.report({ node, message: `src/${from} is not in ROOMS` });
      },
      'ImportDeclaration, ExportNamedDeclaration[source], ExportAllDeclaration, ImportExpression'(
        /** @type {import('estree').ImportDeclaration} */ node,
      ) {
        const { value } = node.source;
        if (typeof value !== 'string' || !value.startsWith('.')) return;
        const to = roomOf(path.resolve(path.dirname(context.filename), value)) ?? '(outside)';
        if ([from, ...FOUNDATIONS, ...(allowed ?? [])].includes(to)) return;
        context.report({ node, message: `src/${from} may not import from src/${to}` });
      },
    };
  },
};

/** How an addon is loaded; only src/native.ts may. */
const ADDON_LOADERS = [
  {
    selector: "MemberExpression[property.name='dlopen']",
    message: 'Only src/native.ts loads the addon.',
  },
  {
    selector: "ImportSpecifier[imported.name='createRequire']",
    message: 'Only src/native.ts loads the addon.',
  },
];

export default defineConfig(
  { ignores: ['build/', 'dist/', 'coverage/', 'bench/results/', '**/node_modules/'] },
  eslint.configs.recommended,
  tseslint.configs.strictTypeChecked,
  tseslint.configs.stylisticTypeChecked,
  {
    languageOptions: {
      parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname },
    },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      // TypeScript knows the names in scope; ESLint would need a list of Node's globals.
      'no-undef': 'off',
      eqeqeq: 'error',
      'no-console': 'error',
      'max-lines': ['error', { max: 400, skipBlankLines: true, skipComments: true }],
      'max-lines-per-function': ['error', { max: 80, skipBlankLines: true, skipComments: true }],
      complexity: ['error', 20],
      '@typescript-eslint/consistent-type-imports': 'error',
      // noUncheckedIndexedAccess makes `values[i]!` the plain way to read within known bounds.
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/non-nullable-type-assertion-style': 'off',
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      '@typescript-eslint/no-unused-vars': [
        'error',
        { argsIgnorePattern: '^_', varsIgnorePattern: '^_', ignoreRestSiblings: true },
      ],
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
    },
  },
  {
    files: ['src/**/*.ts'],
    plugins: { wgqa: { rules: { 'import-direction': importDirection } } },
    rules: { 'wgqa/import-direction': 'error' },
  },
  {
    files: ['src/**/*.ts'],
    ignores: ['src/native.ts'],
    rules: { 'no-restricted-syntax': ['error', ...ADDON_LOADERS] },
  },
  {
    files: ['test/**/*.ts'],
    rules: { 'max-lines-per-function': 'off' },
  },
  { files: ['scripts/**', 'bench/**'], rules: { 'no-console': 'off' } },
  {
    // These rules do not see the casts of JSDoc.
    files: ['**/*.mjs'],
    rules: {
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
    },
  },
);
