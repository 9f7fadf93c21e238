import { describe, expect, test } from '@jest/globals';
import { JsonError, MAX_DEPTH, parseJson, spellingKey } from '../../src/checkpoint/json-parser.ts';
import { formatJson } from '../../src/checkpoint/write-json.ts';

function errorOf(text: string, options = {}): JsonError {
  try {
    parseJson(text, options);
  } catch (error) {
    if (error instanceof JsonError) return error;
    throw error;
  }
  throw new Error(`${text} was accepted`);
}

describe('a text', () => {
  test.each([
    '{}',
    ' [ ] ',
    '"a\\"b\\\\"',
    '"\\\\\\""',
    '"\\u00e9\\ud83d\\ude00é😀"',
    '[1,-0.5,1e5,1E-5,true,false,null]',
    '{"a":{"b":[{"c":"}"}]},"__proto__":{"x":1},"":0}',
    '{"a":1,"b":{"a":1}}',
    '123',
  ])('%s means what JSON.parse says', (text) => {
    expect(parseJson(text).value).toEqual(JSON.parse(text));
    expect(JSON.stringify(parseJson(text).value)).toBe(JSON.stringify(JSON.parse(text)));
  });

  test.each([
    '',
    '{',
    '[1,]',
    '{"a":1,}',
    '{a:1}',
    "{'a':1}",
    '01',
    '1.',
    '.5',
    '+1',
    '1 2',
    '"a',
    '"\u0001"',
    '"\\x"',
    '[1}',
    'nul',
    'undefined',
    '\uFEFF{}',
    'NaN',
    '{"a":1 "b":2}',
  ])('%j is refused as JSON.parse refuses it', (text) => {
    expect(() => JSON.parse(text) as unknown).toThrow();
    expect(errorOf(text).message).toMatch(/^is not valid JSON: .* at line \d+, column \d+/);
  });

  test('with a key twice names it and both values, behind escapes, too', () => {
    expect(errorOf('{"a":1,"\\u0061":2}')).toMatchObject({
      key: 'a',
      message: 'holds the key "a" twice: 1 and 2',
    });
    expect(errorOf('{"p":NaN,"p":0.1}', { fromPython: true }).message).toContain('NaN and 0.1');
    expect(errorOf('{"__proto__":1,"__proto__":2}').key).toBe('__proto__');
  });

  test('says where it is wrong', () => {
    expect(errorOf('{\n  "a": 1,\n  b: 2\n}').message).toContain('line 3, column 3');
  });

  test('nests as deep as allowed and no deeper', () => {
    const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth);
    expect(() => parseJson(nested(MAX_DEPTH))).not.toThrow();
    expect(errorOf(nested(MAX_DEPTH + 1)).message).toContain('nests deeper');
    expect(errorOf(nested(1e6)).message).toContain('nests deeper');
  });

  test('of Python may hold numbers that are not finite', () => {
    const text = '{"a":NaN,"b":[Infinity,-Infinity]}';
    const { value } = parseJson(text, { fromPython: true });
    expect(value).toEqual({ a: NaN, b: [Infinity, -Infinity] });
  });
});

describe('numbers', () => {
  const spelled = '{"a":1.0,"b":[1,2.50,{"c":1e-05}],"big":12345678901234567890,"z":-0,"n":NaN}';

  test('keep their spelling where JavaScript has another', () => {
    const { spellings } = parseJson(spelled, { fromPython: true });
    expect([...spellings].sort()).toEqual([
      [spellingKey(['a']), '1.0'],
      [spellingKey(['b', 1]), '2.50'],
      [spellingKey(['b', 2, 'c']), '1e-05'],
      [spellingKey(['big']), '12345678901234567890'],
      [spellingKey(['n']), 'NaN'],
      [spellingKey(['z']), '-0'],
    ]);
  });

  test('are written as they were read, unless they changed', () => {
    const { value, spellings } = parseJson(spelled, { fromPython: true });
    const compact = (text: string): string => text.replaceAll(/\s/g, '');
    expect(compact(formatJson(value, { spellings }))).toBe(spelled);
    const changed = { ...(value as object), a: 2 };
    expect(compact(formatJson(changed, { spellings }))).toBe(spelled.replace('1.0', '2'));
  });

  test('of keys that are floats have a point or an exponent', () => {
    const floatKeys = new Set(['a', 'b', 'c', 'd']);
    const value = { a: 1, b: 0.5, c: 1e-7, d: 1e21, other: 1, nested: { a: 1 } };
    expect(JSON.parse(formatJson(value, { floatKeys }))).toEqual(value);
    expect(formatJson(value, { floatKeys })).toContain('"a": 1.0,\n  "b": 0.5,\n  "c": 1e-7');
    expect(formatJson(value, { floatKeys })).toContain('"other": 1,\n  "nested": {\n    "a": 1\n');
    // As an older version of this package wrote it, which Transformers 5 refuses.
    const { value: old, spellings } = parseJson('{"a":1}');
    expect(formatJson(old, { spellings, floatKeys })).toBe('{\n  "a": 1.0\n}\n');
  });

  test('and everything else are written as by JSON.stringify', () => {
    const value = {
      s: 'é"\n',
      list: [],
      object: {},
      deep: [[1], { x: [null, true] }],
      u: undefined,
    };
    expect(formatJson(value)).toBe(`${JSON.stringify(value, null, 2)}\n`);
  });
});
