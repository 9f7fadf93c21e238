import { malformedLine, type Line } from './lines.ts';

/** The fields of one record, and the line it starts on. */
export interface DelimitedRecord {
  readonly fields: string[];
  readonly line: number;
}

/** Yields the records of tab-separated text, which knows no quoting. */
export async function* readTsv(lines: AsyncIterable<Line>): AsyncGenerator<DelimitedRecord> {
  for await (const { text, number } of lines) {
    if (text !== '') yield { fields: text.split('\t'), line: number };
  }
}

/**
 * Yields the records of comma-separated text (RFC 4180): a field in double quotes may hold commas,
 * line breaks, and quotes written twice.
 *
 * @throws WgqaError `INVALID_FILE` for a quote that is not closed, text behind a closing quote, or
 *   a record of more than `maxLength` characters.
 */
export async function* readCsv(
  lines: AsyncIterable<Line>,
  path: string,
  maxLength: number,
): AsyncGenerator<DelimitedRecord> {
  let open: { lines: string[]; length: number; line: number } | undefined;
  let inQuotes = false;
  for await (const { text, number } of lines) {
    if (open === undefined && text === '') continue;
    open ??= { lines: [], length: 0, line: number };
    open.lines.push(text);
    open.length += text.length + 1;
    if (open.length > maxLength + 1) {
      throw malformedLine(path, open.line, `the record has over ${String(maxLength)} characters`);
    }
    // Quotes come in pairs in a whole record, since an escaped quote is two.
    if (hasOddQuotes(text)) inQuotes = !inQuotes;
    if (inQuotes) continue;
    yield { fields: splitRecord(open.lines.join('\n'), path, open.line), line: open.line };
    open = undefined;
  }
  if (open) throw malformedLine(path, open.line, 'the quote is never closed');
}

function hasOddQuotes(text: string): boolean {
  let odd = false;
  for (let at = text.indexOf('"'); at >= 0; at = text.indexOf('"', at + 1)) odd = !odd;
  return odd;
}

/** The fields of a record, found by its quotes and commas: in linear time, whatever it holds. */
function splitRecord(text: string, path: string, line: number): string[] {
  const fields: string[] = [];
  for (let start = 0; ;) {
    const { field, end } =
      text[start] === '"' ? quotedField(text, start, path, line) : plainField(text, start);
    const isMalformed = end < text.length && text[end] !== ',';
    if (isMalformed || (text[start] !== '"' && field.includes('"'))) {
      throw malformedLine(path, line, 'a quote stands inside a field');
    }
    fields.push(field);
    if (end === text.length) return fields;
    start = end + 1;
  }
}

/** A field, and where the comma or the end behind it is. */
interface Field {
  readonly field: string;
  readonly end: number;
}

function plainField(text: string, start: number): Field {
  const comma = text.indexOf(',', start);
  const end = comma < 0 ? text.length : comma;
  return { field: text.slice(start, end), end };
}

function quotedField(text: string, start: number, path: string, line: number): Field {
  const pieces: string[] = [];
  for (let from = start + 1; ;) {
    const quote = text.indexOf('"', from);
    if (quote < 0) throw malformedLine(path, line, 'the quote is never closed');
    pieces.push(text.slice(from, quote));
    if (text[quote + 1] !== '"') return { field: pieces.join('"'), end: quote + 1 };
    from = quote + 2;
  }
}
