/**
 * The cells of one prompt. Every step patched by itself, all steps from one on, or all up to one; each cell runs on a history
 * of its own and is followed over the horizons.
 */
import { isCacheHook, modelHooks } from '../../graph/hooks.ts';

import type { KVCache } from '../../model/kv-cache.ts';
import { addCheck, type Checks, mergeChecks, noChecks } from '../arms/checks.ts';
import { composeHistory, copyHistory, wholeHistory } from '../arms/history.ts';
import {
  BaseDistances,
  type Continuation,
  continueFrom,
  decodeFrom,
  knownContinuation,
  visibleHorizons,
} from '../arms/horizons.ts';
import type { StepResult, StepRunner } from '../arms/step.ts';
import type { Trajectory } from '../arms/trajectory.ts';
import { compareStep, requestOf, twoByTwo } from '../arms/two-by-two.ts';
import { isByConstruction } from '../specification/by-construction.ts';
import { type CellPlan, positionsAt } from '../specification/resolve.ts';
import { type EditContext, editsAt, type StepEdits } from './edits.ts';
import type { CellResult, PatchRunOptions } from './patched-prompt.ts';
import { SourceRows } from './source-rows.ts';

/** Runs every cell of a spec on one prompt. */
export class PromptCells {
  private readonly options: PatchRunOptions;
  private readonly trajectory: Trajectory;
  private readonly runner: StepRunner;
  private readonly base: BaseDistances;
  private readonly edits: EditContext;
  private readonly bare: boolean;
  private checks: Checks = noChecks();

  constructor(options: PatchRunOptions, trajectory: Trajectory, runner: StepRunner) {
    const { executor, resolved, saved, decodeRows } = options;
    const own = resolved.spec.into === 'cached' ? trajectory.cached : trajectory.uncached;
    this.options = options;
    this.trajectory = trajectory;
    this.runner = runner;
    this.base = new BaseDistances(trajectory);
    this.edits = { executor, trajectory, base: own, decodeRows, sources: new SourceRows(executor, trajectory, saved) };
    this.bare = resolved.cells.every(({ targets }) => targets.length === 0) && resolved.spec.into === 'cached';
  }

  get usesPrefill(): boolean {
    return this.options.resolved.cells.some(({ kernel }) => kernel === 'prefill');
  }

  /** Every cell at every step. Starts anew each time it is called. */
  async measure(): Promise<{ cells: CellResult[]; checks: Checks }> {
    this.checks = noChecks();
    const { timing } = this.options.resolved;
    const last = this.trajectory.steps - 1;
    let cells: CellResult[];
    if (timing.kind === 'each') {
      const steps = timing.steps(last);
      cells = this.bare ? await this.factors(steps) : await this.eachStep(steps);
    } else if (timing.kind === 'from') {
      cells = timing.step > last ? [] : await this.together(timing.step, [timing.step], last);
    } else {
      const until = timing.until.filter((step) => step <= last);
      cells = until.length === 0 ? [] : await this.together(1, until, Math.max(...until));
    }
    return { cells, checks: this.checks };
  }

  /** A spec without patches: the 2×2. */
  private async factors(steps: readonly number[]): Promise<CellResult[]> {
    const { cells, spec } = this.options.resolved;
    const found = await twoByTwo({
      ...{ trajectory: this.trajectory, runner: this.runner, steps, horizons: spec.measure.horizons },
      histories: [...new Set(cells.map(({ history }) => history))],
      kernels: [...new Set(cells.map(({ kernel }) => kernel))],
      prefixes: [...new Set(cells.map(({ prefix }) => prefix))].filter((prefix) => prefix > 0),
      probed: true,
    });
    this.checks = mergeChecks(this.checks, found.checks);
    return found.cells.map(({ history, kernel, layers, step, changed, ...continuation }) => {
      const cell = cells.findIndex(
        (plan) => plan.history === history && plan.kernel === kernel && plan.prefix === layers,
      );
      const n = this.trajectory.promptLength + step;
      const end = layers > 0 ? n - 1 : 0;
      const place = { cell, step, posStart: 0, posEnd: end, changed };
      return { ...place, ...continuation, byConstruction: this.construction(cells[cell], step, continuation, false) };
    });
  }

  /** Each step patched by itself. */
  private async eachStep(steps: readonly number[]): Promise<CellResult[]> {
    const results: CellResult[] = [];
    const { cells } = this.options.resolved;
    for (const step of steps) {
      if (visibleHorizons(this.trajectory, step, this.horizons).length === 0) continue;
      for (const [at, plan] of cells.entries()) {
        for (const only of this.positionsOf(plan, step)) {
          const found = await this.oneStep(plan, at, step, only);
          if (found) results.push(found);
        }
      }
    }
    return results;
  }

  private async oneStep(
    plan: CellPlan,
    cell: number,
    step: number,
    only: number | undefined,
  ): Promise<CellResult | null> {
    const edits = editsAt(this.edits, plan.targets, step, only);
    if (edits.positions === null) return null;
    const n = this.trajectory.promptLength + step;
    const start = this.ownHistory(n);
    const { history, changed } = this.edited(plan, start, n, edits);
    const isSelf = this.isSelf(plan);
    const place = { cell, step, ...envelope(edits), changed: changed + edits.changedInGraph };
    // Equal inputs give equal bits: a patch that changes nothing leaves the arm as it is, unless that is what is tested.
    const continuation =
      place.changed === 0 && !isSelf && this.hasOwnFactors(plan)
        ? this.unpatched(step)
        : await this.follow(plan, await this.runStep(plan, step, history, edits, true), step, isSelf);
    return { ...place, ...continuation, byConstruction: this.construction(plan, step, continuation, false, only) };
  }

  /** Several steps patched together, seen from each of `anchors`; after the last patched step, or an anchor, decode goes on. */
  private async together(first: number, anchors: readonly number[], last: number): Promise<CellResult[]> {
    const results: CellResult[] = [];
    const { cells, timing } = this.options.resolved;
    const goesOn = timing.kind === 'from';
    for (const [cell, plan] of cells.entries()) {
      let cache = this.ownHistory(this.trajectory.promptLength + first);
      let changedSoFar = 0;
      for (let step = first; step <= (goesOn ? first : last); step++) {
        const n = this.trajectory.promptLength + step;
        const edits = editsAt(this.edits, plan.targets, step);
        const { history, changed } = this.edited(plan, cache, n, edits);
        changedSoFar += changed + edits.changedInGraph;
        const found = await this.runStep(plan, step, history, edits, step === first);
        cache = found.arm.cache;
        if (!anchors.includes(step) || visibleHorizons(this.trajectory, step, this.horizons).length === 0) continue;
        const fork = { ...found, arm: this.runner.armOn(cache, n + 1, this.capacityAt(step)) };
        const continuation = goesOn
          ? await this.followPatched(plan, found, step)
          : await this.follow(plan, fork, step, this.isSelf(plan));
        const place = { cell, step, ...envelope(edits), changed: changedSoFar };
        results.push({
          ...place,
          ...continuation,
          byConstruction: this.construction(plan, step, continuation, goesOn),
        });
      }
    }
    return results;
  }

  /** The step under the cell's kernel; begins at the first patched layer where nothing before it can differ. */
  private async runStep(
    plan: CellPlan,
    step: number,
    history: KVCache,
    edits: StepEdits,
    fresh: boolean,
  ): Promise<StepResult> {
    const { kernel, prefix } = plan;
    const request = { ...requestOf(this.trajectory, step, kernel, history, this.horizon), patches: edits.patches };
    const layer = Math.min(edits.firstLayer, this.options.executor.config.layers - 1);
    const entry = this.edits.base.steps[step].rows.get(`blocks.${layer}.hook_resid_pre`);
    if (!fresh || kernel !== 'decode' || prefix > 0 || layer < 1 || !entry || this.edits.base.name !== 'cached') {
      return this.runner.run({ ...request, hooks: this.observed(plan) });
    }
    const rows = this.edits.base.after(this.trajectory.promptLength + step);
    return this.runner.run({ ...request, hooks: this.observed(plan), resume: { layer, residual: entry.data, rows } });
  }

  /** The self-patch is compared at every hook that is kept. */
  private observed(plan: CellPlan): ReadonlySet<string> {
    return this.isSelf(plan) ? this.selfHooks : new Set();
  }

  private get selfHooks(): ReadonlySet<string> {
    const { keep } = this.options.resolved;
    const hooks = modelHooks(this.options.executor.config).filter(({ name }) => keep.has(name) && !isCacheHook(name));
    return new Set(hooks.map(({ name }) => name));
  }

  private async follow(plan: CellPlan, found: StepResult, step: number, isSelf: boolean): Promise<Continuation> {
    if (isSelf) this.checkSelf(found, step);
    if (this.isWholeReplacement(plan)) this.checkFull(found, step);
    const next = decodeFrom(this.trajectory, found.arm);
    return continueFrom(this.trajectory, this.base, found.logits, step, this.horizons, next);
  }

  /** As `follow`, with the patches of every later step. */
  private followPatched(plan: CellPlan, found: StepResult, step: number): Promise<Continuation> {
    let cache = found.arm.cache;
    return continueFrom(this.trajectory, this.base, found.logits, step, this.horizons, async (at) => {
      const n = this.trajectory.promptLength + at;
      const edits = editsAt(this.edits, plan.targets, at);
      const { history } = this.edited(plan, cache, n, edits);
      const next = await this.runStep(plan, at, history, edits, false);
      cache = next.arm.cache;
      return next.logits;
    });
  }

  /** What the unpatched arm did, where that is known without running it. */
  private unpatched(step: number): Continuation {
    return knownContinuation(this.trajectory, this.base, step, this.horizons, this.edits.base);
  }

  private edited(plan: CellPlan, own: KVCache, n: number, edits: StepEdits): { history: KVCache; changed: number } {
    const { executor } = this.options;
    const capacity = this.capacityAt(n - this.trajectory.promptLength);
    const layers = Array.from({ length: plan.prefix }, (_, layer) => layer);
    const start =
      plan.prefix > 0
        ? composeHistory(executor, {
            ...{ base: own, donor: this.trajectory.uncached.history(n), n, capacity },
            selection: wholeHistory(executor, n, layers),
          })
        : { history: copyHistory(executor, own, n, capacity), changed: 0 };
    return { history: start.history, changed: start.changed + edits.editHistory(start.history) };
  }

  private ownHistory(n: number): KVCache {
    return this.edits.base.history(n);
  }

  private positionsOf(plan: CellPlan, step: number): (number | undefined)[] {
    if (!plan.byPosition) return [undefined];
    const n = this.trajectory.promptLength + step;
    const all = plan.targets.flatMap(({ positions }) => positionsAt(positions, this.trajectory.promptLength, n, n));
    return [...new Set(all)].toSorted((a, b) => a - b);
  }

  /** The cell has the history and the kernel of the arm that is patched. */
  private hasOwnFactors({ prefix, kernel }: CellPlan): boolean {
    return this.edits.base.name === 'cached' ? prefix === 0 && kernel === 'decode' : kernel === 'prefill';
  }

  /** Every value is written over itself. */
  private isSelf(plan: CellPlan): boolean {
    const own = this.edits.base.name;
    return (
      plan.targets.length > 0 &&
      this.hasOwnFactors(plan) &&
      plan.targets.every(({ source }) => source.kind === 'arm' && source.arm === own)
    );
  }

  /** Recomputed history read by the prefill's kernel, and nothing that is not the uncached arm's on top. */
  private isWholeReplacement({ prefix, kernel, targets }: CellPlan): boolean {
    return (
      kernel === 'prefill' &&
      prefix === this.options.executor.config.layers &&
      targets.every(({ source }) => source.kind === 'arm' && source.arm === 'uncached')
    );
  }

  private checkSelf(found: StepResult, step: number): void {
    const { base } = this.edits;
    const n = this.trajectory.promptLength + step;
    const { executor } = this.options;
    const counts = this.checks['patch-self'];
    const expected = { logits: base.steps[step].logits, cache: base.after(n) };
    compareStep(this.runner, counts, this.trajectory, step, { logits: found.logits, cache: found.arm.cache }, expected);
    addCheck(
      counts,
      executor.policy,
      `prompt ${this.trajectory.prompt.id}, step ${step}`,
      (tally) => {
        for (const [hook, value] of base.steps[step].rows) {
          const made = found.activations.get(hook);
          // Rows before the newest ones are no part of a step that runs all of them.
          if (made?.data.length === value.data.length)
            tally.add(hook, `n = ${n}`, made.data, value.data, value.dims.at(-1) ?? 1);
        }
      },
      0,
    );
  }

  private checkFull(found: StepResult, step: number): void {
    const { uncached, promptLength } = this.trajectory;
    const expected = { logits: uncached.steps[step].logits, cache: uncached.after(promptLength + step) };
    compareStep(
      this.runner,
      this.checks['patch-full'],
      this.trajectory,
      step,
      { logits: found.logits, cache: found.arm.cache },
      expected,
    );
  }

  /** By horizon. @param persistent the patches are on at every horizon */
  private construction(
    plan: CellPlan,
    step: number,
    { outcomes }: Continuation,
    persistent: boolean,
    only?: number,
  ): boolean[] {
    const { executor, decodeRows } = this.options;
    return outcomes.map(({ horizon }) => {
      const patched = horizon === 0 || persistent;
      const n = this.trajectory.promptLength + step + horizon;
      return isByConstruction({
        ...{ executor, decodeRows, n, promptLength: this.trajectory.promptLength },
        into: this.options.resolved.spec.into,
        kernel: patched ? plan.kernel : 'decode',
        prefix: patched ? plan.prefix : 0,
        targets: patched ? plan.targets : [],
        ...(only === undefined ? {} : { only }),
      });
    });
  }

  private get horizons(): readonly number[] {
    return this.options.resolved.spec.measure.horizons;
  }

  private get horizon(): number {
    return Math.max(0, ...this.horizons);
  }

  private capacityAt(step: number): number {
    return this.trajectory.promptLength + Math.min(step + this.horizon, this.trajectory.steps - 1) + 1;
  }
}

function envelope({ positions }: StepEdits): { posStart: number; posEnd: number } {
  return { posStart: positions?.start ?? 0, posEnd: positions?.end ?? 0 };
}
