/**
 * Writing JSON for Python to read. JSON.stringify writes 1.0 as 1, which Python reads as an integer;
 * Transformers 5 checks the types of a configuration and refuses it where a float is expected.
 */
import { spellingKey, type NumberSpellings } from './json-parser.ts';

export interface JsonFormat {
  /** How numbers were spelled where they come from; those that are still the same keep it. */
  readonly spellings?: NumberSpellings;
  /** Keys of the outermost object whose numbers always have a point or an exponent. */
  readonly floatKeys?: ReadonlySet<string>;
}

type Path = readonly (string | number)[];

/** `value`, plain data, in lines with two spaces per level and a line break at the end. */
export function formatJson(value: unknown, format: JsonFormat = {}): string {
  return `${formatAt(value, [], format)}\n`;
}

function formatAt(value: unknown, path: Path, format: JsonFormat): string {
  if (typeof value === 'number') return formatNumber(value, path, format);
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  if (Array.isArray(value)) {
    const items = value.map((item: unknown, i) => formatAt(item ?? null, [...path, i], format));
    return block('[', items, ']', path.length);
  }
  const entries = Object.entries(value).filter(([, item]) => item !== undefined);
  const members = entries.map(
    ([key, item]) => `${JSON.stringify(key)}: ${formatAt(item, [...path, key], format)}`,
  );
  return block('{', members, '}', path.length);
}

function formatNumber(value: number, path: Path, { spellings, floatKeys }: JsonFormat): string {
  const spelled = spellings?.get(spellingKey(path));
  const text = spelled !== undefined && Object.is(Number(spelled), value) ? spelled : String(value);
  const isFloat = path.length === 1 && floatKeys?.has(String(path[0]));
  return isFloat && /^-?\d+$/.test(text) ? `${text}.0` : text;
}

function block(open: string, items: readonly string[], close: string, depth: number): string {
  if (items.length === 0) return open + close;
  const indent = '  '.repeat(depth);
  return `${open}\n${items.map((item) => `${indent}  ${item}`).join(',\n')}\n${indent}${close}`;
}
