/**
 * The reader's tools: which condition and prompt the figures show, which layers, steps and hooks the map; another run instead of
 * this one, or beside it.
 */
import type { FigureName } from '../catalogue.ts';
import { Columns } from '../data/columns.ts';
import { type RunCondition, readConditions, shortNames } from '../data/conditions.ts';
import { driftMapData } from '../data/drift-map.ts';
import { type MapPart, partOfMap } from '../data/map-part.ts';
import { isMissing } from '../data/missing.ts';
import { layerOwners } from '../data/owners.ts';
import type { RunTables } from '../data/run-tables.ts';
import { tokenFlowData } from '../data/token-flow.ts';
import { driftMapFigure } from '../figures/drift-map.ts';
import { shownName } from '../figures/plot.ts';
import { figureHtml } from '../page/body.ts';
import { type Html, html } from '../page/html.ts';
import { type Focus, figureWidths, pageFigure } from '../page/report.ts';
import { sections } from '../page/sections.ts';
import { MapCursor } from './map-cursor.ts';
import { markSelector, readMarks } from './marks.ts';
import { addTable, mapTable, marksTable } from './tables.ts';
import { readTokens } from './token-reader.ts';
import { keepView, readView } from './view.ts';

/** Figures of one prompt: the rows that come with a page suffice for them. */
const ofPrompt: readonly FigureName[] = ['thumbnails', 'drift-map', 'first-operation', 'cache-map', 'token-flow'];

interface Selection extends Focus {
  part: MapPart;
}

export class Explorer {
  private readonly run: RunTables;
  /** The run has all of its rows, not an excerpt. */
  private readonly whole: boolean;
  private readonly root: HTMLElement;
  private selection: Selection = { part: {} };
  /** Counts what is asked for; the last of each figure, so that a late answer to an old question is dropped. */
  private asked = 0;
  private readonly latest = new Map<FigureName, number>();

  constructor(run: RunTables, root: HTMLElement, whole: boolean) {
    this.run = run;
    this.root = root;
    this.whole = whole;
  }

  /** Show the tools, and make the figures that are drawn already readable. */
  async start(): Promise<void> {
    const conditions = await readConditions(this.run);
    const known = isMissing(conditions) ? [] : conditions;
    const { condition, prompt } = readView();
    if (condition !== undefined && known.some((each) => each.condition === condition))
      this.selection.condition = condition;
    if (prompt !== undefined) this.selection.prompt = prompt;
    const tools = document.getElementById('explorer');
    const prompts = await promptsOf(this.run);
    if (tools !== null && this.run.has('layers')) {
      tools.innerHTML = toolsHtml(known, prompts, this.selection, this.whole).toString();
      tools.hidden = false;
      tools.addEventListener('change', (event) => void this.change(event.target));
    }
    // Gone with the content, when another run is opened.
    const content = this.root.querySelector('main');
    content?.addEventListener('keydown', (event) => this.chooseCondition(event, known));
    content?.addEventListener('click', (event) => {
      const panel = event.target instanceof Element ? event.target.closest<SVGElement>('.thumbnail') : null;
      if (panel?.dataset.condition) void this.select({ condition: panel.dataset.condition });
    });
    const redraw = this.selection.condition !== undefined || this.selection.prompt !== undefined;
    const redrawn = !redraw ? [] : this.whole ? null : ofPrompt;
    await this.redraw(redrawn);
    // What keeps the drawing that came with the page is made readable as it stands.
    for (const figure of this.root.querySelectorAll<HTMLElement>('figure[data-figure]'))
      if (redrawn !== null && !redrawn.some((name) => name === figure.id)) await this.attach(figure);
  }

  /** 1–9: the condition at that place among the thumbnails. */
  private chooseCondition({ key, target }: KeyboardEvent, conditions: readonly RunCondition[]): void {
    if (!/^[1-9]$/.test(key) || target instanceof HTMLInputElement || target instanceof HTMLSelectElement) return;
    const panel = this.root.querySelectorAll<SVGElement>('.thumbnail')[Number(key) - 1];
    const condition = panel?.dataset.condition ?? conditions[Number(key) - 1]?.condition;
    if (condition !== undefined) void this.select({ condition });
  }

  private async change(target: EventTarget | null): Promise<void> {
    if (!(target instanceof HTMLSelectElement || target instanceof HTMLInputElement)) return;
    const { name, value } = target;
    if (name === 'condition') return this.select({ condition: value });
    if (name === 'prompt') return this.select(value === '' ? { prompt: undefined } : { prompt: value });
    if (name === 'rows' && (value === 'main' || value === 'core' || value === 'resid_post' || value === 'all'))
      this.selection.rows = value;
    if (name === 'measure' && (value === 'u' || value === 'absolute' || value === 'ulp' || value === 'bits'))
      this.selection.measure = value;
    if (name === 'median' && target instanceof HTMLInputElement) this.selection.rowMedian = target.checked;
    if (name === 'hooks') this.selection.part = { ...this.selection.part, hooks: value };
    if (name === 'layers' || name === 'steps') this.selection.part = withRange(this.selection.part, name, value);
    // Hooks that are asked for by name are shown, whatever the choice of rows.
    if (name === 'hooks' && value !== '') this.selection.rows = 'all';
    await this.redraw(['drift-map']);
  }

  private async select(change: { condition?: string; prompt?: string | undefined }): Promise<void> {
    const { prompt, ...rest } = { ...this.selection, ...change };
    this.selection = { ...rest, ...(prompt === undefined ? {} : { prompt }) };
    keepView({ ...change, step: undefined, hook: undefined });
    const select = document.querySelector<HTMLSelectElement>('#explorer select[name=condition]');
    if (select && change.condition !== undefined) select.value = change.condition;
    await this.redraw(this.whole && change.condition !== undefined ? null : ofPrompt);
  }

  /** Draw figures anew. @param names null: all of them */
  private async redraw(names: readonly FigureName[] | null): Promise<void> {
    const asked = ++this.asked;
    // The map first: it is what the reader's tools are about.
    const wanted = sections
      .flatMap(({ figures }) => figures)
      .filter(({ name }) => names === null || names.includes(name))
      .sort((a, b) => Number(b.name === 'drift-map') - Number(a.name === 'drift-map'));
    for (const { name } of wanted) this.latest.set(name, asked);
    for (const { name, width } of wanted) {
      const old = document.getElementById(name);
      if (!old || this.latest.get(name) !== asked) continue;
      old.classList.add('waiting');
      try {
        const drawn = await pageFigure(this.run, name, width, this.selection);
        if (this.latest.get(name) !== asked) continue;
        await this.replace(old, figureHtml(drawn));
      } catch (error) {
        old.classList.remove('waiting');
        say(old, error);
      }
    }
  }

  private async replace(old: HTMLElement, content: Html): Promise<void> {
    const hadFocus = old.contains(document.activeElement);
    const place = document.createElement('template');
    place.innerHTML = content.toString();
    const figure = place.content.querySelector<HTMLElement>('figure');
    if (!figure) return;
    old.replaceWith(figure);
    await this.attach(figure);
    if (hadFocus) figure.querySelector<HTMLElement>('.drawing')?.focus();
  }

  /** Cursor and readout of a figure. */
  private async attach(figure: HTMLElement): Promise<void> {
    if (figure.dataset.figure === 'token-flow') {
      // Of the prompt that is drawn: rows that come with a page may lead to another.
      const { condition, prompt } = figure.querySelector<HTMLElement>('.kvl-flow')?.dataset ?? {};
      if (condition === undefined || prompt === undefined) return;
      const data = await tokenFlowData(this.run, { condition, prompt });
      if (!isMissing(data)) readTokens(figure, data);
      return;
    }
    const drawing = figure.querySelector<HTMLElement>('.drawing');
    const readout = figure.querySelector<HTMLElement>('.readout');
    if (!drawing || !readout) return;
    if (figure.dataset.figure !== 'drift-map') {
      readMarks(drawing, readout, (at) => this.share(at, null));
      if (drawing.querySelector(markSelector)) addTable(figure, () => marksTable(drawing));
      return;
    }
    const found = await driftMapData(this.run, this.selection);
    if (isMissing(found)) return;
    const map = partOfMap(found, this.selection.part);
    const { geometry } = driftMapFigure(map, { ...this.selection, width: figureWidths.whole, framed: false });
    const { condition, prompt } = map;
    const onMove = (at: { step: number; hook: string } | null) => {
      keepView(at === null ? { step: undefined, hook: undefined } : { condition: condition.condition, prompt, ...at });
      this.share(at === null ? null : { prompt, step: at.step }, at?.hook ?? null);
    };
    new MapCursor({ drawing, readout, map, geometry, onMove }, readView());
    addTable(figure, () => mapTable(map, readView().step));
  }

  /** One cursor for all figures: marks of the same prompt and step, and of the same hook, stand out. */
  private share(at: { prompt: string; step: number } | null, hook: string | null): void {
    for (const mark of this.root.querySelectorAll('svg .shared')) mark.classList.remove('shared');
    if (at === null) return;
    for (const mark of this.root.querySelectorAll<SVGElement>('svg [data-step]')) {
      const { prompt, step } = mark.dataset;
      if (step === String(at.step) && (prompt === undefined || prompt === at.prompt)) mark.classList.add('shared');
    }
    if (hook === null) return;
    for (const mark of this.root.querySelectorAll<SVGElement>('svg [data-hook]'))
      if (mark.dataset.hook === hook) mark.classList.add('shared');
  }
}

/** `3–8` or `3`: a range of whole numbers; anything else is no limit. */
function withRange(part: MapPart, name: 'layers' | 'steps', text: string): MapPart {
  const found = /^\s*(\d+)\s*(?:[-–…]\s*(\d+)\s*)?$/.exec(text);
  const { [name]: _, ...rest } = part;
  return found ? { ...rest, [name]: [Number(found[1]), Number(found[2] ?? found[1])] } : rest;
}

/** What went wrong, where it went wrong. */
export function say(place: HTMLElement, error: unknown): void {
  const readout = place.querySelector<HTMLElement>('.readout') ?? place;
  readout.textContent = error instanceof Error ? error.message : String(error);
}

/** Prompts with rows in layers.arrow, in the order of the run. */
async function promptsOf(run: RunTables): Promise<{ prompt: string; index: number }[]> {
  const drawn = new Set([...(await layerOwners(run)).values()].flatMap((prompts) => [...prompts.keys()]));
  const found = new Map<string, number>();
  for await (const batch of run.batches('prompts')) {
    const columns = new Columns('prompts', batch);
    const [prompt, index] = [columns.texts('prompt'), columns.required('index')];
    for (let row = 0; row < batch.numRows; row++) if (drawn.has(prompt(row))) found.set(prompt(row), index(row));
  }
  return [...found].map(([prompt, index]) => ({ prompt, index })).sort((a, b) => a.index - b.index);
}

function toolsHtml(
  conditions: readonly RunCondition[],
  prompts: readonly { prompt: string; index: number }[],
  { condition, prompt: chosen }: Selection,
  whole: boolean,
): Html {
  const names = shortNames(conditions);
  const option = (value: string, text: string, selected: boolean) =>
    selected
      ? html`<option value="${value}" selected>${text}</option>`
      : html`<option value="${value}">${text}</option>`;
  const choice = (label: string, name: string, options: readonly Html[]) =>
    html`<label>${label} <select name="${name}">${options}</select></label>`;
  const field = (label: string, name: string, hint: string) =>
    html`<label>${label} <input name="${name}" placeholder="${hint}" size="${Math.max(6, hint.length)}" autocomplete="off" spellcheck="false"></label>`;
  const note = whole
    ? ''
    : html`<p>The page brings the rows of ${prompts.length === 1 ? 'one prompt' : `${prompts.length} prompts`}. For all of them drop the run’s folder here, or <code>kvlens report RUN --serve</code>.</p>`;
  return html`<fieldset><legend>Look closer</legend>
${
  conditions.length > 1
    ? choice(
        'condition',
        'condition',
        conditions.map((each) => option(each.condition, names.get(each.condition) ?? '', each.condition === condition)),
      )
    : ''
}
${choice('prompt', 'prompt', [option('', 'most steps differ', chosen === undefined), ...prompts.map(({ prompt, index }) => option(prompt, `${index} · ${shownName(prompt, 14)}`, prompt === chosen))])}
${choice('rows', 'rows', [option('main', 'main', true), option('core', 'core hooks', false), option('resid_post', 'residual stream', false), option('all', 'all', false)])}
${choice('colour', 'measure', [option('u', 'relative L2 in u', true), option('absolute', 'relative L2', false), option('ulp', 'largest ULP', false), option('bits', 'elements that differ', false)])}
<label><input type="checkbox" name="median"> over the row’s median</label>
${field('layers', 'layers', '0–5')}${field('steps', 'steps', '1–40')}${field('hooks', 'hooks', 'blocks.3.*')}
${note}</fieldset>`;
}
