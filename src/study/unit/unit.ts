/** Work units of a study, as they are sent to a thread and as they come back: plain data, which a journal holds. */
import type { CheckpointReference } from '../../checkpoint/expand-kv.ts';
import type { GateResult } from '../../divergence/summary.ts';
import type { OperationClass } from '../../graph/kernels.ts';
import type { UncachedPlan } from '../../model/arms.ts';
import type { Fault } from '../../model/faults.ts';
import type { Checks } from '../../patching/arms/checks.ts';
import type { TableName } from '../../store/schemas.ts';
import type { Condition } from '../definition/condition.ts';
import type { Group } from '../definition/factors.ts';
import type { StudyDefinition } from '../definition/schema.ts';
import type { PlaceboPlan } from '../placebo/index.ts';
import type { Prompt } from '../prompts.ts';
import type { UnitSummary } from './unit-summary.ts';

/** One number in memory that threads share: not 0 once the user has stopped the study. */
export type Interruption = Int32Array<SharedArrayBuffer>;

/** What every unit of a study shares. */
export interface UnitConfig {
  models: Readonly<Record<string, CheckpointReference>>;
  groups: readonly Group[];
  conditions: readonly Condition[];
  /** Group of each condition. */
  groupOf: readonly number[];
  settings: UnitSettings;
  /** Close a placebo arm's sessions after its text: those of all arms do not fit beside one another. Changes no result. */
  releasePlacebo: boolean;
  /** Shared by all threads. */
  interruption: Interruption;
}

export interface UnitSettings
  extends Pick<
    StudyDefinition,
    'answers' | 'arms' | 'maxNewTokens' | 'ignoreEos' | 'decodeRows' | 'threads' | 'temperatures'
  > {
  profile: StudyDefinition['profile'];
  patching: { prompts: number; every: number; strategies: readonly string[] };
  placebo: StudyDefinition['placebo'];
  plant: { faults: readonly Fault[]; share: number } | null;
}

/** The gates of a group, on its model's first prompt, and the classes its placebo permutes. */
export interface GatesJob {
  kind: 'gates';
  group: number;
  /** The first ones. */
  prompts: readonly Prompt[];
}

/** One prompt under one condition. */
export interface PromptJob {
  kind: 'prompt';
  /** Its place among the study's units. */
  unit: number;
  condition: number;
  prompt: Prompt;
  /** Of its group. */
  gates: readonly GateResult[];
  uncachedPlan: UncachedPlan;
  classes: readonly OperationClass[];
  placeboPlan: PlaceboPlan;
}

export type UnitJob = GatesJob | PromptJob;

export interface GatesUnit {
  kind: 'gates';
  group: number;
  gates: GateResult[];
  /** Classes whose sums the decode kernel changes: what the placebo permutes; empty where the group has no placebo. */
  classes: OperationClass[];
  placeboPlan: PlaceboPlan;
}

/** Tables that units write. */
export const unitTables = [
  'steps',
  'candidates',
  'layers',
  'patches',
  'answers',
  'temperatures',
  'placebo',
] as const satisfies readonly TableName[];
export type UnitTable = (typeof unitTables)[number];

export interface PromptUnit {
  kind: 'prompt';
  unit: number;
  summary: UnitSummary;
  /** Rows without condition and prompt, in the order of the columns. */
  rows: Record<UnitTable, unknown[][]>;
  /** Exactness checks of the patched cells. */
  checks: Checks | null;
  /** Of a first flip that leans further than this prompt's placebo: cause and verdict by the rules of --explain. */
  explained: { step: number; cause: string; verdict: string } | null;
}

export type UnitResult = GatesUnit | PromptUnit;
