import { Markup, markup } from './markup.ts';
import { STYLE } from './style.ts';

/** The page loads nothing, and its own policy forbids it to. */
const POLICY = "default-src 'none'; style-src 'unsafe-inline'";

export interface PageParts {
  readonly title: string;
  /** Program and version, for the page's metadata. */
  readonly generator?: string;
  readonly header: Markup;
  readonly main: Markup;
}

/** One self-contained HTML page: no script, no network, no external file. */
export function renderDocument({ title, generator, header, main }: PageParts): string {
  const meta = generator && markup`<meta name="generator" content="${generator}">\n`;
  const page = markup`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${POLICY}">
${meta}<title>${title}</title>
<style>${new Markup(STYLE)}</style>
</head>
<body>
<header>
${header}
</header>
<main>
${main}
</main>
</body>
</html>
`;
  return page.text;
}
