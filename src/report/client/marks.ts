/**
 * Marks of the other figures: hover reads what a mark says of itself, a click locks it, arrows go from mark to mark. What a mark says
 * is in its data attributes.
 */
import type { FigureName } from '../catalogue.ts';
import { html } from '../page/html.ts';
import { formatValue } from '../terminal/numbers.ts';

/** Attributes that marks have, and the words for them. */
export const markNames: Readonly<Record<string, string>> = {
  ...{
    condition: 'condition',
    prompt: 'prompt',
    step: 'step',
    hook: 'hook',
    layer: 'layer',
    part: 'part',
    margin: 'margin',
  },
  ...{ drift: 'max |Δ|', value: 'value', temperature: 'temperature', steps: 'steps', flips: 'flips', orders: 'orders' },
  ...{ cached: 'cached', uncached: 'uncached', elements: 'elements', differ: 'differ', relL2: 'rel. L2' },
  ...{ claim: 'claim', about: 'about', setting: 'setting', verdict: 'verdict' },
  ...{ patch: 'patch', spec: 'spec', history: 'history', kernel: 'kernel', head: 'head', horizon: 'steps after' },
  ...{ distance: 'distance', recovery: 'recovery R', low: '95 % from', high: '95 % to' },
  ...{ identical: 'share identical', diverged: 'texts that part', texts: 'texts' },
  ...{ row: 'row', column: 'column', newRows: 'new rows', largest: 'largest rel. L2', position: 'at position' },
  notNumbers: 'NaN or Inf',
  ...{ exact: 'exactly 0', forced: 'by construction', n: 'patched steps', prompts: 'prompts' },
};
/** What is a name or a count, and read as it is written. */
const words = new Set([
  ...['condition', 'prompt', 'step', 'hook', 'layer', 'part', 'steps', 'flips', 'orders'],
  ...['claim', 'about', 'setting', 'verdict', 'patch', 'spec', 'history', 'kernel', 'head', 'horizon'],
  ...['exact', 'forced', 'n', 'prompts', 'diverged', 'texts', 'row', 'column', 'newRows', 'position', 'notNumbers'],
]);

/** The rows that a mark stands for: a file of the run, and which of the mark's attributes are columns there. */
const sources: Partial<Record<FigureName, { file: string; columns: readonly string[] }>> = {
  'verdict-table': { file: 'verdicts.json', columns: ['claim', 'part'] },
  accuracy: { file: 'answers.arrow', columns: ['condition'] },
  'first-operation': { file: 'layers.arrow', columns: ['hook'] },
  'margin-drift': { file: 'steps.arrow', columns: ['prompt', 'step'] },
  survival: { file: 'steps.arrow', columns: ['condition'] },
  temperature: { file: 'temperatures.arrow', columns: ['condition', 'temperature'] },
  'two-by-two': { file: 'patches.arrow', columns: ['condition', 'spec', 'history', 'kernel', 'horizon'] },
  recovery: {
    file: 'patches.arrow',
    columns: ['condition', 'spec', 'history', 'kernel', 'hook', 'layer', 'head', 'horizon'],
  },
  'cache-map': { file: 'layers.arrow', columns: ['hook'] },
  oracle: { file: 'steps.arrow', columns: ['prompt'] },
};

/** `steps.arrow: prompt = p0, step = 3`; null where the mark names no row. */
function queryOf(figure: string | undefined, { dataset }: SVGElement): string | null {
  const found = Object.entries(sources).find(([name]) => name === figure)?.[1];
  const columns = (found?.columns ?? []).filter((name) => dataset[name] !== undefined);
  if (found === undefined || columns.length === 0) return null;
  return `${found.file}: ${columns.map((name) => `${name} = ${dataset[name]}`).join(', ')}`;
}

export const markSelector = Object.keys(markNames)
  .map((name) => `svg [data-${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}]`)
  .join(',');

/** Make the marks of a drawing readable. @param onRead told of a mark's prompt and step where it has both */
export function readMarks(
  drawing: HTMLElement,
  readout: HTMLElement,
  onRead: (at: { prompt: string; step: number } | null) => void,
): void {
  const marks = [...drawing.querySelectorAll<SVGElement>(markSelector)];
  if (marks.length === 0) return;
  let [at, locked] = [-1, false];
  const read = (mark: SVGElement | null) => {
    drawing.querySelector('svg .read')?.classList.remove('read');
    mark?.classList.add('read');
    readout.classList.toggle('locked', locked);
    readout.innerHTML = mark === null ? '' : facts(mark, drawing.closest<HTMLElement>('figure')?.dataset.figure);
    const { prompt, step } = mark?.dataset ?? {};
    onRead(prompt !== undefined && step !== undefined ? { prompt, step: Number(step) } : null);
  };
  const markOf = ({ target }: Event) => (target instanceof Element ? target.closest<SVGElement>(markSelector) : null);
  drawing.addEventListener('pointermove', (event) => {
    const mark = markOf(event);
    if (!locked && mark !== null) read(mark);
  });
  drawing.addEventListener('pointerleave', () => {
    if (!locked) read(null);
  });
  drawing.addEventListener('click', (event) => {
    const mark = markOf(event);
    locked = mark !== null && !(locked && marks.indexOf(mark) === at);
    at = mark === null ? at : marks.indexOf(mark);
    read(mark);
  });
  drawing.addEventListener('keydown', (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const ends = { Home: 0, End: marks.length - 1, Enter: Math.max(0, at) }[event.key];
    if (event.key === 'Escape') {
      locked = false;
      read(null);
    } else if (step !== undefined || ends !== undefined) {
      at = ends ?? (at < 0 ? 0 : (at + (step ?? 0) + marks.length) % marks.length);
      locked = true;
      read(marks[at]);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });
}

function facts(mark: SVGElement, figure: string | undefined): string {
  const found = Object.entries(mark.dataset).flatMap(([name, value]) => {
    if (value === undefined || !(name in markNames)) return [];
    const text = words.has(name) || !Number.isFinite(Number(value)) ? value : shortAndExact(Number(value));
    return [html`<div><span>${markNames[name]}</span> <b><bdi>${text}</bdi></b></div>`];
  });
  const said = textsOf(mark).map((line) => html`<div><bdi>${line}</bdi></div>`);
  const query = queryOf(figure, mark);
  return html`${found}${said}${query === null ? '' : html`<div class="query"><code>${query}</code></div>`}`.toString();
}

/** What a mark that is a drawing of its own says in it. */
export function textsOf(mark: SVGElement): string[] {
  return [...mark.querySelectorAll('text')].map(({ textContent }) => textContent);
}

/** `5.4e-4 (0.00053921…)`: as the page writes it, and every digit where there are more. */
function shortAndExact(value: number): string {
  const [short, exact] = [formatValue(value), String(value)];
  return short === exact ? short : `${short} (${exact})`;
}
