/**
 * Reads Debian control data (deb822(5)): stanzas separated by blank lines, `Field: value` lines,
 * and continuation lines that start with a space or a tab.
 */

/** Field names in lower case (they are case-insensitive) and values with their line breaks. */
export type Stanza = ReadonlyMap<string, string>;

/** Yields the stanzas of a control file; throws `Error` with the line number where it is malformed. */
export function* parseControl(text: string): Generator<Stanza> {
  let fields = new Map<string, string>();
  let current: string | undefined;
  let lineNumber = 0;
  for (const line of text.split('\n')) {
    lineNumber += 1;
    if (line.trim() === '') {
      if (fields.size > 0) yield fields;
      fields = new Map();
      current = undefined;
    } else if (line.startsWith(' ') || line.startsWith('\t')) {
      if (current === undefined) throw new Error(`line ${String(lineNumber)}: nothing to continue`);
      fields.set(current, `${fields.get(current) ?? ''}\n${line}`);
    } else if (!line.startsWith('#')) {
      const colon = line.indexOf(':');
      if (colon < 1) throw new Error(`line ${String(lineNumber)}: no "Field:" in ${line}`);
      current = line.slice(0, colon).toLowerCase();
      if (fields.has(current)) throw new Error(`line ${String(lineNumber)}: ${current} twice`);
      fields.set(current, line.slice(colon + 1).trim());
    }
  }
  if (fields.size > 0) yield fields;
}

/** A package description: the one-line synopsis and the long text's paragraphs. */
export interface Description {
  readonly synopsis: string;
  /** Paragraphs made of blocks: one block of flowing text, or one block per list item. */
  readonly paragraphs: readonly (readonly string[])[];
}

/**
 * Splits a Description field as Debian Policy 5.6.13 lays it out: the first line is the synopsis,
 * " ." separates paragraphs, lines with one leading space flow together, and lines with more are
 * to be shown verbatim (in practice list items, whose continuation lines are indented deeper).
 */
export function parseDescription(value: string): Description {
  const [synopsis = '', ...lines] = value.split('\n');
  const paragraphs: string[][] = [];
  let blocks: string[] = [];
  let itemIndent = 0;
  const closeParagraph = () => {
    if (blocks.length > 0) paragraphs.push(blocks);
    blocks = [];
    itemIndent = 0;
  };
  for (const line of lines) {
    const text = collapseSpaces(line);
    if (text === '.' || text === '') {
      closeParagraph();
      continue;
    }
    const indent = line.length - line.trimStart().length;
    const continues = indent === 1 ? itemIndent === 0 : itemIndent > 0 && indent > itemIndent;
    const last = blocks.length - 1;
    if (continues && last >= 0) {
      blocks[last] = `${blocks[last] ?? ''} ${text}`;
    } else {
      blocks.push(text);
      itemIndent = indent === 1 ? 0 : indent;
    }
  }
  closeParagraph();
  return { synopsis: collapseSpaces(synopsis), paragraphs };
}

/** The long description as one line of flowing text. */
export function flowingText(description: Description): string {
  return description.paragraphs.map((blocks) => blocks.join(' ')).join(' ');
}

/** Unicode form NFKC with white space and control characters, of any length, as one space. */
export function collapseSpaces(text: string): string {
  return text
    .normalize('NFKC')
    .replace(/[\s\p{Cc}\p{Cf}]+/gu, ' ')
    .trim();
}
