/** One prompt under a spec: both arms, then every cell at every step, each measured at the horizons. */
import type { PromptInput } from '../../divergence/prompt-run.ts';
import { Arm, type UncachedPlan } from '../../model/arms.ts';
import type { Executor } from '../../model/executor.ts';
import type { Fault } from '../../model/faults.ts';
import type { Strategy } from '../../model/sampling/index.ts';
import type { Checks } from '../arms/checks.ts';
import type { Continuation } from '../arms/horizons.ts';
import { StepRunner, withTwoRows } from '../arms/step.ts';
import { type CachedArmFactory, traceArms } from '../arms/trajectory.ts';
import { requestOf } from '../arms/two-by-two.ts';
import { attributeHistory, type HistoryAttribution } from '../attribution/history-attribution.ts';
import type { ResolvedSpec } from '../spec/resolve.ts';
import { PromptCells } from './prompt-cells.ts';
import type { SavedRuns } from './saved-runs.ts';

/** What every prompt of a run shares. */
export interface PatchRunOptions {
  executor: Executor;
  resolved: ResolvedSpec;
  saved: SavedRuns;
  strategy: Strategy;
  decodeRows: number;
  maxNewTokens: number;
  ignoreEos: boolean;
  uncachedPlan: UncachedPlan;
  /** Planted in the cached arm. */
  faults?: readonly Fault[];
  /** Default: `Arm.cached`, with the faults. */
  cachedArm?: CachedArmFactory;
}

/** One cell at one step, as far as its place goes. */
export interface CellPlace {
  /** Index into the cells of the resolved spec. */
  cell: number;
  /** The patched step, or the last of several. */
  step: number;
  /** Envelope [start, end) of the patched positions. */
  posStart: number;
  posEnd: number;
  /** Elements that the patch changed at this step. */
  changed: number;
}

/** A cell at a step: what was measured, plain data. */
export interface CellResult extends CellPlace, Continuation {
  /** By horizon of `outcomes`: nothing else could come out. */
  byConstruction: boolean[];
}

/** What became of one prompt. */
export interface PatchedPrompt {
  index: number;
  prompt: string;
  /** New tokens of the uncached arm. */
  tokens: number[];
  /** Decode steps of the trajectory. */
  steps: number;
  cells: CellResult[];
  attributions: HistoryAttribution[];
  checks: Checks;
  spotChecks: { steps: number; failed: number };
  recomputed: boolean;
}

/** Run one prompt. */
export async function patchPrompt(options: PatchRunOptions, prompt: PromptInput): Promise<PatchedPrompt> {
  const { executor, resolved, strategy, decodeRows, maxNewTokens, ignoreEos, uncachedPlan } = options;
  const { faults = [] } = options;
  const cachedArm: CachedArmFactory =
    options.cachedArm ??
    ((capacity, after) => Arm.cached(executor, capacity, decodeRows, { faults, ...(after && { after }) }));
  const trajectory = await traceArms({
    ...{ executor, prompt, strategy, decodeRows, maxNewTokens, ignoreEos, uncachedPlan },
    keep: resolved.keep,
    rewrite: resolved.rewrite,
    cachedArm,
  });
  const { promptLength } = trajectory;
  const runner = new StepRunner(executor, prompt.id, { decodeRows, cachedArm, promptLength });
  const run = new PromptCells(options, trajectory, runner);
  const probe =
    run.usesPrefill && trajectory.steps > 1
      ? requestOf(trajectory, 1, 'prefill', trajectory.cached.history(trajectory.promptLength + 1))
      : null;
  const { cells, checks } = await withTwoRows(runner, probe, () => run.measure());
  return {
    index: prompt.index,
    prompt: prompt.id,
    tokens: trajectory.tokens.slice(trajectory.promptLength),
    steps: trajectory.steps - 1,
    ...{ cells, checks },
    attributions: await attributeHistory(options, trajectory, runner),
    spotChecks: trajectory.spotChecks,
    recomputed: trajectory.recomputed,
  };
}
