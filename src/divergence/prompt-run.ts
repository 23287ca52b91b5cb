/**
 * One prompt through both arms. Passes are made step by step; on a tape (`model/tape.ts`) the same code runs once per stage,
 * and what a step compares is collected over the stages.
 */
import { type Hook, hookName, isCacheHook } from '../graph/hooks.ts';
import { activationRecord, rowCount } from '../model/activation-rows.ts';
import { Arm, type ArmStep, type UncachedPlan } from '../model/arms.ts';
import type { FloatArray } from '../model/arrays.ts';
import { captureNothing, type Executor } from '../model/executor.ts';
import type { Fault } from '../model/faults.ts';
import { forwardBytes, mostForwardBytes } from '../model/forward-rows.ts';
import { chooseToken, processedProbabilities, type Strategy } from '../model/sampling/index.ts';
import { type CaptureSets, captureSetsOf } from './capture-sets.ts';
import { type ArmAtStep, compareStep, type HookComparison, stepDiffers } from './compare.ts';
import { attribute, type LayerAttribution, layerOutputs } from './counterfactual.ts';
import { compareLogits, oracleErrors, totalVariation } from './metrics/logits.ts';
import { findOrigins } from './operations.ts';
import { oracleLogits } from './oracle.ts';
import { originOf } from './origins.ts';
import type { ArmActivation, LayerRecord, PromptResult, StepRecord } from './rows.ts';
import { spotCheck, spotCheckForward } from './spot-check.ts';
import type { Origin } from './summary.ts';

/**
 * How the uncached arm of a prompt is computed. `forward`, where gates null and prefix hold: tokens that are given in one
 * forward if what it captures fits into memory, other prompts through the stand-in.
 */
export type PromptPlan = UncachedPlan | 'forward';

/** What every prompt of a run shares. */
export interface PromptRunOptions {
  executor: Executor;
  /** The run's float64 oracle, or null. */
  oracle: Executor | null;
  strategy: Strategy;
  /** Hooks whose comparison becomes rows of layers.arrow. */
  hooks: readonly Hook[];
  mode: 'teacher-forced' | 'free-running' | 'both';
  decodeRows: number;
  maxNewTokens: number;
  ignoreEos: boolean;
  uncachedPlan: PromptPlan;
  saveActivations: boolean;
  /** Planted in the cached arm. */
  faults?: readonly Fault[];
}

/** A prompt with its forced continuation, if any. */
export interface PromptInput {
  id: string;
  index: number;
  tokens: readonly number[];
  /** Forced next tokens (teacher-forced only); null: the uncached arm chooses. */
  continuation: readonly number[] | null;
}

/** Run one prompt. If a spot check finds the stand-in wrong, its rows are discarded and the prompt is recomputed in full. */
export async function runPrompt(options: PromptRunOptions, prompt: PromptInput): Promise<PromptResult> {
  const run = new PromptRun(options, prompt, options.uncachedPlan);
  await run.observe();
  const result = run.conclude();
  if (result.spotChecks.failed === 0 || result.recomputed) return result;
  const honest = new PromptRun(options, prompt, 'recompute');
  await honest.observe();
  return { ...honest.conclude(), spotChecks: result.spotChecks };
}

/** What one teacher-forced step has found so far. */
interface StepFindings {
  differs: boolean;
  /** Whether the residual stream differs where a stage hands it to the next, by hook. */
  handedOn: Map<string, boolean>;
  layers: { record: LayerRecord; asked: boolean }[];
  origins: Origin[];
  nonfinite: PromptResult['nonfinite'];
  activations: ArmActivation[];
  /** Of the step that has logits. */
  record: StepRecord | null;
}

/** Both arms at the stage at hand, and the logits of their steps. */
interface Arms {
  cached: Arm;
  uncached: Arm;
  cachedLogits: FloatArray[];
  uncachedLogits: FloatArray[];
}

/** `observe` makes the passes, on a tape once per stage; `conclude` then says what was found. */
export class PromptRun {
  private readonly options: PromptRunOptions;
  private readonly prompt: PromptInput;
  private readonly plan: PromptPlan;
  private readonly sets: CaptureSets;
  private readonly limit: number;
  private readonly capacity: number;
  private readonly steps: StepFindings[] = [];
  private readonly checked = new Map<number, boolean>();
  private forced: number[] = [];
  private freeRunningSteps: StepRecord[] = [];
  private tokensCached: number[] | null = null;

  constructor(options: PromptRunOptions, prompt: PromptInput, plan: PromptPlan) {
    const { executor, maxNewTokens } = options;
    const { maxPositions } = executor.config;
    this.options = options;
    this.prompt = prompt;
    // The last token that is decided is never run, so it needs no row.
    const wanted = prompt.continuation ? prompt.continuation.length : maxNewTokens;
    this.limit = Math.max(1, Math.min(wanted, maxPositions - prompt.tokens.length + 1));
    this.capacity = prompt.tokens.length + this.limit - 1;
    this.sets = captureSetsOf(options);
    this.plan = plan === 'forward' && !this.fitsForward() ? 'stand-in' : plan;
  }

  /** Make every pass of the prompt and compare what it captured. */
  async observe(): Promise<void> {
    const { executor, mode } = this.options;
    const arms = this.newArms();
    this.forced = await this.teacherForced(arms);
    if (this.plan !== 'recompute') {
      const { id, tokens } = this.prompt;
      const checks = await (this.plan === 'forward' ? spotCheckForward : spotCheck)({
        ...{ executor, cache: arms.uncached.cache, forced: this.forced, id, promptLength: tokens.length },
        logits: arms.uncachedLogits,
      });
      for (const [n, equal] of checks) this.checked.set(n, equal && (this.checked.get(n) ?? true));
    }
    await this.addOracleErrors(arms);
    if (mode !== 'teacher-forced' && this.prompt.continuation === null) await this.freeRunning(arms);
  }

  /** Everything found, in the order of the steps. */
  conclude(): PromptResult {
    const { prompt, steps, checked } = this;
    const first = steps.find(({ origins }) => origins.length > 0);
    const onlyFree = this.options.mode === 'free-running';
    const nonfinite: PromptResult['nonfinite'] = { elements: 0, nan: 0, hook: null };
    for (const step of steps) addNonfinite(nonfinite, step.nonfinite);
    const forcedSteps = steps.flatMap(({ record, differs }) => (record ? [{ ...record, differs }] : []));
    const tokensUncached = this.forced.slice(prompt.tokens.length);
    return {
      index: prompt.index,
      prompt: prompt.id,
      steps: [...(onlyFree ? [] : forcedSteps), ...this.freeRunningSteps],
      // What was asked for, and the operations named as the first divergence.
      layers: onlyFree
        ? []
        : steps.flatMap((step) =>
            step.layers.filter(({ asked }) => asked || step === first).map(({ record }) => record),
          ),
      activations: steps.flatMap(({ activations }) => activations),
      tokensCached: this.tokensCached ?? [...tokensUncached],
      tokensUncached,
      origins: first?.origins ?? [],
      nonfinite,
      spotChecks: { steps: checked.size, failed: [...checked.values()].filter((equal) => !equal).length },
      recomputed: this.plan === 'recompute',
    };
  }

  private newArms(): Arms {
    const { executor, decodeRows, faults } = this.options;
    return {
      cached: Arm.cached(executor, this.capacity, decodeRows, faults === undefined ? {} : { faults }),
      uncached: this.uncachedArm(Math.max(2, decodeRows)),
      cachedLogits: [],
      uncachedLogits: [],
    };
  }

  private uncachedArm(rows: number): Arm {
    const { executor } = this.options;
    const { tokens, continuation } = this.prompt;
    if (this.plan !== 'forward') return Arm.uncached(executor, this.capacity, this.plan, rows);
    // One token more than is read, where the context has room: the last step's check is then no repetition of the forward.
    const given = [...tokens, ...(continuation ?? [])].slice(0, executor.config.maxPositions);
    return Arm.ofForward(executor, given, rows);
  }

  private fitsForward(): boolean {
    const { executor } = this.options;
    const { hooks } = this.sets.all;
    if (this.prompt.continuation === null) return false;
    return forwardBytes(executor, executor.policy, hooks, this.capacity) <= mostForwardBytes;
  }

  /** Both arms on the uncached arm's tokens. Returns the forced sequence: prompt and new tokens. */
  private async teacherForced(arms: Arms): Promise<number[]> {
    const { cached, uncached } = arms;
    const { prompt } = this;
    const tokens = [...prompt.tokens];
    for (let step = 0; step < this.limit; step++) {
      const capture = this.sets.all;
      const [u, c] =
        step === 0
          ? [await uncached.prefill(tokens, capture), await cached.prefill(tokens, capture)]
          : [await uncached.step(tokens, capture), await cached.step(tokens, capture)];
      arms.uncachedLogits.push(u.logits);
      arms.cachedLogits.push(c.logits);
      await this.compare(step, tokens[tokens.length - 1], { arm: uncached, step: u }, { arm: cached, step: c });
      const next = prompt.continuation ? prompt.continuation[step] : this.choose(u.logits, step);
      tokens.push(next);
      if (prompt.continuation === null && this.ends(next)) break;
    }
    return tokens;
  }

  /** Compare one step's captured hooks, and its logits where the pass had any. */
  private async compare(step: number, newest: number, left: ArmAtStep, right: ArmAtStep): Promise<void> {
    const { options, sets } = this;
    const [uncached, cached] = [left.step, right.step];
    this.steps[step] ??= newFindings();
    const findings = this.steps[step];
    // Every hook, whatever was asked for: whether a step differs must not depend on what is written.
    const { slidingWindows } = options.executor.config;
    // Once an earlier step has an origin, this one is not the first, at no stage.
    const found = this.steps.slice(0, step).some(({ origins }) => origins.length > 0);
    const captured = ({ name }: Hook) => cached.activations.has(name);
    const detailed = (found ? sets.afterOrigin : sets.allHooks).filter(captured);
    const compared = compareStep(detailed, cached, uncached, slidingWindows);
    const differs =
      compared.some((item) => item.statistics.n_differ > 0) ||
      (found && stepDiffers(sets.otherCacheRows.filter(captured), cached, uncached, slidingWindows));
    findings.differs ||= differs;
    if (differs && !found) findings.origins.push(...this.origins(step, compared, cached, uncached));
    for (const { hook, statistics } of compared) {
      if (hook.definition.kind === 'embed' || hook.definition.kind === 'resid_post')
        findings.handedOn.set(hook.name, statistics.n_differ > 0);
    }
    countNonfinite(findings.nonfinite, compared);
    await this.addLayers(step, left, right, compared);
    if (uncached.logits.length > 0) {
      const tokens = [cached, uncached].map(({ logits }) => this.choose(logits, step));
      findings.record = this.stepRecord('teacher-forced', step, cached.n - 1, cached.logits, uncached.logits, tokens);
    }
    if (options.saveActivations) this.saveActivations(step, newest, uncached, cached);
  }

  /** Rows of layers.arrow: the hooks that were asked for, and those that may turn out to be the first divergence. */
  private async addLayers(
    step: number,
    uncached: ArmAtStep,
    cached: ArmAtStep,
    compared: readonly HookComparison[],
  ): Promise<void> {
    const { executor, mode, hooks } = this.options;
    const attribution = new Map<string, LayerAttribution>();
    if (step > 0 && mode !== 'free-running') {
      for (const layer of executor.blocks) {
        const outputs = await layerOutputs(executor, layer, uncached, cached);
        attribution.set(hookName('resid_post', layer), attribute(outputs));
      }
    }
    const findings = this.steps[step];
    const wanted = new Set(hooks.map((hook) => hook.name));
    const named = new Set(findings.origins.map((origin) => origin.hook));
    for (const { hook, dtype, statistics } of compared) {
      const asked = wanted.has(hook.name);
      if (!asked && !named.has(hook.name)) continue;
      const parts = attribution.get(hook.name);
      const record: LayerRecord = {
        step,
        position: cached.step.n - 1,
        layer: hook.layer,
        hook: hook.name,
        kind: hook.definition.kind,
        dtype,
        statistics,
        added: parts?.added ?? null,
        viaHistory: parts?.viaHistory ?? null,
        viaResidual: parts?.viaResidual ?? null,
      };
      findings.layers.push({ record, asked });
    }
  }

  private stepRecord(
    protocol: StepRecord['protocol'],
    step: number,
    position: number,
    cached: FloatArray,
    uncached: FloatArray,
    [tokenCached, tokenUncached]: readonly number[],
  ): StepRecord {
    const { strategy } = this.options;
    return {
      protocol,
      step,
      position,
      tokenCached,
      tokenUncached,
      flip: tokenCached !== tokenUncached,
      differs: null,
      divergedBefore: false,
      logits: compareLogits(cached, uncached, this.options.executor.compute),
      tvProcessed:
        strategy.kind === 'greedy'
          ? null
          : totalVariation(processedProbabilities(cached, strategy), processedProbabilities(uncached, strategy)),
      errorCached: null,
      errorUncached: null,
      errorCosine: null,
    };
  }

  private origins(step: number, compared: readonly HookComparison[], cached: ArmStep, uncached: ArmStep): Origin[] {
    const { prompt, steps, sets, options } = this;
    const byName = new Map(compared.map((item) => [item.hook.name, item]));
    const differs = (name: string) => {
      const item = byName.get(name);
      return item ? item.statistics.n_differ > 0 : (steps[step].handedOn.get(name) ?? null);
    };
    return findOrigins(sets.allHooks, options.executor.config, differs).map((hook) =>
      originOf({ prompt, step, compared: byName.get(hook.name)!, cached, uncached, model: options.executor.config }),
    );
  }

  private async addOracleErrors({ cachedLogits, uncachedLogits }: Arms): Promise<void> {
    const { oracle, executor } = this.options;
    if (!oracle) return;
    const first = this.prompt.tokens.length - 1;
    const { vocabSize } = executor.config;
    const truth = await oracleLogits(oracle, this.forced.slice(0, -1), first);
    if (!truth) return;
    this.steps.forEach(({ record }, step) => {
      if (!record) return;
      const exact = truth.subarray(step * vocabSize, (step + 1) * vocabSize);
      const errors = oracleErrors(cachedLogits[step], uncachedLogits[step], exact);
      record.errorCached = errors.cached;
      record.errorUncached = errors.uncached;
      record.errorCosine = errors.cosine;
    });
  }

  /** The cached arm on its own tokens: the teacher-forced rows up to the first flip, its own continuation after it. */
  private async freeRunning({ cached, uncachedLogits }: Arms): Promise<void> {
    const { prompt, forced } = this;
    const shared = this.steps.flatMap(({ record, differs }) => (record ? [{ ...record, differs }] : []));
    const flip = shared.findIndex((row) => row.flip);
    const common = flip < 0 ? shared : shared.slice(0, flip + 1);
    this.freeRunningSteps = common.map((row) => ({ ...row, protocol: 'free-running' }));
    if (flip < 0) return;

    const own = [...forced.slice(0, prompt.tokens.length + flip), shared[flip].tokenCached];
    const arm = cached.fork(this.capacity, prompt.tokens.length + flip);
    for (let step = flip + 1; step < this.limit && !this.ends(own[own.length - 1]); step++) {
      const { logits } = await arm.step(own, captureNothing);
      const token = this.choose(logits, step);
      const other = uncachedLogits[step];
      if (other) {
        const tokens = [token, shared[step].tokenUncached];
        const row = this.stepRecord('free-running', step, own.length - 1, logits, other, tokens);
        this.freeRunningSteps.push({ ...row, flip: null, divergedBefore: true });
      }
      own.push(token);
    }
    this.tokensCached = own.slice(prompt.tokens.length);
  }

  private saveActivations(step: number, token: number, uncached: ArmStep, cached: ArmStep): void {
    for (const hook of this.options.hooks) {
      if (isCacheHook(hook.name)) continue;
      for (const [arm, source] of [['cached', cached] as const, ['uncached', uncached] as const]) {
        const activation = source.activations.get(hook.name);
        if (!activation) continue;
        const place = { step, position: source.n - 1, token };
        const newest = rowCount(hook, activation) - 1;
        this.steps[step].activations.push({ arm, ...activationRecord(hook, activation, newest, place) });
      }
    }
  }

  private choose(logits: FloatArray, step: number): number {
    return chooseToken(logits, this.options.strategy, { prompt: this.prompt.id, step });
  }

  private ends(token: number): boolean {
    return !this.options.ignoreEos && this.options.executor.config.eosTokenIds.includes(token);
  }
}

function newFindings(): StepFindings {
  return {
    differs: false,
    handedOn: new Map(),
    layers: [],
    origins: [],
    nonfinite: { elements: 0, nan: 0, hook: null },
    activations: [],
    record: null,
  };
}

/** The row of every hook counts once; masked scores are −Infinity on purpose. */
function countNonfinite(total: PromptResult['nonfinite'], compared: readonly HookComparison[]): void {
  for (const { hook, statistics } of compared) {
    if (isCacheHook(hook.name)) continue;
    const elements = hook.definition.kind === 'attn.attn_scores' ? statistics.nan : statistics.nonfinite;
    addNonfinite(total, { elements, nan: statistics.nan, hook: elements > 0 ? hook.name : null });
  }
}

function addNonfinite(total: PromptResult['nonfinite'], { elements, nan, hook }: PromptResult['nonfinite']): void {
  total.elements += elements;
  total.nan += nan;
  total.hook ??= hook;
}
