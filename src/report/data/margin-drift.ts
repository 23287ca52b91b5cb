/** Why these steps flip: the uncached choice's lead against the largest difference of two logits, step by step. */
import { Columns } from './columns.ts';
import { focusOf, readConditions, sharedName, shortNames } from './conditions.ts';
import { commands, isMissing, type Missing } from './missing.ts';
import type { RunTables } from './run-tables.ts';

/** One step. */
export interface StepDot {
  prompt: string;
  step: number;
  /** Lead of the uncached arm's choice in what its strategy maximises, in logits: for greedy, its top-2 margin. */
  margin: number;
  /** Largest difference of two logits of the arms. */
  drift: number;
}

/** Steps of about the same margin and drift: bins of the decimal logarithm; null where the value is exactly 0. */
export interface StepBin {
  margin: number | null;
  drift: number | null;
  steps: number;
}

export interface MarginDriftData {
  condition: string;
  /** For a person: model, precision, kernels, strategy. */
  name: string;
  prompts: number;
  /** Teacher-forced steps after step 0 that have a place: all but those below. */
  steps: number;
  /** Without a lead: inverse-CDF draws, and steps with no other choice. */
  withoutMargin: number;
  /** Where the margin or the drift is NaN or infinite. */
  notFinite: number;
  /** Steps in which no logit differs; steps with a margin of 0; steps whose 2·max|Δ| reaches the margin. */
  equal: number;
  ties: number;
  reachable: number;
  /** Of steps that flip. `beyond`: 2·max|Δ| < margin, which the cut of top-k or top-p alone can do. */
  flips: { count: number; ties: number; beyond: number; widest: number | null };
  /** Smallest and largest that is not 0; null where there is none. */
  marginExtent: [number, number] | null;
  driftExtent: [number, number] | null;
  /** Steps that keep their token, and those that flip, by bins; and one by one where there are no more than `mostDots`. */
  kept: StepSet;
  flipped: StepSet;
}

export interface StepSet {
  bins: StepBin[];
  /** Null where there are more than `mostDots`. */
  dots: StepDot[] | null;
}

export const binsPerDecade = 40;
/** Beyond this many a set of steps is drawn as pixels. */
export const mostDots = 2000;

/** Read one condition's steps: memory grows with the bins that hold a step, not with the steps. */
export async function marginDriftData(
  run: RunTables,
  selection: { condition?: string } = {},
): Promise<MarginDriftData | Missing> {
  const conditions = await readConditions(run);
  if (isMissing(conditions)) return conditions;
  if (!run.has('steps')) return { missing: 'No steps.arrow.', command: commands.steps };
  const focus = focusOf(conditions, selection.condition);
  if (isMissing(focus)) return focus;
  const { condition } = focus;
  const sums = new Sums();
  for await (const batch of run.batches('steps')) {
    const columns = new Columns('steps', batch);
    const [ofCondition, protocol, prompt] = [
      columns.texts('condition'),
      columns.texts('protocol'),
      columns.texts('prompt'),
    ];
    const [step, margin, drift] = [
      columns.required('step'),
      columns.numbers('margin_choice'),
      columns.required('logits_max_abs'),
    ];
    const [flip, tieCached, tieUncached] = ['flip', 'tie_cached', 'tie_uncached'].map((name) => columns.booleans(name));
    for (let row = 0; row < batch.numRows; row++) {
      if (ofCondition(row) !== condition || protocol(row) !== 'teacher-forced' || step(row) === 0) continue;
      const dot = { prompt: prompt(row), step: step(row), drift: drift(row) };
      const tie = (tieCached(row) ?? false) || (tieUncached(row) ?? false);
      sums.add({ ...dot, margin: margin(row) }, flip(row) ?? false, tie);
    }
  }
  if (sums.counts.seen === 0)
    return { missing: `No teacher-forced step of ${condition} in steps.arrow.`, command: commands.steps };
  const name = [sharedName([focus]), shortNames([focus]).get(condition)].join(', ');
  return { condition, name, ...sums.found() };
}

class Sums {
  readonly counts = { seen: 0, steps: 0, withoutMargin: 0, notFinite: 0, equal: 0, ties: 0, reachable: 0 };
  private readonly flips = { count: 0, ties: 0, beyond: 0, widest: null as number | null };
  private readonly prompts = new Set<string>();
  private readonly extents = { margin: [Infinity, 0] as [number, number], drift: [Infinity, 0] as [number, number] };
  private readonly sets = { kept: new SetSums(), flipped: new SetSums() };

  add({ margin, ...dot }: Omit<StepDot, 'margin'> & { margin: number | null }, flip: boolean, tie: boolean): void {
    const { counts, flips } = this;
    const { drift } = dot;
    counts.seen += 1;
    this.prompts.add(dot.prompt);
    if (flip) {
      flips.count += 1;
      if (tie) flips.ties += 1;
    }
    if (margin === null) counts.withoutMargin += 1;
    else if (!Number.isFinite(margin) || !Number.isFinite(drift)) counts.notFinite += 1;
    else {
      counts.steps += 1;
      if (drift === 0) counts.equal += 1;
      if (margin === 0) counts.ties += 1;
      if (drift > 0 && 2 * drift >= margin) counts.reachable += 1;
      if (flip) {
        flips.widest = Math.max(flips.widest ?? 0, margin);
        if (2 * drift < margin) flips.beyond += 1;
      }
      widen(this.extents.margin, margin);
      widen(this.extents.drift, drift);
      (flip ? this.sets.flipped : this.sets.kept).add({ ...dot, margin });
    }
  }

  found(): Omit<MarginDriftData, 'condition' | 'name'> {
    const { seen: _, ...counts } = this.counts;
    const { kept, flipped } = this.sets;
    return {
      ...{ prompts: this.prompts.size, ...counts, flips: this.flips },
      marginExtent: this.extents.margin[1] > 0 ? this.extents.margin : null,
      driftExtent: this.extents.drift[1] > 0 ? this.extents.drift : null,
      ...{ kept: kept.found(), flipped: flipped.found() },
    };
  }
}

function widen(extent: [number, number], value: number): void {
  if (value === 0) return;
  extent[0] = Math.min(extent[0], value);
  extent[1] = Math.max(extent[1], value);
}

class SetSums {
  private readonly bins = new Map<string, StepBin>();
  private dots: StepDot[] | null = [];

  add(dot: StepDot): void {
    const bin = { margin: binOf(dot.margin), drift: binOf(dot.drift), steps: 0 };
    const key = `${bin.margin} ${bin.drift}`;
    const known = this.bins.get(key) ?? bin;
    known.steps += 1;
    this.bins.set(key, known);
    if (this.dots !== null && this.dots.length < mostDots) this.dots.push(dot);
    else this.dots = null;
  }

  found(): StepSet {
    return { bins: [...this.bins.values()], dots: this.dots };
  }
}

function binOf(value: number): number | null {
  return value === 0 ? null : Math.floor(Math.log10(value) * binsPerDecade);
}
