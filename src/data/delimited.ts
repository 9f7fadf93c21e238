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

// One field: quoted, or free of quotes and commas; then a comma or the end.
const FIELD = /(?:"([^"]*(?:""[^"]*)*)"|([^",]*))(,|$)/y;

function splitRecord(text: string, path: string, line: number): string[] {
  const fields: string[] = [];
  FIELD.lastIndex = 0;
  for (;;) {
    const match = FIELD.exec(text);
    if (!match) throw malformedLine(path, line, 'a quote stands inside a field');
    fields.push(match[1]?.replaceAll('""', '"') ?? match[2] ?? '');
    if (match[3] === '') return fields;
  }
}
