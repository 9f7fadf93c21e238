/** Text that is already HTML or SVG; everything else is escaped when it is interpolated. */
export class Markup {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }

  toString(): string {
    return this.text;
  }
}

export type MarkupValue = string | number | Markup | undefined | readonly MarkupValue[];

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Control characters HTML forbids, and halves of surrogate pairs. */
// eslint-disable-next-line no-control-regex
const INVALID = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\p{Surrogate}]/gu;

/** Escapes for HTML text and quoted attributes; characters HTML forbids become U+FFFD. */
export function escapeHtml(text: string): string {
  return text
    .replace(/[&<>"']/g, (character) => ENTITIES[character] ?? character)
    .replace(INVALID, '\ufffd');
}

/**
 * Template tag for HTML and SVG. Strings and numbers are escaped, `Markup` is not, arrays are
 * joined, `undefined` is empty. Attribute values must be quoted in the template.
 */
export function markup(strings: TemplateStringsArray, ...values: readonly MarkupValue[]): Markup {
  const text = strings.reduce((built, string, index) => built + render(values[index - 1]) + string);
  return new Markup(text);
}

function render(value: MarkupValue): string {
  if (value === undefined) return '';
  if (value instanceof Markup) return value.text;
  if (typeof value === 'string' || typeof value === 'number') return escapeHtml(String(value));
  return value.map(render).join('');
}
