/** Patched cells of a run, summed by prompt: what a distance or a recovery and its interval are made of. */
import type { Measured } from '../../study/outcome/types.ts';
import { mapped, measuredRatio } from '../../study/statistics/measured.ts';
import { Columns } from './columns.ts';
import type { RunTables } from './run-tables.ts';

/** What was patched, wherever and whenever. */
export interface CellKind {
  spec: string;
  history: string;
  kernel: string;
  /** Several hooks with * for their layers; `none`. */
  hook: string;
  firstLayer: number;
  /** The last layer; −1 for none. */
  layer: number;
  head: number | null;
  component: string;
}

/** One kind of cell, so many steps after the patch. */
export interface CellAt {
  horizon: number;
  prompts: number;
  /** Prompt–step pairs. */
  cells: number;
  /** Nothing to recover and nothing broken; nothing to recover, but a difference made; no logit differs. */
  vacuous: number;
  harmful: number;
  exact: number;
  byConstruction: number;
  /** Cells whose distance is NaN or infinite: then there is neither a mean nor a recovery. */
  notFinite: number;
  /** Mean L2 of mean-centred logits to the uncached arm, bootstrapped by prompt. */
  distance: Measured | null;
  /** 1 − Σ patched / Σ base, bootstrapped by prompt; null where there is nothing to recover. */
  recovery: Measured | null;
}

export interface PatchCell extends CellKind {
  /** By horizon, ascending. */
  at: CellAt[];
}

/** Cells by condition, in the order of the table. @param wanted null: every condition */
export async function readPatchCells(
  run: RunTables,
  wanted: ReadonlySet<string> | null,
): Promise<Map<string, PatchCell[]>> {
  const found = new Map<string, Map<string, CellSums>>();
  for await (const batch of run.batches('patches')) {
    const columns = new Columns('patches', batch);
    const texts = (['spec', 'history', 'kernel', 'hook', 'component'] as const).map((name) => columns.texts(name));
    const [firstLayer, layer, horizon, base, patched] = [
      ...['first_layer', 'layer', 'horizon', 'distance_base', 'distance_patched'].map((name) => columns.required(name)),
    ];
    const flags = ['exact', 'vacuous', 'harmful', 'by_construction'].map((name) => columns.booleans(name));
    const [ofCondition, prompt, head] = [columns.texts('condition'), columns.texts('prompt'), columns.numbers('head')];
    for (let row = 0; row < batch.numRows; row++) {
      const condition = ofCondition(row);
      if (wanted !== null && !wanted.has(condition)) continue;
      const cells = found.get(condition) ?? new Map<string, CellSums>();
      found.set(condition, cells);
      const [spec, history, kernel, hook, component] = texts.map((of) => of(row));
      const kind = {
        ...{ spec, history, kernel, hook, component },
        ...{ firstLayer: firstLayer(row), layer: layer(row), head: head(row) },
      };
      const key = JSON.stringify(Object.values(kind));
      const sums = cells.get(key) ?? new CellSums(kind);
      cells.set(key, sums);
      const [exact, vacuous, harmful, byConstruction] = flags.map((of) => of(row) ?? false);
      const marks = { exact, vacuous, harmful, byConstruction };
      sums.add(horizon(row), prompt(row), base(row), patched(row), marks);
    }
  }
  return new Map([...found].map(([condition, cells]) => [condition, [...cells.values()].map((sums) => sums.cell())]));
}

type Marks = Pick<CellAt, 'exact' | 'vacuous' | 'harmful' | 'byConstruction'>;

class CellSums {
  private readonly kind: CellKind;
  private readonly horizons = new Map<number, HorizonSums>();

  constructor(kind: CellKind) {
    this.kind = kind;
  }

  add(horizon: number, prompt: string, base: number, patched: number, marks: Record<keyof Marks, boolean>): void {
    const sums = this.horizons.get(horizon) ?? new HorizonSums(horizon);
    this.horizons.set(horizon, sums);
    sums.add(prompt, base, patched, marks);
  }

  cell(): PatchCell {
    const at = [...this.horizons.values()].map((sums) => sums.found());
    return { ...this.kind, at: at.sort((a, b) => a.horizon - b.horizon) };
  }
}

class HorizonSums {
  private readonly horizon: number;
  private readonly byPrompt = new Map<string, { base: number; patched: number; cells: number }>();
  private readonly counts = { cells: 0, vacuous: 0, harmful: 0, exact: 0, byConstruction: 0, notFinite: 0 };

  constructor(horizon: number) {
    this.horizon = horizon;
  }

  add(prompt: string, base: number, patched: number, marks: Record<keyof Marks, boolean>): void {
    const { counts } = this;
    const sums = this.byPrompt.get(prompt) ?? { base: 0, patched: 0, cells: 0 };
    this.byPrompt.set(prompt, sums);
    sums.base += base;
    sums.patched += patched;
    sums.cells += 1;
    counts.cells += 1;
    if (!Number.isFinite(base) || !Number.isFinite(patched)) counts.notFinite += 1;
    for (const name of ['exact', 'vacuous', 'harmful', 'byConstruction'] as const) if (marks[name]) counts[name] += 1;
  }

  found(): CellAt {
    const units = [...this.byPrompt.values()];
    const remaining = measuredRatio(units.map(({ base, patched }) => ({ top: patched, bottom: base })));
    return {
      ...{ horizon: this.horizon, prompts: units.length, ...this.counts },
      distance: measuredRatio(units.map(({ patched, cells }) => ({ top: patched, bottom: cells }))),
      recovery: mapped(remaining, (share) => 1 - share),
    };
  }
}
