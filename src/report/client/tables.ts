/** A figure's rows as a table, made when the reader opens it. */
import { cellStates, type LayerMap, mapColumns } from '../data/layer-map.ts';
import { flowArms, type TokenFlow } from '../data/token-flow.ts';
import { shownToken } from '../figures/token-flow-words.ts';
import { type Html, html } from '../page/html.ts';
import { markNames, markSelector, textsOf } from './marks.ts';

/** More rows than these are for the Arrow files. */
const mostRows = 500;

/** Put a folded table below a figure. */
export function addTable(figure: HTMLElement, rows: () => Html): void {
  const details = document.createElement('details');
  details.className = 'rows';
  details.innerHTML = html`<summary>table</summary><div class="scroll" tabindex="0"></div>`.toString();
  details.addEventListener('toggle', () => {
    const place = details.querySelector('.scroll');
    if (place && details.open) place.innerHTML = rows().toString();
  });
  figure.append(details);
}

/** Rows of a map at one step, the first by default. */
export function mapTable(map: LayerMap, step: number | undefined): Html {
  const at = Math.max(
    0,
    map.steps.findIndex((each) => each.step === step),
  );
  if (at >= map.steps.length) return html`<p>No step of this selection.</p>`;
  const rows = map.hooks.flatMap(({ hook }, row) => {
    const index = row * map.steps.length + at;
    if (map.states[index] === cellStates.notCaptured) return [];
    return [[hook, ...mapColumns.map((name) => String(map.values[name][index]))]];
  });
  return html`<p>Step ${map.steps[at].step}; another step: move the cursor, then open the table again.</p>${table(['hook', ...mapColumns], rows)}`;
}

/** Tokens of both texts: arm, step, id, text, and the step at which the other arm writes it again. */
export function tokensTable({ arms }: TokenFlow): Html {
  const rows = flowArms.flatMap((arm) =>
    arms[arm].map(({ step, token, text, again }) => [arm, step, token, shownToken(text), again ?? ''].map(String)),
  );
  return table(['arm', 'step', 'token', 'text', 'again at'], rows);
}

/** What the marks of a drawing say of themselves. */
export function marksTable(drawing: HTMLElement): Html {
  const marks = [...drawing.querySelectorAll<SVGElement>(markSelector)];
  const used = [...new Set(marks.flatMap(({ dataset }) => Object.keys(dataset)))].filter((name) => name in markNames);
  const said = marks.some((mark) => textsOf(mark).length > 0) ? ['shows'] : [];
  const rows = marks.map((mark) => [
    ...used.map((name) => mark.dataset[name] ?? ''),
    ...said.map(() => textsOf(mark).join('; ')),
  ]);
  return table([...used.map((name) => markNames[name]), ...said], rows);
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): Html {
  const body = rows
    .slice(0, mostRows)
    .map((row) => html`<tr>${row.map((cell) => html`<td><bdi>${cell}</bdi></td>`)}</tr>`);
  const more =
    rows.length > mostRows ? html`<p>${rows.length - mostRows} more rows are in the run’s Arrow files.</p>` : '';
  return html`<table><thead><tr>${head.map((name) => html`<th scope="col">${name}</th>`)}</tr></thead><tbody>${body}</tbody></table>${more}`;
}
