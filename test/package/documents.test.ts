/** The code of the documents compiles, and is syntax of the oldest Node that is supported. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { afterAll, expect, test } from '@jest/globals';
import ts from 'typescript';
import { must, ROOT, write } from './packed.ts';

/** What a reader has already: values that the code of a document uses and does not make. */
const PREAMBLE = `import type { Engine, Model, TokenRows, Tokenizer } from 'wgqa';
declare global {
  const digitTokenIds: readonly number[];
  const engine: Engine;
  const inputIds: TokenRows;
  const labels: TokenRows;
  const model: Model;
  const prompt: string;
  const prompts: readonly string[];
  const tokenizer: Tokenizer;
}
`;
const DOCUMENTS = [
  'README.md',
  ...readdirSync(path.join(ROOT, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
];

// Inside of the checkout, so that the package's own types are found.
mkdirSync(path.join(ROOT, 'build'), { recursive: true });
const project = mkdtempSync(path.join(ROOT, 'build/documents-'));
afterAll(() => {
  rmSync(project, { recursive: true, force: true });
});

/** Blocks of TypeScript by the name of a file for each. */
function codeOf(document: string): Record<string, string> {
  const text = readFileSync(path.join(ROOT, document), 'utf8');
  const blocks = [...text.matchAll(/^( *)```ts\n([^]*?)^\1```$/gm)].map(([, indent, code = '']) =>
    code.replaceAll(new RegExp(`^${indent ?? ''}`, 'gm'), ''),
  );
  const stem = document.replace(/\W/g, '_');
  return Object.fromEntries(
    blocks.map((code, i) => [`${stem}_${i + 1}.ts`, `${code}\nexport {};\n`]),
  );
}

function problemsOf(files: Readonly<Record<string, string>>): string[] {
  const names = Object.keys(files).map((name) => path.join(project, name));
  const program = ts.createProgram([...names, path.join(project, 'preamble.ts')], {
    target: ts.ScriptTarget.ES2023,
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    lib: ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts'],
    types: ['node'],
    strict: true,
    exactOptionalPropertyTypes: true,
    skipLibCheck: true,
    noEmit: true,
    allowImportingTsExtensions: true,
    paths: { wgqa: [path.join(ROOT, 'src/index.ts')] },
  });
  const sources = names.map((name) => program.getSourceFile(name)!);
  const diagnostics = sources.flatMap((source) => [
    ...program.getSyntacticDiagnostics(source),
    ...program.getSemanticDiagnostics(source),
  ]);
  return [
    ...diagnostics.map(({ file, start = 0, messageText }) => {
      const line = (file?.getLineAndCharacterOfPosition(start).line ?? 0) + 1;
      const name = path.basename(file?.fileName ?? '');
      return `${name}:${line} ${ts.flattenDiagnosticMessageText(messageText, '\n')}`;
    }),
    ...sources.flatMap(newSyntaxOf),
  ];
}

/** `using` and `await using`, which Node 20 and 22 do not parse. */
function newSyntaxOf(source: ts.SourceFile): string[] {
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    // `await using` has this flag, too.
    if (ts.isVariableDeclarationList(node) && (node.flags & ts.NodeFlags.Using) !== 0) {
      found.push(`${path.basename(source.fileName)}: ${node.getText(source)}`);
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

test('the code of README.md and docs/ compiles, and Node 20 parses it', () => {
  const files = Object.assign({}, ...DOCUMENTS.map(codeOf)) as Record<string, string>;
  expect(Object.keys(files).length).toBeGreaterThanOrEqual(6);
  write(project, { 'package.json': '{"type": "module"}', 'preamble.ts': PREAMBLE, ...files });
  expect(problemsOf(files)).toEqual([]);
}, 300_000);

test('such a check finds types and syntax that are wrong', () => {
  const files = {
    'wrong_1.ts': "import { loadModel } from 'wgqa';\nawait loadModel(7);\n",
    'wrong_2.ts':
      "import { loadModel } from 'wgqa';\nawait using model = await loadModel('x');\nexport { model };\n",
  };
  write(project, files);
  expect(problemsOf(files)).toEqual([
    expect.stringMatching(/^wrong_1\.ts:2 Argument of type 'number'/),
    expect.stringMatching(/^wrong_2\.ts: await using model/),
  ]);
}, 300_000);

test('links of documents that are packed lead to what is packed', () => {
  const output = must('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: ROOT });
  const [{ files }] = JSON.parse(output) as [{ files: { path: string }[] }];
  const names = files.map(({ path: name }) => name);
  const dead = names
    .filter((name) => name.endsWith('.md'))
    .flatMap((name) =>
      [...readFileSync(path.join(ROOT, name), 'utf8').matchAll(/\]\(([^()\s#]+)[^()\s]*\)/g)]
        .map(([, target = '']) => target)
        .filter((target) => !/^[a-z]+:/.test(target))
        .map((target) => ({ name, to: path.join(path.dirname(name), target) })),
    )
    .filter(({ to }) => !names.some((n) => n === to || n.startsWith(`${to.replace(/\/$/, '')}/`)));
  expect(dead).toEqual([]);
});
