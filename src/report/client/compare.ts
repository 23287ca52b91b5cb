/** Two runs beside each other: the same questions, what tells the runs apart, and the map of the same prompt of each. */
import { driftMapData } from '../data/drift-map.ts';
import { isMissing } from '../data/missing.ts';
import { readProvenance } from '../data/provenance.ts';
import type { RunTables } from '../data/run-tables.ts';
import { driftMapFigure } from '../figures/drift-map.ts';
import type { Card } from '../page/cards.ts';
import { type Html, html, trustedMarkup } from '../page/html.ts';
import { figureWidths, reportOf } from '../page/report.ts';
import { MapCursor } from './map-cursor.ts';

export interface Compared {
  run: RunTables;
  /** Null: read from the page, which has an excerpt of the run alone. */
  cards: readonly Pick<Card, 'question' | 'answer'>[];
}

/** The cards of a run whose tables are at hand. */
export async function cardsOf(run: RunTables): Promise<readonly Card[]> {
  return (await reportOf(run)).answer.cards;
}

/** Put the comparison above the sections. @throws InputError if a file is none of a run's */
export async function compareRuns(place: HTMLElement, first: Compared, second: Compared): Promise<void> {
  const [a, b] = await Promise.all([first, second].map(({ run }) => readProvenance(run)));
  const facts = new Map(a.facts.map(({ name, value }) => [name, value]));
  const differing = b.facts.filter(({ name, value }) => facts.get(name) !== value);
  const names = [first.run.name, second.run.name];
  const rows = first.cards.map(({ question, answer }) => {
    const other = second.cards.find((card) => card.question === question);
    return html`<tr><th scope="row">${question}</th><td>${answer}</td><td>${other?.answer ?? '–'}</td></tr>`;
  });
  const unlike = differing.map(
    ({ name, value }) =>
      html`<tr><th scope="row">${name}</th><td><code>${cut(facts.get(name) ?? '–')}</code></td><td><code>${cut(value)}</code></td></tr>`,
  );
  const head = html`<thead><tr><th scope="col"></th>${names.map((name) => html`<th scope="col"><bdi>${name}</bdi></th>`)}</tr></thead>`;
  const same = html`<p class="about">The runs’ identities are equal.</p>`;
  place.innerHTML = html`<section id="compare"><h2>Two runs</h2>
<div class="scroll"><table>${head}<tbody>${rows}</tbody></table></div>
${differing.length === 0 ? same : html`<details open><summary>What tells them apart</summary><div class="scroll"><table>${head}<tbody>${unlike}</tbody></table></div></details>`}
<div class="figures"></div></section>`.toString();
  const figures = place.querySelector('.figures');
  const map = await driftMapData(first.run);
  const prompt = isMissing(map) ? {} : { prompt: map.prompt };
  for (const { run } of [first, second]) if (figures) await addMap(figures, run, prompt);
}

async function addMap(place: Element, run: RunTables, selection: { prompt?: string }): Promise<void> {
  const asked = await driftMapData(run, selection);
  const map = isMissing(asked) ? await driftMapData(run) : asked;
  const figure = document.createElement('figure');
  figure.className = 'whole';
  place.append(figure);
  if (isMissing(map)) {
    figure.innerHTML =
      html`<p class="missing"><bdi>${run.name}</bdi>: ${map.missing} <code>${map.command}</code></p>`.toString();
    return;
  }
  const { svg, geometry, title, subtitle, alternative, caption } = driftMapFigure(map, {
    width: figureWidths.whole,
    framed: false,
  });
  const name: Html = html`<bdi>${run.name}</bdi>: ${title}`;
  figure.innerHTML =
    html`<div class="title">${name}</div><div class="subtitle">${subtitle}</div><div class="drawing" tabindex="0" role="group" aria-label="${alternative}">${trustedMarkup(svg)}</div><p class="caption">${caption ?? ''}</p><div class="readout" aria-live="polite"></div>`.toString();
  const [drawing, readout] = [
    figure.querySelector<HTMLElement>('.drawing'),
    figure.querySelector<HTMLElement>('.readout'),
  ];
  if (drawing && readout) new MapCursor({ drawing, readout, map, geometry, onMove: () => {} });
}

function cut(text: string): string {
  return text.length > 160 ? `${text.slice(0, 159)}…` : text;
}
