/** What every prompt of a patch run shares, and what becomes of one: plain data but for the executor. */
import type { UncachedPlan } from '../../model/arms.ts';
import type { Executor } from '../../model/executor.ts';
import type { Fault } from '../../model/faults.ts';
import type { Strategy } from '../../model/sampling/index.ts';
import type { Checks } from '../arms/checks.ts';
import type { Continuation } from '../arms/horizons.ts';
import type { CachedArmFactory } from '../arms/trajectory.ts';
import type { HistoryAttribution } from '../attribution/history-attribution.ts';
import type { ResolvedSpec } from '../specification/resolve.ts';
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
