/** Markup that cannot be forgotten to be escaped: a page is built of `html` templates, which escape whatever is put into them. */
import { escapeXml } from '../figures/svg.ts';

class Markup {
  readonly #markup: string;

  constructor(markup: string) {
    this.#markup = markup;
  }

  toString(): string {
    return this.#markup;
  }
}

/** Markup; `html` and `trustedMarkup` alone make it, so that no text passes for it. */
export type Html = Markup;

/** What a template takes: text and numbers are escaped, markup stays as it is; of a list each part by itself. */
export type HtmlValue = Html | string | number | readonly HtmlValue[];

/**
 * Markup with values in it: `` html`<p title="${title}">${text}</p>` ``. A value stands where text does, or within a quoted
 * attribute. As the target of a link it must begin with something that is no scheme, such as `#`.
 * @throws TypeError for a value elsewhere: escaping would not help there
 */
export function html(literals: TemplateStringsArray, ...values: readonly HtmlValue[]): Html {
  requirePlaces(literals);
  return new Markup(literals.map((literal, i) => literal + (i < values.length ? markupOf(values[i]) : '')).join(''));
}

/** Markup from elsewhere, such as the SVG of a figure, whose maker has escaped what is in it. */
export function trustedMarkup(markup: string): Html {
  return new Markup(markup);
}

function markupOf(value: HtmlValue): string {
  if (value instanceof Markup) return value.toString();
  // Line ends and tabs stay: text between lines of code has them.
  if (typeof value === 'string') return value.replaceAll(/[^\n\t]+/g, (part) => escapeXml(part));
  if (typeof value === 'number') return String(value);
  return value.map(markupOf).join('');
}

/** Templates are written once and used often. */
const known = new WeakSet<TemplateStringsArray>();

function requirePlaces(literals: TemplateStringsArray): void {
  if (known.has(literals)) return;
  let place: Place = { kind: 'text' };
  for (const literal of literals.slice(0, -1)) {
    place = after(literal, place);
    const attribute = place.kind === 'quoted' ? place.attribute : '';
    if (
      place.kind === 'text' ||
      (place.kind === 'quoted' && attribute !== '' && !/^(on.*|style|srcdoc)$/i.test(attribute))
    )
      continue;
    throw new TypeError(
      `html: a value after ${literal.trim().slice(-40)}, expected one in text or in a quoted attribute`,
    );
  }
  known.add(literals);
}

/** Where a template is: in text, in a tag, in a quoted attribute of one, or in an element whose text is no markup. */
type Place =
  | { kind: 'text' }
  | { kind: 'tag'; written: string }
  | { kind: 'quoted'; written: string; attribute: string; quote: string }
  | { kind: 'raw'; element: string };

/** The place behind a literal that begins at a place. No value opens or closes anything, so that literals alone decide. */
function after(literal: string, start: Place): Place {
  let place = start;
  for (let i = 0; i < literal.length; i++) {
    const character = literal[i];
    if (place.kind === 'text' && /^<[a-z/!]/i.test(literal.slice(i, i + 2))) place = { kind: 'tag', written: '' };
    else if (place.kind === 'raw' && literal.slice(i).toLowerCase().startsWith(`</${place.element}`))
      place = { kind: 'tag', written: '' };
    else if (place.kind === 'quoted' && character === place.quote) place = { kind: 'tag', written: place.written };
    else if (place.kind === 'tag' && character === '>') {
      const element = /^(script|style|textarea|title)\b/i.exec(place.written)?.[0].toLowerCase();
      place = element === undefined ? { kind: 'text' } : { kind: 'raw', element };
    } else if (place.kind === 'tag' && /["']/.test(character)) {
      const attribute = /([^\s"'=<>]+)\s*=\s*$/.exec(place.written)?.[1] ?? '';
      place = { kind: 'quoted', written: place.written, attribute, quote: character };
    } else if (place.kind === 'tag') place = { kind: 'tag', written: place.written + character };
  }
  return place;
}
