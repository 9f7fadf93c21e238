/**
 * Whether a regular expression of a tokenizer file takes time linear in the text. The library's
 * engine (Oniguruma) tracks back, so a pattern of a stranger's choice could run for ever.
 */

/** Published patterns that are linear for reasons the rules below do not see. */
const KNOWN_PATTERNS: ReadonlySet<string> = new Set([
  // o200k: two classes that overlap, but the next alternative takes what the first gives up.
  [
    String.raw`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?`,
    String.raw`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?`,
    String.raw`\p{N}{1,3}`,
    String.raw` ?[^\s\p{L}\p{N}]+[\r\n/]*`,
    String.raw`\s*[\r\n]+`,
    String.raw`\s+(?!\S)`,
    String.raw`\s+`,
  ].join('|'),
]);

/** Linear where a later `\s+` takes the run of white space that they scanned in vain. */
const WHITE_SPACE_BRANCHES = [
  String.raw`\s+(?!\S)`,
  String.raw`\s*[\r\n]+`,
  String.raw`\s*[\r\n]`,
  String.raw`\s*\n+`,
];
const WHITE_SPACE = String.raw`\s+`;

const MAX_LENGTH = 2000;
const MAX_DEPTH = 16;
/** Ways to match at one place that may have to be tried. */
const MAX_CHOICES = 256;
/** A repetition of more counts as unbounded. */
const MAX_BOUND = 16;

/** What is known of a part of a pattern. */
interface Part {
  /** It may match nothing. */
  readonly nullable: boolean;
  /** It may fail to match. */
  readonly canFail: boolean;
  /** It may scan any length of text. */
  readonly unbounded: boolean;
  /** It is one character or class. */
  readonly single: boolean;
  readonly choices: number;
}

const CHARACTER: Part = {
  nullable: false,
  canFail: true,
  unbounded: false,
  single: true,
  choices: 1,
};
const ASSERTION: Part = { ...CHARACTER, nullable: true, single: false };
const NOTHING: Part = { ...ASSERTION, canFail: false };

/** Why the library may not be given this pattern, or undefined where it may. */
export function patternProblem(pattern: string): string | undefined {
  if (pattern.length > MAX_LENGTH) return `is longer than ${MAX_LENGTH} characters`;
  if (KNOWN_PATTERNS.has(pattern)) return undefined;
  try {
    const part = new PatternReader(withoutWhiteSpaceBranches(pattern)).read();
    if (part.nullable) return 'matches the empty text';
    if (part.choices > MAX_CHOICES) return 'has too many ways to match';
    return undefined;
  } catch (error) {
    if (error instanceof PatternError) return error.message;
    throw error;
  }
}

class PatternError extends Error {}

function withoutWhiteSpaceBranches(pattern: string): string {
  let rest = pattern;
  for (const branch of WHITE_SPACE_BRANCHES) {
    const start = `|${rest}`.indexOf(`|${branch}|`);
    if (start < 0) continue;
    const after = rest.slice(start + branch.length + 1);
    if (`|${after}|`.includes(`|${WHITE_SPACE}|`)) rest = rest.slice(0, start) + after;
  }
  return rest;
}

/** A reader of the syntax that published tokenizers use; what it does not know is an error. */
class PatternReader {
  readonly #text: string;
  #at = 0;
  #depth = 0;

  constructor(text: string) {
    this.#text = text;
  }

  read(): Part {
    const part = this.#alternatives();
    if (this.#at < this.#text.length) throw new PatternError('has an unmatched parenthesis');
    return part;
  }

  #alternatives(): Part {
    this.#depth += 1;
    if (this.#depth > MAX_DEPTH) throw new PatternError('is nested too deeply');
    const branches = [this.#sequence()];
    while (this.#take('|')) branches.push(this.#sequence());
    this.#depth -= 1;
    return {
      nullable: branches.some((branch) => branch.nullable),
      canFail: branches.every((branch) => branch.canFail),
      unbounded: branches.some((branch) => branch.unbounded),
      single: branches.length === 1 && branches[0]!.single,
      choices: branches.reduce((sum, branch) => sum + branch.choices, 0),
    };
  }

  #sequence(): Part {
    let whole: Part | undefined;
    while (this.#at < this.#text.length && !this.#sees('|') && !this.#sees(')')) {
      const part = this.#repeated();
      whole = whole === undefined ? part : inTurn(whole, part);
    }
    return whole ?? NOTHING;
  }

  #repeated(): Part {
    let part = this.#atom();
    for (let range = this.#range(); range !== undefined; range = this.#range()) {
      part = repeat(part, range);
      // Lazy and possessive repetitions have no more ways to match than greedy ones.
      if (!this.#take('?')) this.#take('+');
    }
    return part;
  }

  #range(): { min: number; max: number } | undefined {
    if (this.#take('?')) return { min: 0, max: 1 };
    if (this.#take('*')) return { min: 0, max: Infinity };
    if (this.#take('+')) return { min: 1, max: Infinity };
    const match = this.#match(/\{(\d*)(,?)(\d*)\}/y);
    if (match === undefined) return undefined;
    const [, first = '', comma = '', last = ''] = match;
    if (first === '' && last === '') throw new PatternError('has a repetition without a number');
    const min = Number(first);
    if (comma === '') return { min, max: min };
    return { min, max: last === '' ? Infinity : Number(last) };
  }

  #atom(): Part {
    const character = this.#next();
    switch (character) {
      case '(':
        return this.#group();
      case '[':
        this.#class();
        return CHARACTER;
      case '\\':
        return this.#escape();
      case '^':
      case '$':
        return ASSERTION;
      case '*':
      case '+':
      case '?':
        throw new PatternError('repeats nothing');
      default:
        return CHARACTER;
    }
  }

  #group(): Part {
    const kind = this.#match(/\?(?:[im]*(?:-[im]*)?:|[=!>]|<[=!])/y)?.[0] ?? '';
    if (kind === '' && this.#sees('?')) throw new PatternError('has a group of an unknown kind');
    const inner = this.#alternatives();
    if (!this.#take(')')) throw new PatternError('has an unmatched parenthesis');
    if (!/[=!]$/.test(kind)) return inner;
    if (inner.unbounded) throw new PatternError('looks around without bound');
    return { ...ASSERTION, choices: inner.choices };
  }

  /** The rest of a class whose "[" was read. */
  #class(depth = 1): void {
    if (depth > MAX_DEPTH) throw new PatternError('is nested too deeply');
    this.#take('^');
    for (let first = true; ; first = false) {
      const character = this.#next();
      if (character === ']' && !first) return;
      if (character === '\\') this.#escape();
      if (character !== '[') continue;
      if (this.#match(/:\^?\w+:\]/y) === undefined) this.#class(depth + 1);
    }
  }

  #escape(): Part {
    const character = this.#next();
    if (/[AzZbBG]/.test(character)) return ASSERTION;
    if (/[1-9kgKXR]/.test(character)) {
      throw new PatternError(`uses \\${character}, which is not supported`);
    }
    const isProperty = character === 'p' || character === 'P';
    if (isProperty && this.#match(/\{\^?[\w ]+\}/y) === undefined) {
      throw new PatternError('has a property without a name');
    }
    if (character === 'x') this.#match(/\{[0-9a-fA-F]+\}|[0-9a-fA-F]{1,2}/y);
    if (character === 'u') this.#match(/[0-9a-fA-F]{4}/y);
    return CHARACTER;
  }

  #next(): string {
    const codePoint = this.#text.codePointAt(this.#at);
    if (codePoint === undefined) throw new PatternError('ends too early');
    const character = String.fromCodePoint(codePoint);
    this.#at += character.length;
    return character;
  }

  #sees(character: string): boolean {
    return this.#text[this.#at] === character;
  }

  #take(character: string): boolean {
    const taken = this.#sees(character);
    if (taken) this.#at += 1;
    return taken;
  }

  #match(expression: RegExp): RegExpExecArray | undefined {
    expression.lastIndex = this.#at;
    const match = expression.exec(this.#text);
    if (match === null) return undefined;
    this.#at += match[0].length;
    return match;
  }
}

function inTurn(first: Part, second: Part): Part {
  if (first.unbounded && second.canFail) {
    throw new PatternError('may scan far and then fail, again and again');
  }
  return {
    nullable: first.nullable && second.nullable,
    canFail: first.canFail || second.canFail,
    unbounded: first.unbounded || second.unbounded,
    single: false,
    choices: limited(first.choices * second.choices),
  };
}

function repeat(part: Part, { min, max }: { min: number; max: number }): Part {
  const nullable = min === 0 || part.nullable;
  const canFail = min > 0 && part.canFail;
  if (max > MAX_BOUND) {
    if (!part.single) throw new PatternError('repeats more than a character without bound');
    if (min > MAX_BOUND) throw new PatternError('repeats a character too often');
    return { nullable, canFail, unbounded: true, single: false, choices: 1 };
  }
  if (part.unbounded && max > 1) throw new PatternError('repeats a repetition');
  const choices = part.single ? max - min + 1 : (part.choices + 1) ** max;
  return { ...part, nullable, canFail, single: false, choices: limited(Math.max(choices, 1)) };
}

function limited(choices: number): number {
  return Math.min(choices, 1e9);
}
