/** What a patch run found: each cell over all steps and prompts. R is one ratio of sums, with a bootstrap by prompt. */
import type { GateResult } from '../../divergence/summary.ts';
import { bootstrapRatio, type Interval } from '../../numerics/bootstrap.ts';
import type { Outcome } from '../arms/horizons.ts';
import type { HistoryKind } from '../arms/two-by-two.ts';
import type { CellPlan, ResolvedSpec } from '../specification/resolve.ts';
import type { PatchedPrompt } from './patched-prompt.ts';

/** One cell at one horizon. */
export interface HorizonSummary {
  horizon: number;
  /** Prompt–step pairs that were measured. */
  count: number;
  /** 1 − Σ patched / Σ base in centred L2; null where there is nothing to recover. */
  recovery: number | null;
  /** 95 %, by prompt; null below two prompts. */
  interval: Interval | null;
  recoveryKl: number | null;
  /** Σ over prompts and steps. */
  distanceBase: number;
  distancePatched: number;
  exact: number;
  vacuous: number;
  harmful: number;
  byConstruction: number;
}

/** Tokens after the patch: where the unpatched arm's token at the patched step was another than the uncached arm's. */
export interface TokenSummary {
  /** Patched steps whose unpatched token differs. */
  flips: number;
  /** … of them: the patched step's token is the uncached one. */
  returned: number;
  /** Mean tokens that follow the uncached arm from the patched step on, up to the largest horizon; null without a step. */
  follows: number | null;
  followsBase: number | null;
}

/** One cell of a spec – a history, a kernel and a patch – over all prompts and patched steps. */
export interface CellSummary {
  history: HistoryKind;
  kernel: CellPlan['kernel'];
  /** What is patched, in words. */
  patch: string;
  label: CellPlan['label'];
  /** Of a cell of a grid by position: how many tokens before the newest one it lies. */
  age: number | null;
  /** Cells (prompt, step) in which the patch changed no element. */
  unchanged: number;
  count: number;
  horizons: HorizonSummary[];
  tokens: TokenSummary;
}

/** Shapley values of one part of the history, summed over steps and prompts. */
export interface PartSummary {
  part: string;
  value: number;
  /** Removed where this part alone is recomputed. */
  oneIn: number;
  /** Of the removed distance; null where nothing is removed. */
  share: number | null;
}

/** What a run of the experiment `arms` found; without `valid` its numbers do not count. */
export interface PatchSummary {
  model: string;
  precision: string;
  kernels: string;
  strategy: string;
  decodeRows: number;
  /** The decode kernel imitates a GPU's in the graph. */
  emulated: boolean;
  /** Faults planted in the cached arm, in words; none in an honest run. */
  planted: readonly string[];
  spec: ResolvedSpec['spec'];
  prompts: number;
  /** Decode steps of all prompts, and those at which something was patched. */
  steps: number;
  patchedSteps: number;
  cells: CellSummary[];
  parts: PartSummary[];
  gates: GateResult[];
  spotChecks: { steps: number; failed: number };
  valid: boolean;
}

interface Sums {
  base: number;
  patched: number;
}

/** Sums of one cell at one horizon. */
class HorizonSums {
  private readonly byPrompt = new Map<string, Sums>();
  private readonly kl: Sums = { base: 0, patched: 0 };
  private readonly counts = { count: 0, exact: 0, vacuous: 0, harmful: 0, byConstruction: 0 };
  private readonly horizon: number;

  constructor(horizon: number) {
    this.horizon = horizon;
  }

  add(prompt: string, { recovery }: Outcome, byConstruction: boolean): void {
    const sums = this.byPrompt.get(prompt) ?? { base: 0, patched: 0 };
    sums.base += recovery.base.l2;
    sums.patched += recovery.patched.l2;
    this.byPrompt.set(prompt, sums);
    this.kl.base += recovery.base.kl;
    this.kl.patched += recovery.patched.kl;
    this.counts.count += 1;
    for (const name of ['exact', 'vacuous', 'harmful'] as const) if (recovery[name]) this.counts[name] += 1;
    if (byConstruction) this.counts.byConstruction += 1;
  }

  summary(): HorizonSummary {
    const units = [...this.byPrompt.values()];
    const base = units.reduce((sum, unit) => sum + unit.base, 0);
    const patched = units.reduce((sum, unit) => sum + unit.patched, 0);
    const ratio = bootstrapRatio(units.map((unit) => ({ top: unit.patched, bottom: unit.base })));
    return {
      horizon: this.horizon,
      recovery: base === 0 ? null : 1 - patched / base,
      interval: base === 0 || ratio === null ? null : { low: 1 - ratio.high, high: 1 - ratio.low },
      recoveryKl: this.kl.base === 0 ? null : 1 - this.kl.patched / this.kl.base,
      ...{ distanceBase: base, distancePatched: patched },
      ...this.counts,
    };
  }
}

class CellSums {
  private readonly horizons = new Map<number, HorizonSums>();
  private readonly plan: CellPlan;
  private readonly age: number | null;
  private count = 0;
  private unchanged = 0;
  private readonly tokens = { flips: 0, returned: 0, follows: 0, followsBase: 0 };

  constructor(plan: CellPlan, age: number | null) {
    this.plan = plan;
    this.age = age;
  }

  add(prompt: string, result: PatchedPrompt['cells'][number]): void {
    this.count += 1;
    if (result.changed === 0) this.unchanged += 1;
    result.outcomes.forEach((outcome, i) => {
      const sums = this.horizons.get(outcome.horizon) ?? new HorizonSums(outcome.horizon);
      this.horizons.set(outcome.horizon, sums);
      sums.add(prompt, outcome, result.byConstruction[i]);
    });
    this.tokens.follows += result.tokens.follows;
    this.tokens.followsBase += result.baseTokens.follows;
    if (result.baseTokens.follows > 0) return;
    this.tokens.flips += 1;
    if (result.tokens.follows > 0) this.tokens.returned += 1;
  }

  summary(): CellSummary {
    const { history, kernel, label } = this.plan;
    const { flips, returned, follows, followsBase } = this.tokens;
    const mean = (sum: number) => (this.count === 0 ? null : sum / this.count);
    return {
      ...{ history, kernel, label, age: this.age, count: this.count, unchanged: this.unchanged },
      patch: patchName(this.plan, this.age),
      horizons: [...this.horizons.values()].map((sums) => sums.summary()).toSorted((a, b) => a.horizon - b.horizon),
      tokens: { flips, returned, follows: mean(follows), followsBase: mean(followsBase) },
    };
  }
}

/** `none`, `history of layers 0–2`, `blocks.1.attn.hook_cache_k head 0, 3 before the newest`. */
export function patchName({ prefix, targets, label }: CellPlan, age: number | null = null): string {
  if (targets.length === 0) return prefix === 0 ? 'none' : `history of layers 0–${prefix - 1}`;
  const head = label.head === null ? '' : ` head ${label.head}`;
  const part = label.component === 'k' || label.component === 'v' ? ` ${label.component}` : '';
  return `${label.hook}${label.hook.includes('hook_cache_') ? '' : part}${head}${age === null ? '' : `, ${age} before the newest`}`;
}

/** Adds up prompts; call in their order. */
export class PatchSums {
  private readonly cells = new Map<string, CellSums>();
  private readonly parts = new Map<string, { value: number; oneIn: number }>();
  private readonly plans: readonly CellPlan[];
  private readonly promptLengths: ReadonlyMap<string, number>;
  private readonly totals = { prompts: 0, steps: 0, patchedSteps: 0 };
  private readonly spotChecks = { steps: 0, failed: 0 };

  constructor(plans: readonly CellPlan[], promptLengths: ReadonlyMap<string, number>) {
    this.plans = plans;
    this.promptLengths = promptLengths;
    // Every cell has its place, in the order of the spec, whatever is found; positions take theirs as they come.
    for (const [i, plan] of plans.entries()) if (!plan.byPosition) this.sumsOf(i, null);
  }

  add(result: PatchedPrompt): void {
    this.totals.prompts += 1;
    this.totals.steps += result.steps;
    this.totals.patchedSteps += new Set(result.cells.map(({ step }) => step)).size;
    this.spotChecks.steps += result.spotChecks.steps;
    this.spotChecks.failed += result.spotChecks.failed;
    const p = this.promptLengths.get(result.prompt) ?? 0;
    for (const cell of result.cells) {
      const age = this.plans[cell.cell].byPosition ? p + cell.step - 1 - cell.posStart : null;
      this.sumsOf(cell.cell, age).add(result.prompt, cell);
    }
    for (const { parts } of result.attributions) {
      for (const { part, value, oneIn } of parts) {
        const sums = this.parts.get(part) ?? { value: 0, oneIn: 0 };
        this.parts.set(part, { value: sums.value + value, oneIn: sums.oneIn + oneIn });
      }
    }
  }

  summary(): Pick<PatchSummary, 'cells' | 'parts' | 'prompts' | 'steps' | 'patchedSteps' | 'spotChecks'> {
    const removed = [...this.parts.values()].reduce((sum, { value }) => sum + value, 0);
    const order = [...this.cells].map(([key, sums]) => ({ key: key.split(' ').map(Number), sums }));
    order.sort((a, b) => a.key[0] - b.key[0] || a.key[1] - b.key[1]);
    return {
      cells: order.map(({ sums }) => sums.summary()).filter(({ count, age }) => age === null || count > 0),
      parts: [...this.parts].map(([part, sums]) => ({
        ...{ part, ...sums, share: removed > 0 ? sums.value / removed : null },
      })),
      ...this.totals,
      spotChecks: this.spotChecks,
    };
  }

  private sumsOf(cell: number, age: number | null): CellSums {
    const key = `${cell} ${age ?? -1}`;
    const known = this.cells.get(key) ?? new CellSums(this.plans[cell], age);
    this.cells.set(key, known);
    return known;
  }
}
