/** HTML whose parts are text unless they are HTML themselves: what a run's files say is escaped wherever it stands. */

/** Markup that is safe to put into a page. Only `html` and `markup` make it. */
export class Html {
  readonly #markup: string;

  constructor(markup: string) {
    this.#markup = markup;
  }

  toString(): string {
    return this.#markup;
  }
}

export type HtmlPart = Html | string | number | readonly HtmlPart[];

const entities: Readonly<Record<string, string>> = {
  ...{ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;', '`': '&#96;' },
};

/** Text as HTML shows it, in an element or in a quoted attribute. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"'`]/g, (character) => entities[character]);
}

/** A template of HTML: `` html`<b>${name}</b>` ``. Texts and numbers are escaped, `Html` and lists of it are not. */
export function html(parts: TemplateStringsArray, ...values: readonly HtmlPart[]): Html {
  return new Html(parts.map((part, i) => (i === 0 ? part : `${write(values[i - 1])}${part}`)).join(''));
}

/** Markup made elsewhere, by code that escapes what it is given: a figure's SVG. */
export function markup(text: string): Html {
  return new Html(text);
}

function write(value: HtmlPart): string {
  if (value instanceof Html) return value.toString();
  if (typeof value === 'string' || typeof value === 'number') return escapeHtml(String(value));
  return value.map(write).join('');
}
