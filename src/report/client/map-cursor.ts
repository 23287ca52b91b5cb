/**
 * The map's cursor: hover reads a cell, a click or Enter locks it, arrows move, Home and End go to the ends, F to the next flip,
 * Esc frees. What it reads is written below the map, with the tokens around it and the row to query.
 */
import { unitRoundoff } from '../../numerics/types.ts';
import { cellStates, type LayerMap } from '../data/layer-map.ts';
import type { MapGeometry } from '../figures/drift-map.ts';
import { type Html, html } from '../page/html.ts';
import { formatCount, formatValue } from '../terminal/numbers.ts';
import { tokenText } from '../visible.ts';

/** A cell of the map, by its row and column. */
export interface Cell {
  row: number;
  column: number;
}

export interface MapCursorOptions {
  drawing: HTMLElement;
  readout: HTMLElement;
  map: LayerMap;
  geometry: MapGeometry;
  /** Told where the cursor is, or that it is nowhere. */
  onMove: (at: { step: number; hook: string } | null) => void;
}

/** Give a drawn map its cursor. @param start a step and a hook to begin at, locked */
export class MapCursor {
  private readonly options: MapCursorOptions;
  private readonly frame: HTMLElement;
  private cell: Cell | null = null;
  private locked = false;

  constructor(options: MapCursorOptions, start?: { step?: number; hook?: string }) {
    this.options = options;
    const { drawing, geometry } = options;
    this.frame = document.createElement('div');
    this.frame.className = 'cursor';
    this.frame.hidden = true;
    drawing.append(this.frame);
    // Nothing was left of the map.
    if (geometry.rows.length === 0 || geometry.columns.length === 0) return;
    drawing.addEventListener('pointermove', (event) => {
      if (!this.locked) this.moveTo(this.cellAt(event));
    });
    drawing.addEventListener('pointerleave', () => {
      if (!this.locked) this.moveTo(null);
    });
    drawing.addEventListener('click', (event) => {
      const cell = this.cellAt(event);
      if (cell === null) return;
      const again = this.locked && cell.row === this.cell?.row && cell.column === this.cell.column;
      this.locked = !again;
      this.moveTo(cell);
    });
    drawing.addEventListener('keydown', (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || !this.key(event.key)) return;
      event.preventDefault();
      event.stopPropagation();
    });
    new ResizeObserver(() => this.place()).observe(drawing);
    if (start?.step !== undefined) this.startAt(start.step, start.hook);
  }

  /** True if the key means something here. */
  private key(key: string): boolean {
    const { rows, columns } = this.options.geometry;
    const at = this.cell ?? { row: rows.length - 1, column: 0 };
    const last = columns.length - 1;
    switch (key) {
      case 'ArrowLeft':
        return this.lock({ ...at, column: Math.max(0, at.column - 1) });
      case 'ArrowRight':
        return this.lock({ ...at, column: Math.min(last, at.column + (this.cell === null ? 0 : 1)) });
      case 'ArrowUp':
        return this.lock({ ...at, row: Math.max(0, at.row - 1) });
      case 'ArrowDown':
        return this.lock({ ...at, row: Math.min(rows.length - 1, at.row + 1) });
      case 'Home':
        return this.lock({ ...at, column: 0 });
      case 'End':
        return this.lock({ ...at, column: last });
      case 'f':
      case 'F': {
        const column = this.nextFlip(this.cell?.column ?? -1);
        return column === null ? false : this.lock({ row: rows.length - 1, column });
      }
      case 'Enter':
        return this.lock(at);
      case 'Escape':
        this.locked = false;
        this.moveTo(null);
        return true;
      default:
        return false;
    }
  }

  private lock(cell: Cell): boolean {
    this.locked = true;
    this.moveTo(cell);
    return true;
  }

  /** The next column with a flip, after the last one the first again; null without any. */
  private nextFlip(from: number): number | null {
    const { map, geometry } = this.options;
    const flips = map.steps.flatMap(({ step, flip }) => {
      const column = geometry.columns.findIndex(({ first, last }) => step >= first && step <= last);
      return flip && column >= 0 ? [column] : [];
    });
    return flips.find((column) => column > from) ?? flips[0] ?? null;
  }

  private startAt(step: number, hook: string | undefined): void {
    const { rows, columns } = this.options.geometry;
    const column = columns.findIndex(({ first, last }) => step >= first && step <= last);
    const row = rows.findIndex(({ hooks }) => hook !== undefined && hooks.includes(hook));
    if (column >= 0 && rows.length > 0) this.lock({ row: row < 0 ? rows.length - 1 : row, column });
    else this.moveTo(null);
  }

  private moveTo(cell: Cell | null): void {
    this.cell = cell;
    const { readout, onMove } = this.options;
    this.place();
    readout.classList.toggle('locked', this.locked);
    readout.innerHTML = cell === null ? '' : this.read(cell).toString();
    const found = cell === null ? null : this.strongest(cell);
    onMove(found === null ? null : { step: found.step, hook: found.hook });
  }

  /** Pixels of the page for one of the drawing's. */
  private scale(): number {
    const svg = this.options.drawing.querySelector('svg');
    return svg ? svg.getBoundingClientRect().width / svg.viewBox.baseVal.width : 1;
  }

  private cellAt(event: MouseEvent): Cell | null {
    const { drawing, geometry } = this.options;
    const svg = drawing.querySelector('svg');
    if (!svg || geometry.rows.length === 0) return null;
    const box = svg.getBoundingClientRect();
    const scale = this.scale();
    // A click comes in whole pixels, a move in parts of one: both are to find the same cell.
    const [clientX, clientY] = [event.clientX, event.clientY].map(Math.floor);
    const [x, y] = [(clientX - box.left) / scale, (clientY - box.top) / scale];
    const column = Math.floor((x - geometry.x) / geometry.cellWidth);
    const row = geometry.rows.findIndex(({ top }) => y >= top && y < top + geometry.rowHeight + 3);
    return column >= 0 && column < geometry.columns.length && row >= 0 ? { row, column } : null;
  }

  private place(): void {
    const { frame, cell } = this;
    frame.hidden = cell === null;
    if (cell === null) return;
    const { geometry } = this.options;
    const scale = this.scale();
    frame.style.left = `${(geometry.x + cell.column * geometry.cellWidth) * scale - 2}px`;
    frame.style.top = `${geometry.rows[cell.row].top * scale - 2}px`;
    frame.style.width = `${geometry.cellWidth * scale + 4}px`;
    frame.style.height = `${geometry.rowHeight * scale + 4}px`;
    frame.classList.toggle('locked', this.locked);
  }

  /** Of the hooks and steps that share a cell, the one with the gravest state, and of those the largest value. */
  private strongest({ row, column }: Cell): { step: number; hook: string; index: number } {
    const { map, geometry } = this.options;
    const { first, last } = geometry.columns[column];
    let best = { step: first, hook: geometry.rows[row].hooks[0], index: -1 };
    map.hooks.forEach(({ hook }, i) => {
      if (!geometry.rows[row].hooks.includes(hook)) return;
      map.steps.forEach(({ step }, j) => {
        const index = i * map.steps.length + j;
        if (step < first || step > last) return;
        const graver = best.index < 0 || map.states[index] > map.states[best.index];
        const larger =
          map.states[index] === map.states[best.index] && map.values.rel_l2[index] > map.values.rel_l2[best.index];
        if (graver || larger) best = { step, hook, index };
      });
    });
    return best;
  }

  private read(cell: Cell): Html {
    const { map, geometry } = this.options;
    const { step, hook, index } = this.strongest(cell);
    const { first, last } = geometry.columns[cell.column];
    const shared = last > first || geometry.rows[cell.row].hooks.length > 1;
    const { rel_l2, max_abs, max_ulp, n_differ, n_elements } = map.values;
    const at = map.steps.findIndex((each) => each.step === step);
    const fact = (name: string, value: string | Html) => html`<div><span>${name}</span> <b>${value}</b></div>`;
    const state = map.states[index];
    const values =
      state === cellStates.notCaptured
        ? [fact('value', 'not captured')]
        : [
            fact('rel. L2', `${formatValue(rel_l2[index])}${inUnits(rel_l2[index], map)}`),
            fact('max |Δ|', formatValue(max_abs[index])),
            fact('max ulp', formatValue(max_ulp[index])),
            fact('bits differ', `${formatCount(n_differ[index])} of ${formatCount(n_elements[index])} elements`),
          ];
    const { condition, prompt } = map;
    const query = `layers.arrow: condition = ${condition.condition}, prompt = ${prompt}, step = ${step}, hook = ${hook}`;
    const exact =
      state === cellStates.notCaptured
        ? ''
        : html`<div class="query"><code>rel_l2 = ${rel_l2[index]}, max_abs = ${max_abs[index]}, max_ulp = ${max_ulp[index]}</code></div>`;
    return html`${fact('hook', html`<code>${hook}</code>`)}${fact('step', `${step}${shared ? ` (largest of the cell, steps ${first}–${last})` : ''}`)}${values}${lens(map, at)}<div class="query"><code>${query}</code></div>${exact}`;
  }
}

function inUnits(value: number, { unit }: LayerMap): string {
  return value > 0 && Number.isFinite(value) ? ` = ${formatValue(value / unitRoundoff(unit))} u` : '';
}

/** Tokens around a step: what is read, and at a flip what each arm chooses. */
function lens({ steps }: LayerMap, at: number): Html {
  const from = Math.max(0, Math.min(steps.length - 24, at - 12));
  const shown = steps.slice(from, from + 24);
  if (shown.every(({ next }) => next === null)) return html``;
  const tokens = shown.map(({ step, next, flip }, i) => {
    const text = flip
      ? `${tokenText(flip.uncached)} → ${tokenText(flip.cached)}`
      : next === null
        ? '·'
        : tokenText(next);
    const kind = [...(from + i === at ? ['here'] : []), ...(flip ? ['flip'] : [])].join(' ');
    return html`<bdi class="${kind}" title="step ${step}">${text}</bdi> `;
  });
  return html`<div class="lens" aria-label="next tokens">${tokens}</div>`;
}
