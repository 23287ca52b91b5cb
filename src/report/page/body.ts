/** The report as HTML: bar, answer, cards, scope, sections of figures, gates, provenance. Reading may stop at any depth. */
import { isMissing } from '../data/missing.ts';
import type { Figure } from '../figures/frame.ts';
import { formatCounted } from '../terminal/numbers.ts';
import type { Card } from './cards.ts';
import { gatesChip, gatesSection } from './gates.ts';
import { type Html, html, trustedMarkup } from './html.ts';
import { provenanceSection, scopeOf } from './provenance.ts';
import type { DrawnFigure, DrawnSection, Report } from './report.ts';

/** What is inside `<body>`; the reader's tools are an empty place that scripts fill. */
export function bodyHtml(report: Report): Html {
  const { answer, sections } = report;
  const valid = answer.verdict !== 'not-valid';
  const split = (wanted: (figure: DrawnFigure) => boolean) =>
    sections
      .map(({ definition, figures }) => ({ definition, figures: figures.filter(wanted) }))
      .filter(({ figures }) => figures.length > 0);
  // What the run has is answered where it is asked; all that it has not is in one place.
  const [drawn, missing] = [split((each) => !isMissed(each)), split(isMissed)];
  const numbered = [
    ...drawn.map((section, i) => sectionHtml(section, i + 1)),
    gatesSection(report.gates, drawn.length + 1),
    provenanceSection(report.provenance, drawn.length + 2),
    missing.length === 0 ? '' : missingSection(missing, drawn.length + 3),
  ];
  return html`<header class="bar"><b>kvlens</b><span>report · <code><bdi>${report.name}</bdi></code></span><span class="space"></span>${gatesChip(report.gates)}<span id="tools"></span></header>
<main class="${valid ? 'valid' : 'not-evidence'}">
<h1>${answer.head}</h1>
<p class="lede">${answer.lede}${report.gates.length === 0 ? html` <b>No gates:</b> nothing vouches for these numbers.` : ''}</p>
${answer.cards.length === 0 ? '' : html`<nav class="cards" aria-label="Answers">${answer.cards.map(cardHtml)}</nav>`}
<p class="scope">${scopeOf(report)}</p>
<div id="explorer" hidden></div>
${numbered}
</main>`;
}

function cardHtml({ question, answer, evidence, figure }: Card): Html {
  return html`<a class="card" href="#${figure}"><span class="question">${question}</span><span class="answer">${answer}</span><span class="evidence">${evidence}</span></a>
`;
}

function sectionHtml({ definition, figures }: DrawnSection, number: number): Html {
  const { id, question, about } = definition;
  return html`<section id="${id}" aria-labelledby="${id}-title"><h2 id="${id}-title"><span class="number">${number}</span>${question}</h2>
<p class="about">${about}</p>
<div class="figures">${figures.map(figureHtml)}</div></section>
`;
}

function isMissed({ figure }: DrawnFigure): boolean {
  return figure !== null && isMissing(figure);
}

/** By question what the run has no rows for, and the commands that would answer it. */
function missingSection(sections: readonly DrawnSection[], number: number): Html {
  return html`<section id="missing" aria-labelledby="missing-title"><h2 id="missing-title"><span class="number">${number}</span>What this run does not answer</h2>
${sections.map(({ definition, figures }) => html`<h3>${definition.question}</h3><div class="figures">${figures.map(figureHtml)}</div>`)}</section>
`;
}

/** A figure with its finding, what is drawn, and a place for what the pointer reads; or what is missing. */
export function figureHtml({ name, width, figure, content }: DrawnFigure): Html {
  if (content !== null)
    return html`<figure id="${name}" class="${width}" data-figure="${name}">${content}</figure>
`;
  if (figure === null) return html``;
  if (isMissing(figure)) {
    return html`<figure id="${name}" class="whole missing" data-figure="${name}"><div class="title">${titles[name] ?? name}</div><p>${figure.missing} <code>${figure.command}</code></p></figure>
`;
  }
  return html`<figure id="${name}" class="${width}" data-figure="${name}"><div class="title">${figure.title}</div><div class="subtitle">${figure.subtitle}</div><div class="drawing" tabindex="${isRead(name, figure) ? 0 : -1}" role="group" aria-label="${figure.alternative}">${trustedMarkup(figure.svg)}</div>${figure.caption === undefined ? '' : html`<p class="caption">${figure.caption}</p>`}<div class="readout" aria-live="polite"></div>${name === 'drift-map' ? keys : ''}</figure>
`;
}

/** What has nothing to read is no stop of the tab key: the map has its cells, others have marks that say what they are. */
function isRead(name: string, { svg, caption }: Figure): boolean {
  return name === 'drift-map' ? caption !== undefined : /<\w+ [^<>]*\bdata-[a-z0-9-]+="/.test(svg);
}

const keys = html`<p class="keys">Hover reads a cell; click or <kbd>Enter</kbd> locks it; <kbd>arrows</kbd> move, <kbd>Home</kbd> and <kbd>End</kbd> go to the first and the last step, <kbd>F</kbd> to the next flip; <kbd>1</kbd>–<kbd>9</kbd> choose a condition; <kbd>Esc</kbd> frees.</p>`;

/** What a figure would show, where its rows are missing. */
const titles: Readonly<Record<string, string>> = {
  'verdict-table': 'Claims and verdicts',
  accuracy: 'Accuracy of the arms',
  thumbnails: 'The same prompt under other conditions',
  'drift-map': 'Map of layers and steps',
  'first-operation': 'The first operation that differs',
  'inherited-added': 'Inherited and added difference by layer',
  'cache-map': 'The rows of the cache',
  'margin-drift': 'Margin against drift',
  survival: 'Share of texts still identical',
  'token-flow': 'The texts of both arms',
  'flip-prediction': 'Predicted and observed flips',
  temperature: 'Temperature and total variation',
  'two-by-two': 'History × kernel',
  recovery: 'Recovery after a patch',
  'patch-map': 'Recovery by layer',
  'precision-ladder': 'Precision ladder',
  oracle: 'Errors of both arms to float64',
};

/** `3 prompts, 1,200 steps`, for the title of the document. */
export function pageTitle({ name, answered, prompts }: Report): string {
  const [first] = answered;
  const what = first === undefined ? name : `${first.model} – ${first.precision} · ${first.kernels}`;
  return `kvlens report – ${what}, ${formatCounted(prompts, 'prompt')}`;
}
