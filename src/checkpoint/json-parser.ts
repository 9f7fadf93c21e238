/**
 * A strict JSON parser (RFC 8259) that also says what JSON.parse does not: a key that an object holds
 * twice, nesting beyond a limit, where a text is wrong, and how numbers were spelled. Where the writer
 * is Python it reads NaN, Infinity and -Infinity, which its `json` module writes.
 */

/** Nesting of arrays and objects. Real files have less than ten levels. */
export const MAX_DEPTH = 100;

/** Spellings of numbers that JavaScript would write otherwise, by path: '["a","b",0]' is a.b[0]. */
export type NumberSpellings = ReadonlyMap<string, string>;

export interface ParsedJson {
  readonly value: unknown;
  readonly spellings: NumberSpellings;
}

/** What is wrong with a text; `key` is present iff an object holds it twice. */
export class JsonError extends Error {
  readonly key: string | undefined;

  constructor(problem: string, key?: string) {
    super(problem);
    this.key = key;
  }
}

type Path = (string | number)[];

const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const SPACE = /[ \t\n\r]*/y;
const WORDS: readonly (readonly [string, unknown])[] = [
  ['true', true],
  ['false', false],
  ['null', null],
];
const PYTHON_NUMBERS: readonly (readonly [string, unknown])[] = [
  ['NaN', NaN],
  ['Infinity', Infinity],
  ['-Infinity', -Infinity],
];

/**
 * Parses `text`; `fromPython` allows numbers that are not finite.
 * @throws JsonError
 */
export function parseJson(text: string, { fromPython = false } = {}): ParsedJson {
  return new Parser(text, fromPython ? [...WORDS, ...PYTHON_NUMBERS] : WORDS).document();
}

/** The key under which `NumberSpellings` holds the spelling of the number at `path`. */
export function spellingKey(path: readonly (string | number)[]): string {
  return JSON.stringify(path);
}

class Parser {
  readonly #text: string;
  readonly #words: readonly (readonly [string, unknown])[];
  readonly #spellings = new Map<string, string>();
  readonly #path: Path = [];
  #position = 0;

  constructor(text: string, words: readonly (readonly [string, unknown])[]) {
    this.#text = text;
    this.#words = words;
  }

  document(): ParsedJson {
    const value = this.#value();
    this.#skipSpace();
    if (this.#position < this.#text.length) throw this.#unexpected('the end');
    return { value, spellings: this.#spellings };
  }

  #value(): unknown {
    this.#skipSpace();
    switch (this.#text[this.#position]) {
      case '{':
        return this.#object();
      case '[':
        return this.#array();
      case '"':
        return this.#string();
      default:
        return this.#word();
    }
  }

  #object(): Record<string, unknown> {
    const object: Record<string, unknown> = {};
    this.#enter();
    if (this.#ends('}')) return object;
    do {
      this.#skipSpace();
      if (this.#text[this.#position] !== '"') throw this.#unexpected('a key in quotes');
      const key = this.#string();
      this.#expect(':');
      this.#path.push(key);
      const start = this.#position;
      const value = this.#value();
      if (Object.hasOwn(object, key)) throw this.#twice(key, object[key], start);
      this.#path.pop();
      setOwn(object, key, value);
    } while (this.#goesOn('}'));
    return object;
  }

  #array(): unknown[] {
    const array: unknown[] = [];
    this.#enter();
    if (this.#ends(']')) return array;
    do {
      this.#path.push(array.length);
      array.push(this.#value());
      this.#path.pop();
    } while (this.#goesOn(']'));
    return array;
  }

  #string(): string {
    const start = this.#position;
    let end = start;
    do {
      end = this.#text.indexOf('"', end + 1);
      if (end < 0) throw this.#unexpected('the end of a string', this.#text.length);
    } while (this.#isEscaped(end, start));
    this.#position = end + 1;
    const quoted = this.#text.slice(start, end + 1);
    try {
      return JSON.parse(quoted) as string;
    } catch {
      throw this.#unexpected('a string without control characters or unknown escapes', start);
    }
  }

  /** Whether an odd number of backslashes stands before `position`. */
  #isEscaped(position: number, start: number): boolean {
    let first = position;
    while (first - 1 > start && this.#text[first - 1] === '\\') first -= 1;
    return (position - first) % 2 === 1;
  }

  #word(): unknown {
    for (const [word, value] of this.#words) {
      if (!this.#text.startsWith(word, this.#position)) continue;
      this.#position += word.length;
      if (typeof value === 'number') this.#spellings.set(spellingKey(this.#path), word);
      return value;
    }
    NUMBER.lastIndex = this.#position;
    const spelling = NUMBER.exec(this.#text)?.[0];
    if (spelling === undefined) throw this.#unexpected('a value');
    this.#position += spelling.length;
    const value = Number(spelling);
    if (String(value) !== spelling) this.#spellings.set(spellingKey(this.#path), spelling);
    return value;
  }

  #enter(): void {
    this.#position += 1;
    if (this.#path.length >= MAX_DEPTH) {
      throw new JsonError(`nests deeper than ${MAX_DEPTH} levels at ${this.#place()}`);
    }
  }

  #ends(bracket: string): boolean {
    this.#skipSpace();
    if (this.#text[this.#position] !== bracket) return false;
    this.#position += 1;
    return true;
  }

  /** After an item: true at a comma, false at the closing bracket. */
  #goesOn(bracket: string): boolean {
    if (this.#ends(',')) return true;
    if (this.#ends(bracket)) return false;
    throw this.#unexpected(`"," or "${bracket}"`);
  }

  #expect(character: string): void {
    if (!this.#ends(character)) throw this.#unexpected(`"${character}"`);
  }

  #skipSpace(): void {
    SPACE.lastIndex = this.#position;
    SPACE.exec(this.#text);
    this.#position = SPACE.lastIndex;
  }

  #twice(key: string, first: unknown, start: number): JsonError {
    const second = this.#text.slice(start, this.#position).trim();
    const name = JSON.stringify(key.slice(0, 80));
    const values = `${shortJson(first)} and ${second.slice(0, 80)}`;
    return new JsonError(`holds the key ${name} twice: ${values}`, key);
  }

  #unexpected(wanted: string, position = this.#position): JsonError {
    const found = this.#text.slice(position, position + 1);
    const shown = found === '' ? 'it ends' : `${JSON.stringify(found)} stands`;
    return new JsonError(`is not valid JSON: ${shown} at ${this.#place(position)}, not ${wanted}`);
  }

  #place(position = this.#position): string {
    const lines = this.#text.slice(0, position).split('\n');
    return `line ${lines.length}, column ${(lines.at(-1)?.length ?? 0) + 1}`;
  }
}

/** A value in at most 80 characters, for messages. */
export function shortJson(value: unknown): string {
  if (value === undefined) return 'absent';
  if (typeof value === 'number') return String(value);
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 80));
  const text = JSON.stringify(value);
  return text.length <= 80 ? text : `${text.slice(0, 77)}...`;
}

/** Like an assignment, but "__proto__" becomes a key as any other. */
function setOwn(object: Record<string, unknown>, key: string, value: unknown): void {
  if (key !== '__proto__') object[key] = value;
  else
    Object.defineProperty(object, key, {
      value,
      enumerable: true,
      configurable: true,
      writable: true,
    });
}
