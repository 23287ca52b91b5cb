/** What a template makes of its values: nothing that is put in can become markup. */
import { describe, expect, test } from 'vitest';
import { type Html, html, trustedMarkup } from '../../../src/report/page/html.ts';

const attack = '</script><script>alert(1)</script>"\'&';

describe('values', () => {
  test('that are text are escaped, in text and in attributes', () => {
    const made = String(html`<p title="${attack}">${attack}</p>`);
    expect(made).not.toMatch(/<\/?script/);
    const escaped = '&#60;/script&#62;&#60;script&#62;alert(1)&#60;/script&#62;&#34;&#39;&#38;';
    expect(made).toBe(`<p title="${escaped}">${escaped}</p>`);
  });

  test('that are markup stay as they are, and are escaped once', () => {
    const inner = html`<b>${'a & b'}</b>`;
    expect(String(html`<p>${inner}</p>`)).toBe('<p><b>a &#38; b</b></p>');
    expect(String(html`<p>${String(inner)}</p>`)).toBe('<p>&#60;b&#62;a &#38;#38; b&#60;/b&#62;</p>');
    expect(String(html`${trustedMarkup('<svg/>')}`)).toBe('<svg/>');
  });

  test('of a list are each what they are, lists in lists too, and nothing stands between them', () => {
    expect(String(html`<i>${['<', html`<b>`, 3, ['&', []]]}</i>`)).toBe('<i>&#60;<b>3&#38;</i>');
    expect(String(html`<i>${[]}</i>`)).toBe('<i></i>');
  });

  test('that are numbers are their digits', () => {
    expect(String(html`${0} ${-1.5} ${Number.NaN} ${1e21}`)).toBe('0 -1.5 NaN 1e+21');
  });

  test('keep line ends and tabs; other control characters and lone surrogates are replaced', () => {
    expect(String(html`${'a\n\tb'}`)).toBe('a\n\tb');
    expect(String(html`${'a\u0000\u001b\ud800'}`)).toBe('a\ufffd\ufffd\ufffd');
  });

  test('look like markup to nobody: an object with its fields is no markup', () => {
    const forged = { toString: () => '<b>' } as unknown as Html;
    expect(() => html`<p>${forged}</p>`).toThrow(TypeError);
  });

  test('change nothing of what a template says about itself: $ and backslashes stay', () => {
    expect(String(html`<p>${'$& $1 \\'}</p>`)).toBe('<p>$&#38; $1 \\</p>');
  });
});

describe('places', () => {
  const value = 'x';
  test.each<[string, () => Html]>([
    ['an attribute without quotes', () => html`<p class=${value}>`],
    ['a tag', () => html`<p ${value}>`],
    ['a tag behind a quoted attribute', () => html`<p title="a > b" ${value}>`],
    ["a tag's name", () => html`<p></${value}>`],
    ['a script', () => html`<script>const a = '${value}';</script>`],
    ['a style', () => html`<STYLE >p{color:${value}}</STYLE>`],
    ['a title', () => html`<title>${value}</title>`],
    ['a comment', () => html`<!-- ${value} -->`],
    ['a handler', () => html`<p onclick="${value}">`],
    ['a style attribute', () => html`<p style="width:${value}%">`],
    ['a second place that is none', () => html`<p title="${value}" class=${value}>`],
    ['quotes that are no attribute', () => html`<p "${value}">`],
  ])('%s: a value there is refused', (_, make) => {
    expect(make).toThrow(/^html: a value after .*, expected one in text or in a quoted attribute$/);
    // Every time, not only the first.
    expect(make).toThrow(TypeError);
  });

  test.each<[string, () => Html, string]>([
    ['text', () => html`1 < 2 "${value}"`, '1 < 2 "x"'],
    ['single quotes', () => html`<p title='${value}' class = "b ${value}">`, `<p title='x' class = "b x">`],
    ['text behind a script', () => html`<script>a("<b>")</script>${value}`, '<script>a("<b>")</script>x'],
    ['text behind a > in quotes', () => html`<p title="a > b">${value}`, '<p title="a > b">x'],
    [
      'an attribute that ends like a style',
      () => html`<p data-style="${value}" data-on="${value}">`,
      '<p data-style="x" data-on="x">',
    ],
  ])('%s: a value there is taken', (_, make, expected) => {
    expect(String(make())).toBe(expected);
  });
});
