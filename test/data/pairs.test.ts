import { describe, expect, jest, test } from '@jest/globals';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { readPairs, type ReadPairsOptions, type TextPair } from '../../src/data/index.ts';
import { directoryWith } from '../tokenizer/fixtures.ts';

async function fileWith(name: string, content: string | Uint8Array): Promise<string> {
  const path = join(await directoryWith({}), name);
  await writeFile(path, content);
  return path;
}

async function collect(path: string, options?: ReadPairsOptions): Promise<TextPair[]> {
  const pairs: TextPair[] = [];
  for await (const pair of readPairs(path, options)) pairs.push(pair);
  return pairs;
}

const PAIRS = [
  { source: 'one, two', target: 'a "b"' },
  { source: 'größer', target: '日本' },
];
const JSON_LINES = PAIRS.map((pair) => JSON.stringify(pair)).join('\n');

describe('the same pairs come from', () => {
  const files: [string, string | Uint8Array][] = [
    ['lines.jsonl', JSON_LINES],
    ['lines.ndjson', `\ufeff${JSON_LINES.replace('\n', '\r\n\r\n')}\r\n`],
    ['lines.jsonl.gz', gzipSync(JSON_LINES)],
    ['table.csv', 'id,target,source\r\n1,"a ""b""","one, two"\r\n\r\n2,日本,größer\r\n'],
    ['table.csv.gz', gzipSync('source,target\n"one, two","a ""b"""\ngrößer,日本')],
    ['table.tsv', 'source\ttarget\none, two\ta "b"\ngrößer\t日本\n'],
  ];
  test.each(files)('%s', async (name, content) => {
    expect(await collect(await fileWith(name, content))).toEqual(PAIRS);
  });
});

test('a CSV field may hold line breaks, and be empty where it is not asked for', async () => {
  const path = await fileWith('t.csv', 'source,target,note\n"first\nsecond, ""third""",x,\n');
  expect(await collect(path)).toEqual([{ source: 'first\nsecond, "third"', target: 'x' }]);
});

test('fields, format and prefix are options', async () => {
  const path = await fileWith('data.txt', '{"text":"t","summary":"s","__proto__":"p"}\n');
  const options = { format: 'jsonl', sourceField: 'text', targetField: 'summary' } as const;
  expect(await collect(path, { ...options, prefix: 'summarize: ' })).toEqual([
    { source: 'summarize: t', target: 's' },
  ]);
  expect(await collect(path, { ...options, sourceField: '__proto__' })).toEqual([
    { source: 'p', target: 's' },
  ]);
});

test('JSON lines: a dotted path reaches into objects, but for a member of that name', async () => {
  const lines = [
    { translation: { en: 'one', de: 'eins' }, 'translation.de': 'ein' },
    { translation: { en: 'two', de: 'zwei' } },
  ];
  const path = await fileWith('nested.jsonl', lines.map((line) => JSON.stringify(line)).join('\n'));
  const options = { sourceField: 'translation.en', targetField: 'translation.de' };
  expect(await collect(path, options)).toEqual([
    { source: 'one', target: 'ein' },
    { source: 'two', target: 'zwei' },
  ]);
  for (const sourceField of [
    'translation',
    'translation.fr',
    'translation.en.x',
    'translation.__proto__',
  ]) {
    const failed = collect(path, { ...options, sourceField });
    await expect(failed).rejects.toMatchObject({ code: 'INVALID_FILE', field: `${path}:1` });
  }
});

test('characters and lines survive being cut by the chunks a file is read in', async () => {
  const pairs = Array.from({ length: 3000 }, (_, index) => ({
    source: `${'日本語€😀'.repeat(index % 40)}${String(index)}`,
    target: String(index),
  }));
  const text = pairs.map((pair) => JSON.stringify(pair)).join('\n');
  for (const [name, content] of [
    ['l.jsonl', text],
    ['l.jsonl.gz', gzipSync(text)],
  ] as const) {
    expect(await collect(await fileWith(name, content))).toEqual(pairs);
  }
});

test('an empty text is one, in each format', async () => {
  const pairs = [
    { source: '', target: 'b' },
    { source: 'a', target: '' },
  ];
  for (const [name, content] of [
    ['l.jsonl', '{"source":"","target":"b"}\n{"source":"a","target":""}\n'],
    ['l.csv', 'source,target\n,b\na,""\n'],
    ['l.tsv', 'source\ttarget\n\tb\na\t\n'],
  ] as const) {
    expect(await collect(await fileWith(name, content))).toEqual(pairs);
  }
});

test('a CSV record is read by its quotes and commas, whatever its size', async () => {
  const records = 'a,""\n"x""y",\n"","a,b"\n,\n';
  expect(await collect(await fileWith('l.csv', `source,target\n${records}`))).toEqual([
    { source: 'a', target: '' },
    { source: 'x"y', target: '' },
    { source: '', target: 'a,b' },
    { source: '', target: '' },
  ]);
  const quotes = await fileWith('l.csv', `source,target\n"${'x""'.repeat(2e6)}",b\n`);
  const [pair] = await collect(quotes, { maxLineLength: 1e7 });
  expect(pair?.source).toBe('x"'.repeat(2e6));
});

test('a line that comes in many pieces is whole', async () => {
  const source = 'é'.repeat(3_000_000);
  const lines = `{"source":"a","target":"b"}\n${JSON.stringify({ source, target: 'c' })}\n`;
  const pairs = await collect(await fileWith('l.jsonl', lines), { maxLineLength: 1e7 });
  expect(pairs.map((pair) => pair.source.length)).toEqual([1, 3_000_000]);
});

test('more pairs than asked for are refused', async () => {
  const path = await fileWith('l.jsonl', '{"source":"a","target":"b"}\n'.repeat(4));
  expect(await collect(path, { maxPairs: 4 })).toHaveLength(4);
  await expect(collect(path, { maxPairs: 3 })).rejects.toMatchObject({
    code: 'OUT_OF_MEMORY',
    field: path,
  });
});

test('a prefix that sources have already is warned of, once', async () => {
  const warn = jest.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
  const path = await fileWith('l.jsonl', '{"source":"to: a","target":"b"}\n'.repeat(3));
  const [pair] = await collect(path, { prefix: 'to: ' });
  expect(pair?.source).toBe('to: to: a');
  expect(warn.mock.calls).toEqual([
    [expect.stringContaining('"to: "'), { type: 'WgqaWarning', code: 'DOUBLED_PREFIX' }],
  ]);
  warn.mockRestore();
});

test.each([undefined, null, 7, {}, '', 'a\0b.jsonl'])('a path %p is refused', async (path) => {
  await expect(collect(path as string, { format: 'jsonl' })).rejects.toMatchObject({
    code: 'INVALID_ARGUMENT',
    field: 'path',
  });
});

test('a FIFO is read, and waited for without a thread', async () => {
  const fifo = join(await directoryWith({}), 'l.jsonl');
  execFileSync('mkfifo', [fifo]);
  // As many as libuv has threads, and files are read all the same.
  const reading = Array.from({ length: 4 }, () => collect(fifo));
  const path = await fileWith('l.jsonl', '{"source":"a","target":"b"}\n');
  expect(await collect(path)).toHaveLength(1);
  const line = JSON.stringify({ source: 'c', target: 'd' });
  const writer = spawn('sh', ['-c', 'echo "$1" >"$0"', fifo, line]);
  expect((await Promise.all(reading)).flat()).toEqual([{ source: 'c', target: 'd' }]);
  await once(writer, 'close');
});

describe('a bad line is reported with file and line:', () => {
  const good = '{"source":"a","target":"b"}';
  const cases: [string, string, string | Uint8Array, number][] = [
    ['no JSON', 'l.jsonl', `${good}\n\n{"source":`, 3],
    ['no object', 'l.jsonl', `${good}\n7`, 2],
    ['null', 'l.jsonl', 'null', 1],
    ['no source', 'l.jsonl', '{"target":"b"}', 1],
    ['a number for text', 'l.jsonl', '{"source":"a","target":3}', 1],
    ['bytes that are no UTF-8', 'l.jsonl', Buffer.from([0x7b, 0xff, 0x7d]), 1],
    [
      'a character cut off by the end',
      'l.tsv',
      Buffer.from('source\ttarget\na\té').subarray(0, -1),
      2,
    ],
    ['no such column', 'l.csv', 'text,target\na,b\n', 1],
    ['a field too many', 'l.csv', 'source,target\na,b\na,b,c\n', 3],
    ['a field too few', 'l.tsv', 'source\ttarget\na\n', 2],
    ['a quote that stays open', 'l.csv', 'source,target\na,b\n"a,b\nc\n', 3],
    ['a quote inside a field', 'l.csv', 'source,target\na "b" c,d\n', 2],
    ['text behind a quote', 'l.csv', 'source,target\n"a"b,d\n', 2],
  ];
  test.each(cases)('%s', async (_, name, content, line) => {
    const path = await fileWith(name, content);
    await expect(collect(path)).rejects.toMatchObject({
      name: 'WgqaError',
      code: 'INVALID_FILE',
      field: `${path}:${String(line)}`,
    });
  });

  test.each(['jsonl', 'csv', 'tsv'] as const)('%s longer than the limit', async (format) => {
    // Without a line break, so that a reader that waits for one would hold all of it in memory.
    const path = await fileWith('l.gz', gzipSync('x'.repeat(5_000_000)));
    await expect(collect(path, { format, maxLineLength: 1000 })).rejects.toMatchObject({
      code: 'INVALID_FILE',
      field: `${path}:1`,
    });
  });

  test('a CSV field as long as a record may be is read, quotes and line breaks included', async () => {
    const field = '"\n'.repeat(200_000);
    const path = await fileWith('l.csv', `source,target\n"${field.replaceAll('"', '""')}x",b\n`);
    expect(await collect(path)).toEqual([{ source: `${field}x`, target: 'b' }]);
  });

  test('a CSV record that goes on for ever', async () => {
    const path = await fileWith('l.csv', `source,target\n"${'x\n'.repeat(1000)}`);
    await expect(collect(path, { maxLineLength: 100 })).rejects.toMatchObject({
      field: `${path}:2`,
    });
  });
});

describe('a bad file or option is a typed error:', () => {
  test('no file', async () => {
    await expect(collect('/nonexistent/l.jsonl')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  test('a directory', async () => {
    const directory = await directoryWith({});
    await expect(collect(directory, { format: 'tsv' })).rejects.toMatchObject({ code: 'IO' });
  });

  test.each([
    ['no gzip', Buffer.from(JSON_LINES)],
    ['half a gzip file', gzipSync(JSON_LINES).subarray(0, 40)],
  ])('%s', async (_, content) => {
    const path = await fileWith('l.jsonl.gz', content);
    await expect(collect(path)).rejects.toMatchObject({ code: 'INVALID_FILE', field: path });
  });

  test.each([
    ['format', { format: 'xml' as 'csv' }],
    ['sourceField', { sourceField: '' }],
    ['maxLineLength', { maxLineLength: 0 }],
    ['colour', { colour: 1 } as ReadPairsOptions],
  ])('%s', async (field, options) => {
    await expect(collect('l.jsonl', options)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      field,
    });
  });

  test('a name whose format is unknown', async () => {
    await expect(collect('l.xml')).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      field: 'path',
    });
  });
});

test('a reader may stop early', async () => {
  const path = await fileWith('l.jsonl.gz', gzipSync(`${JSON_LINES}\n`.repeat(50_000)));
  for await (const pair of readPairs(path)) {
    expect(pair).toEqual(PAIRS[0]);
    break;
  }
});
