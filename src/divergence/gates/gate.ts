/** What a gate is: a claim about the harness or about what can be identified, measured before any number is printed. */
import type { Checkpoint } from '../../checkpoint/types.ts';
import type { KernelPreset } from '../../graph/kernels.ts';
import type { RoundingPolicy } from '../../graph/rounding.ts';
import type { Executor, ExecutorOptions } from '../../model/executor.ts';
import type { GateClass, GateResult } from '../summary.ts';
import type { ArmDigests, ArmsRequest } from './arm-digests.ts';
import type { Captured } from './difference.ts';

/** METHOD's gates, in its order. */
export const gateNames = [
  'repeat',
  'alignment',
  'canary',
  'provenance',
  'no-op',
  'null',
  'full-patch',
  'prefix',
  'observer',
  'finite',
  'residual',
  'batch-threads',
] as const;
export type GateName = (typeof gateNames)[number];

/** `run`: beside every run, quick. `audit`: once per model, policy, preset and machine; fresh processes, batches, threads. */
export type Scale = 'run' | 'audit';

/** What is being judged: a model, how it is computed, and the tokens to compute it on. */
export interface GateSubject {
  checkpoint: Checkpoint;
  policy: RoundingPolicy;
  kernels: KernelPreset;
  /** Intra-op threads of every session. */
  threads: number;
  /** Rows the cached arm recomputes per step. */
  decodeRows: number;
  /** A prompt of at least one token. */
  prompt: { id: string; tokens: readonly number[] };
  /** Tokens both arms are forced to read after the prompt; the uncached arm's greedy choice where it is too short. */
  continuation?: readonly number[];
  /** Decode steps to look at (default 8; fewer where the context ends). */
  maxSteps?: number;
  /** Makes the executors under test; each is released by the gate that asked for it. */
  open?: (overrides?: Partial<ExecutorOptions>) => Executor;
  /** Runs both arms in a process of its own (`audit`). */
  fresh?: (request: ArmsRequest) => Promise<ArmDigests>;
}

/** A subject made ready: tokens chosen, executor open, runs that several gates need computed once. */
export interface GateContext extends Required<Omit<GateSubject, 'continuation' | 'maxSteps'>> {
  scale: Scale;
  /** Prompt and forced continuation. */
  tokens: readonly number[];
  /** Sequence lengths of the decode steps: p + 1, p + 2, … */
  lengths: readonly number[];
  /** The executor the gates share. */
  executor: Executor;
  /** Full names of every hook that is not opt-in, in execution order; of the stage at hand, where one runs at a time. */
  hooks: ReadonlySet<string>;
  /** True if passes return logits: always, or at the last stage. */
  hasLogits: boolean;
  /** Run these tasks, on executors of their own: side by side where those have threads, else one after the other. */
  together<T>(tasks: readonly (() => Promise<T>)[]): Promise<T[]>;
  /** The audit that covers this subject on this machine, if one was made. */
  audited: AuditRecord | null;
  /** The uncached arm at length n: rows 0 … n − 1 with no past, every hook. */
  honest(n: number): Promise<Captured>;
  /** The cached arm on the same tokens: the prefill, then one entry per length. */
  cached(): Promise<readonly Captured[]>;
}

/** The gates of an earlier `audit` of the same subject. */
export interface AuditRecord {
  /** First 12 hex digits of the sha256 of its gates: how a run quotes it. */
  hash: string;
  gates: GateResult[];
}

/**
 * One measurement: `observe` is called once, or where a model runs stage by stage (`Tape`) once per stage, each time with
 * the hooks of that stage; it must make the same passes each time. `conclude` says what was found in all.
 */
export interface Observation {
  observe(context: GateContext): Promise<void>;
  conclude(): Measurement;
}

/**
 * The stages a gate sees where a model runs stage by stage. `each`: all of them. `first`: the embedding and block 0, because it
 * needs further graphs of a stage, and each of them would load the stage's weights again. `none`: it does not run the model.
 */
export type StageScope = 'each' | 'first' | 'none';

/** What a gate found. */
export interface Measurement {
  passed: boolean;
  /** In words and numbers. */
  measured: string;
  /** What the measurement covered. */
  scope: string;
}

/** One gate; each lives in a file of its own. */
export interface Gate {
  name: GateName;
  /** `harness`: a failure voids every number. `identification`: it voids the verdicts that depend on it. */
  class: GateClass;
  /** One sentence for the README's table and `audit`. */
  claim: string;
  required: string | ((context: GateContext) => string);
  /** Faults that fail this gate; the tests build a subject with each. */
  failing: readonly string[];
  /** True, or why the gate has nothing to say about this subject. */
  appliesTo(context: GateContext): true | string;
  stages: StageScope;
  /** Begin a measurement; `context` is that of the first stage. */
  begin(context: GateContext): Observation;
}

/** Applies to every subject. */
export const always = (): true => true;

/** The observation of a gate that looks once. */
export function once(measure: (context: GateContext) => Promise<Measurement>): (context: GateContext) => Observation {
  return () => {
    let found: Measurement | undefined;
    return {
      observe: async (context) => {
        found = await measure(context);
      },
      conclude: () => {
        if (!found) throw new Error('a gate concludes what it observed');
        return found;
      },
    };
  };
}

/** `1,234,567` */
export function count(value: number): string {
  return value.toLocaleString('en-US');
}

/** The lengths a scope covers: `n = 13 … 20`. */
export function lengthScope(lengths: readonly number[]): string {
  if (lengths.length === 0) return 'no decode step';
  return lengths.length === 1 ? `n = ${lengths[0]}` : `n = ${lengths[0]} … ${lengths.at(-1)}`;
}
