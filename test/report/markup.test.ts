import { describe, expect, test } from '@jest/globals';
import { Markup, escapeHtml, markup } from '../../src/report/markup.ts';

describe('escaping', () => {
  test('characters with a meaning in HTML', () => {
    expect(escapeHtml(`<a href="x" title='y'>&amp;</a>`)).toBe(
      '&lt;a href=&quot;x&quot; title=&#39;y&#39;&gt;&amp;amp;&lt;/a&gt;',
    );
  });

  test('characters HTML forbids', () => {
    expect(escapeHtml('a\u0000b\u001bc\u0085d\ud800e')).toBe('a\ufffdb\ufffdc\ufffdd\ufffde');
    expect(escapeHtml('tab\t line\n 🙂 ä')).toBe('tab\t line\n 🙂 ä');
  });
});

describe('templates', () => {
  test('text is escaped, markup is not, lists are joined, undefined is empty', () => {
    const items = ['<', 2].map((item) => markup`<li>${item}</li>`);
    expect(markup`<ul>${items}${undefined}${['&', new Markup('<br>')]}</ul>`.text).toBe(
      '<ul><li>&lt;</li><li>2</li>&amp;<br></ul>',
    );
  });

  test('a text that contains what looks like a template stays text', () => {
    expect(markup`${'${x}'}`.text).toBe('${x}');
  });
});
