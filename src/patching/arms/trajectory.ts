/**
 * The arms of one prompt, teacher-forced on the uncached arm's tokens: what patching takes values from and is measured
 * against. Step s decides token p + s from n = p + s tokens; step 0 is the prefill, equal in all arms.
 */

import type { PromptInput } from '../../divergence/prompt-run.ts';
import { spotCheck } from '../../divergence/spot-check.ts';
import { findHook, isCacheHook } from '../../graph/hooks.ts';
import { newestRows } from '../../model/activation-rows.ts';
import { Arm, type ArmStep, type UncachedPlan } from '../../model/arms.ts';
import type { FloatArray } from '../../model/arrays.ts';
import { type Activations, type Capture, captureNothing, type Executor } from '../../model/executor.ts';
import type { KVCache } from '../../model/kv-cache.ts';
import { chooseToken, type Strategy } from '../../model/sampling/index.ts';
import { CacheLog } from './cache-log.ts';

/** `cached-rewrite`: the cached arm with order-matched decoding, one row more per step. */
export const armNames = ['cached', 'uncached', 'cached-rewrite'] as const;
export type ArmName = (typeof armNames)[number];

/**
 * Makes a cached arm with an empty cache for `capacity` rows, one of the caller's with faults, say; `after`: it goes on in
 * the middle of a prompt, on rows that are put into its cache.
 */
export type CachedArmFactory = (capacity: number, after?: { promptLength: number; rows: number }) => Arm;

export interface TraceRequest {
  executor: Executor;
  prompt: PromptInput;
  strategy: Strategy;
  maxNewTokens: number;
  ignoreEos: boolean;
  /** Rows each step of the cached arm runs. */
  decodeRows: number;
  uncachedPlan: UncachedPlan;
  /** Full names of hooks whose rows are kept, of every arm (rows of the cache are kept anyway). */
  keep?: ReadonlySet<string>;
  /** Default: `Arm.cached`. */
  cachedArm?: CachedArmFactory;
  /** Trace the order-matched arm as well. */
  rewrite?: boolean;
}

/** One arm at one step. */
export interface TracedStep {
  /** Tokens of the sequence. */
  n: number;
  /** Logits of row n − 1: [d_vocab]. */
  logits: FloatArray;
  /** The token this arm chooses; only the uncached arm's is read. */
  token: number;
  /** The newest rows of the kept hooks, as many as the cached arm runs. */
  rows: Activations;
}

/** One arm of a prompt. */
export interface ArmTrace {
  name: ArmName;
  /** By step, from 0. */
  steps: readonly TracedStep[];
  /**
   * The history of the step of n tokens, rows 0 … n − 2 of K and V: of a cached arm as the step reads it, of the uncached arm
   * as the step computes it. Not to be written to.
   */
  history(n: number): KVCache;
  /** Rows 0 … n − 1, as the step of n tokens leaves them. Not to be written to. */
  after(n: number): KVCache;
  /** Rows that changed after they were written. */
  changedRows: number;
}

/** The arms of one prompt. */
export interface Trajectory {
  prompt: PromptInput;
  promptLength: number;
  /** Prompt and new tokens; the last one was decided but not run. */
  tokens: readonly number[];
  /** Steps that ran, step 0 included. */
  steps: number;
  arms: ReadonlyMap<ArmName, ArmTrace>;
  cached: ArmTrace;
  uncached: ArmTrace;
  /** Chooses from logits as the run does. */
  choose(logits: FloatArray, step: number): number;
  spotChecks: { steps: number; failed: number };
  /** The uncached arm was recomputed because its stand-in failed a spot check. */
  recomputed: boolean;
}

/**
 * Run the arms of one prompt. If a spot check finds the uncached arm's stand-in wrong, everything is computed again with
 * recomputation.
 */
export async function traceArms(request: TraceRequest): Promise<Trajectory> {
  const { executor, uncachedPlan } = request;
  const found = await trace(request, uncachedPlan);
  if (uncachedPlan === 'recompute') return found.trajectory;
  const { equal: checks } = await spotCheck({
    ...{ executor, cache: found.uncachedCache, forced: found.trajectory.tokens, id: request.prompt.id },
    promptLength: request.prompt.tokens.length,
    logits: found.trajectory.uncached.steps.map(({ logits }) => logits),
  });
  const failed = [...checks.values()].filter((equal) => !equal).length;
  const spotChecks = { steps: checks.size, failed };
  if (failed === 0) return { ...found.trajectory, spotChecks };
  const { trajectory } = await trace(request, 'recompute');
  return { ...trajectory, spotChecks, recomputed: true };
}

async function trace(request: TraceRequest, plan: UncachedPlan) {
  const { executor, prompt, strategy, maxNewTokens, ignoreEos, decodeRows } = request;
  const { maxPositions, eosTokenIds } = executor.config;
  const promptLength = prompt.tokens.length;
  const wanted = prompt.continuation ? prompt.continuation.length : maxNewTokens;
  const limit = Math.max(1, Math.min(wanted, maxPositions - promptLength + 1));
  const capacity = promptLength + limit - 1;
  const choose = (logits: FloatArray, step: number) => chooseToken(logits, strategy, { prompt: prompt.id, step });
  const keptRows = Math.max(1, decodeRows);
  const arm = (name: ArmName, made: Arm) => new Tracer(executor, name, made, request.keep, keptRows, choose);

  const uncached = arm('uncached', Arm.uncached(executor, capacity, plan, Math.max(2, decodeRows)));
  const cached = arm('cached', (request.cachedArm ?? ((rows) => Arm.cached(executor, rows, decodeRows)))(capacity));
  const tracers = [uncached, cached];
  if (request.rewrite) tracers.push(arm('cached-rewrite', Arm.cached(executor, capacity, decodeRows + 1)));
  const tokens = [...prompt.tokens];
  for (let step = 0; step < limit; step++) {
    for (const tracer of tracers) await tracer.step(tokens);
    const next = prompt.continuation ? prompt.continuation[step] : uncached.steps[step].token;
    tokens.push(next);
    if (prompt.continuation === null && !ignoreEos && eosTokenIds.includes(next)) break;
  }
  const trajectory: Trajectory = {
    ...{ prompt, promptLength, tokens, choose, cached, uncached },
    steps: uncached.steps.length,
    arms: new Map(tracers.map((tracer) => [tracer.name, tracer])),
    spotChecks: { steps: 0, failed: 0 },
    recomputed: false,
  };
  return { trajectory, uncachedCache: uncached.cache };
}

/** Runs one arm and keeps what patching needs of it. */
class Tracer implements ArmTrace {
  readonly name: ArmName;
  readonly steps: TracedStep[] = [];
  private readonly executor: Executor;
  private readonly arm: Arm;
  private readonly log: CacheLog;
  private readonly capture: Capture;
  private readonly keptRows: number;
  private readonly choose: Trajectory['choose'];

  constructor(
    executor: Executor,
    name: ArmName,
    arm: Arm,
    keep: ReadonlySet<string> | undefined,
    keptRows: number,
    choose: Trajectory['choose'],
  ) {
    this.executor = executor;
    this.name = name;
    this.arm = arm;
    this.log = new CacheLog(executor, arm.cache);
    const hooks = [...(keep ?? [])].filter((hook) => !isCacheHook(hook));
    this.capture = hooks.length === 0 ? captureNothing : { hooks: new Set(hooks) };
    this.keptRows = keptRows;
    this.choose = choose;
  }

  get cache(): KVCache {
    return this.arm.cache;
  }

  get changedRows(): number {
    return this.log.changedRows;
  }

  history(n: number): KVCache {
    return this.name === 'uncached' ? this.after(n) : this.log.before(n);
  }

  after(n: number): KVCache {
    return this.log.before(n + 1);
  }

  async step(tokens: readonly number[]): Promise<void> {
    const at = this.steps.length;
    const found = at === 0 ? await this.arm.prefill(tokens, this.capture) : await this.arm.step(tokens, this.capture);
    const { n, logits } = found;
    this.arm.prepare(n + 1);
    this.log.observe(n);
    this.steps.push({ n, logits, token: this.choose(logits, at), rows: this.kept(found) });
  }

  private kept({ activations }: ArmStep): Activations {
    const rows: Activations = new Map();
    for (const [name, activation] of activations) {
      const hook = findHook(name, this.executor.config);
      if (hook && this.capture.hooks.has(name)) rows.set(name, newestRows(hook, activation, this.keptRows));
    }
    return rows;
  }
}
