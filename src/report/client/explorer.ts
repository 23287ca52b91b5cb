/**
 * The reader's tools: which condition and prompt the figures show, which layers, steps and hooks the map; another run instead of
 * this one, or beside it.
 */
import type { FigureName } from '../catalogue.ts';
import { type RunCondition, readConditions } from '../data/conditions.ts';
import { driftMapData } from '../data/drift-map.ts';
import { type MapPart, partOfMap } from '../data/map-part.ts';
import { isMissing } from '../data/missing.ts';
import type { RunTables } from '../data/run-tables.ts';
import { tokenFlowData } from '../data/token-flow.ts';
import { driftMapFigure } from '../figures/drift-map.ts';
import { figureHtml } from '../page/body.ts';
import type { Html } from '../page/html.ts';
import { type Focus, figureWidths, pageFigure } from '../page/report.ts';
import { sections } from '../page/sections.ts';
import { MapCursor } from './map-cursor.ts';
import { markSelector, readMarks } from './marks.ts';
import { addTable, mapTable, marksTable, tokensTable } from './tables.ts';
import { readTokens } from './token-reader.ts';
import { promptsOf, rangeOf, toolsHtml } from './tools.ts';
import { keepView, readView } from './view.ts';

/** Figures of one prompt: the rows that come with a page suffice for them. */
const ofPrompt: readonly FigureName[] = ['thumbnails', 'drift-map', 'first-operation', 'cache-map', 'token-flow'];

interface Selection extends Focus {
  part: MapPart;
}

interface Cursor {
  at: { prompt: string; step: number } | null;
  hook: string | null;
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
  private cursor: Cursor = { at: null, hook: null };

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
    if (name === 'layers' || name === 'steps') {
      const range = rangeOf(name, value);
      const bad = range !== null && 'problem' in range;
      target.setCustomValidity(bad ? range.problem : '');
      if (bad) return void target.reportValidity();
      const { [name]: _, ...rest } = this.selection.part;
      this.selection.part = range === null ? rest : { ...rest, [name]: range };
    }
    // Hooks that are asked for by name are shown, whatever the choice of rows; the choice says what is drawn.
    if (name === 'hooks' && value !== '') this.selection.rows = 'all';
    const rows = document.querySelector<HTMLSelectElement>('#explorer select[name=rows]');
    if (rows !== null && typeof this.selection.rows === 'string') rows.value = this.selection.rows;
    await this.redraw(['drift-map']);
  }

  private async select(change: { condition?: string; prompt?: string | undefined }): Promise<void> {
    const { prompt, ...rest } = { ...this.selection, ...change };
    this.selection = { ...rest, ...(prompt === undefined ? {} : { prompt }) };
    // The cursor stays, where the new map has its step.
    keepView(change);
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
    // At once: a key that is pressed meanwhile is not lost.
    if (hadFocus) figure.querySelector<HTMLElement>('.drawing')?.focus();
    await this.attach(figure);
    this.share(this.cursor.at, this.cursor.hook);
  }

  /** Cursor and readout of a figure. */
  private async attach(figure: HTMLElement): Promise<void> {
    if (figure.dataset.figure === 'token-flow') {
      // Of the prompt that is drawn: rows that come with a page may lead to another.
      const { condition, prompt } = figure.querySelector<HTMLElement>('.kvl-flow')?.dataset ?? {};
      if (condition === undefined || prompt === undefined) return;
      const data = await tokenFlowData(this.run, { condition, prompt });
      if (isMissing(data)) return;
      readTokens(figure, data);
      return addTable(figure, () => tokensTable(data));
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
  private share(at: Cursor['at'], hook: Cursor['hook']): void {
    this.cursor = { at, hook };
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

/** What went wrong, where it went wrong. */
export function say(place: HTMLElement, error: unknown): void {
  const readout = place.querySelector<HTMLElement>('.readout') ?? place;
  readout.textContent = error instanceof Error ? error.message : String(error);
}
