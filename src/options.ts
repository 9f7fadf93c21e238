/**
 * Validation of option objects by table: a rule per option says in words what is allowed, and every
 * violation becomes the same `INVALID_ARGUMENT` sentence naming the field and the allowed values.
 */
import { invalidArgument, type WgqaError } from './errors.ts';

export interface Rule<T> {
  /** What is allowed, as it reads after "must be". */
  readonly allowed: string;
  readonly accepts: (value: unknown) => value is T;
}

export type Rules = Readonly<Record<string, Rule<unknown>>>;

/** The options a table of rules lets through; those not given are absent. */
export type Checked<R extends Rules> = {
  [K in keyof R]?: R[K] extends Rule<infer T> ? T : never;
};

export interface Range {
  readonly min?: number;
  readonly max?: number;
  /** The bounds themselves are not allowed. */
  readonly exclusive?: boolean;
}

function rule<T>(allowed: string, accepts: (value: unknown) => boolean): Rule<T> {
  return { allowed, accepts: accepts as (value: unknown) => value is T };
}

/** A finite number within `range`. */
export function numberIn(range: Range = {}): Rule<number> {
  const { min = -Number.MAX_VALUE, max = Number.MAX_VALUE, exclusive = false } = range;
  return rule(`a number${boundsText(range)}`, (value) => {
    if (typeof value !== 'number' || !Number.isFinite(value)) return false;
    return exclusive ? value > min && value < max : value >= min && value <= max;
  });
}

/** A safe integer within [min, max]. */
export function integerIn(min = 0, max = Number.MAX_SAFE_INTEGER): Rule<number> {
  const bounds = max === Number.MAX_SAFE_INTEGER ? { min } : { min, max };
  return rule(`an integer${boundsText(bounds)}`, (value) => {
    return Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max;
  });
}

export function oneOf<const T extends string | number | boolean>(...values: readonly T[]): Rule<T> {
  const allowed = values.map((v) => (typeof v === 'string' ? `'${v}'` : String(v))).join(' | ');
  return rule(allowed, (value) => values.includes(value as T));
}

export const booleanRule: Rule<boolean> = oneOf(true, false);

export const stringRule: Rule<string> = rule(
  'a string that is not empty',
  (value) => typeof value === 'string' && value.length > 0,
);

export const objectRule: Rule<Readonly<Record<string, unknown>>> = rule('an object', isRecord);

export function functionRule<T>(): Rule<T> {
  return rule('a function', (value) => typeof value === 'function');
}

export const signalRule: Rule<AbortSignal> = rule(
  'an AbortSignal',
  (value) => isRecord(value) && 'aborted' in value && 'addEventListener' in value,
);

/** Values that satisfy either rule. */
export function either<A, B>(a: Rule<A>, b: Rule<B>): Rule<A | B> {
  return rule(`${a.allowed}, or ${b.allowed}`, (value) => a.accepts(value) || b.accepts(value));
}

export function arrayOf<T>(item: Rule<T>, minLength = 0): Rule<T[]> {
  const some = minLength > 0 ? 'a non-empty array' : 'an array';
  return rule(`${some} with each item ${item.allowed}`, (value) => {
    return Array.isArray(value) && value.length >= minLength && value.every((v) => item.accepts(v));
  });
}

/** Any value: it is checked elsewhere. */
export function anything<T>(): Rule<T> {
  return rule('anything', () => true);
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Checks `options` against `rules` and returns the given ones. `undefined` counts as not given.
 * `prefix` stands before the names in errors ("optimizer" gives "optimizer.beta1").
 * @throws WgqaError INVALID_ARGUMENT for an unknown name or a value that its rule rejects
 */
export function checkOptions<R extends Rules>(options: unknown, rules: R, prefix = ''): Checked<R> {
  if (options === undefined) return {};
  if (!isRecord(options)) throw invalidArgument(prefix || 'options', 'an object', options);
  const checked: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(options)) {
    const field = prefix ? `${prefix}.${name}` : name;
    const rule = Object.hasOwn(rules, name) ? rules[name] : undefined;
    if (rule === undefined) {
      throw unknownName(field, name, Object.keys(rules), value);
    }
    if (value === undefined) continue;
    if (!rule.accepts(value)) throw invalidArgument(field, rule.allowed, value);
    checked[name] = value;
  }
  return checked as Checked<R>;
}

function unknownName(
  field: string,
  name: string,
  known: readonly string[],
  value: unknown,
): WgqaError {
  const meant = closestName(name, known);
  const hint = meant === undefined ? '' : `did you mean ${meant}? `;
  return invalidArgument(field, `absent; ${hint}known names are ${known.join(', ')}`, value);
}

/** Checks one required value. */
export function checkValue<T>(value: unknown, rule: Rule<T>, field: string): T {
  if (!rule.accepts(value)) throw invalidArgument(field, rule.allowed, value);
  return value;
}

function boundsText({ min, max, exclusive = false }: Range): string {
  if (min !== undefined && max !== undefined) {
    return exclusive ? ` strictly between ${min} and ${max}` : ` from ${min} to ${max}`;
  }
  if (min !== undefined) return exclusive ? ` > ${min}` : ` >= ${min}`;
  if (max !== undefined) return exclusive ? ` < ${max}` : ` <= ${max}`;
  return '';
}

/** Edits that a typing error takes, at most. */
const MOST_EDITS = 2;
/** Longer names are no typing errors. */
const LONGEST_NAME = 64;

/** Names of other libraries for options of the same meaning. */
const OTHER_NAMES: Readonly<Record<string, string>> = {
  maxlength: 'maxNewTokens',
  maxtokens: 'maxNewTokens',
  minlength: 'minNewTokens',
  stopstrings: 'stop',
};

/** The known name that an unknown one is another spelling of, or a few edits away from. */
function closestName(name: string, known: readonly string[]): string | undefined {
  if (name.length > LONGEST_NAME) return undefined;
  const plain = (text: string): string => text.replaceAll(/[_-]/g, '').toLowerCase();
  const wanted = plain(name);
  const other = OTHER_NAMES[wanted] ?? '';
  if (known.includes(other)) return other;
  const ranked = known
    .map((each) => ({ each, edits: editDistance(wanted, plain(each)) }))
    .sort((a, b) => a.edits - b.edits);
  const [best] = ranked;
  const most = Math.min(MOST_EDITS, Math.floor(wanted.length / 3));
  return best !== undefined && best.edits <= most ? best.each : undefined;
}

/** Characters to insert, delete or replace (Levenshtein). */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; ++i) {
    const next = [i];
    for (let j = 1; j <= b.length; ++j) {
      const replaced = (row[j - 1] ?? 0) + Number(a[i - 1] !== b[j - 1]);
      next.push(Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}
