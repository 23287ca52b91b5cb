import { type Hook, hookName } from '../graph/hooks.ts';
import { activationRecord, rowCount } from '../model/activation-rows.ts';
import { Arm, type ArmStep, type UncachedPlan } from '../model/arms.ts';
import type { FloatArray } from '../model/arrays.ts';
import { captureNothing, type Executor, isCacheHook } from '../model/executor.ts';
import { chooseToken, processedProbabilities, type Strategy } from '../model/sampling/index.ts';
import { type CaptureSets, captureSets } from './capture-sets.ts';
import { type ArmAtStep, compareStep, firstDifferingHead, type HookComparison, stepDiffers } from './compare.ts';
import { attribute, layerOutputs } from './counterfactual.ts';
import { compareLogits, oracleErrors, totalVariation } from './metrics/logits.ts';
import { describeOperation, findOrigins, readsCache } from './operations.ts';
import { oracleLogits } from './oracle.ts';
import type { PromptResult, StepRecord } from './rows.ts';
import { spotCheck } from './spot-check.ts';
import type { Origin } from './summary.ts';

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
  uncachedPlan: UncachedPlan;
  saveActivations: boolean;
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
  const result = await new PromptRun(options, prompt, options.uncachedPlan).run();
  if (result.spotChecks.failed === 0 || result.recomputed) return result;
  const honest = await new PromptRun(options, prompt, 'recompute').run();
  return { ...honest, spotChecks: result.spotChecks };
}

class PromptRun {
  private readonly options: PromptRunOptions;
  private readonly prompt: PromptInput;
  private readonly plan: UncachedPlan;
  private readonly cached: Arm;
  private readonly uncached: Arm;
  private readonly sets: CaptureSets;
  private readonly result: PromptResult;
  private readonly uncachedLogits: FloatArray[] = [];
  private readonly cachedLogits: FloatArray[] = [];
  private readonly limit: number;

  constructor(options: PromptRunOptions, prompt: PromptInput, plan: UncachedPlan) {
    const { executor, decodeRows, maxNewTokens } = options;
    const { maxPositions } = executor.config;
    this.options = options;
    this.prompt = prompt;
    this.plan = plan;
    // The last token that is decided is never run, so it needs no row.
    const wanted = prompt.continuation ? prompt.continuation.length : maxNewTokens;
    this.limit = Math.max(1, Math.min(wanted, maxPositions - prompt.tokens.length + 1));
    const capacity = prompt.tokens.length + this.limit - 1;
    this.cached = Arm.cached(executor, capacity, decodeRows);
    this.uncached = Arm.uncached(executor, capacity, plan, Math.max(2, decodeRows));
    this.sets = captureSets(options);
    this.result = {
      index: prompt.index,
      prompt: prompt.id,
      steps: [],
      layers: [],
      activations: [],
      tokensCached: [],
      tokensUncached: [],
      origins: [],
      nonfinite: { elements: 0, nan: 0, hook: null },
      spotChecks: { steps: 0, failed: 0 },
      recomputed: plan === 'recompute',
    };
  }

  async run(): Promise<PromptResult> {
    const { result } = this;
    const forced = await this.teacherForced();
    if (this.plan === 'stand-in') {
      const { executor } = this.options;
      const { cache } = this.uncached;
      const { id, tokens } = this.prompt;
      result.spotChecks = await spotCheck({
        ...{ executor, cache, forced, id, promptLength: tokens.length, logits: this.uncachedLogits },
      });
    }
    if (result.spotChecks.failed > 0) return result;
    await this.addOracleErrors(forced);
    if (this.options.mode !== 'teacher-forced' && this.prompt.continuation === null) await this.freeRunning(forced);
    if (this.options.mode === 'free-running') {
      result.steps = result.steps.filter((row) => row.protocol === 'free-running');
      result.layers = [];
    }
    return result;
  }

  /** Both arms on the uncached arm's tokens. Returns the forced sequence: prompt and new tokens. */
  private async teacherForced(): Promise<number[]> {
    const { result, prompt } = this;
    const tokens = [...prompt.tokens];
    for (let step = 0; step < this.limit; step++) {
      const capture = this.sets.all;
      const [u, c] =
        step === 0
          ? [await this.uncached.prefill(tokens, capture), await this.cached.prefill(tokens, capture)]
          : [await this.uncached.step(tokens, capture), await this.cached.step(tokens, capture)];
      const tokenUncached = this.choose(u.logits, step);
      const tokenCached = this.choose(c.logits, step);
      await this.record(
        step,
        tokens[tokens.length - 1],
        { arm: this.uncached, step: u },
        { arm: this.cached, step: c },
        tokenUncached,
        tokenCached,
      );
      const next = prompt.continuation ? prompt.continuation[step] : tokenUncached;
      tokens.push(next);
      if (prompt.continuation === null && this.ends(next)) break;
    }
    result.tokensUncached = tokens.slice(prompt.tokens.length);
    result.tokensCached = [...result.tokensUncached];
    return tokens;
  }

  private async record(
    step: number,
    newest: number,
    uncached: ArmAtStep,
    cached: ArmAtStep,
    tokenUncached: number,
    tokenCached: number,
  ) {
    const { result, options } = this;
    const { layers } = options.executor.config;
    const position = cached.step.n - 1;
    this.uncachedLogits.push(uncached.step.logits);
    this.cachedLogits.push(cached.step.logits);
    // Every hook, whatever was asked for: whether a step differs must not depend on what is written.
    const { slidingWindows } = options.executor.config;
    const found = result.origins.length > 0;
    const detailed = found ? this.sets.afterOrigin : this.sets.allHooks;
    const compared = compareStep(detailed, cached.step, uncached.step, slidingWindows);
    const differs =
      compared.some((item) => item.statistics.n_differ > 0) ||
      (found && stepDiffers(this.sets.otherCacheRows, cached.step, uncached.step, slidingWindows));
    if (differs && result.origins.length === 0)
      result.origins = this.origins(step, compared, cached.step, uncached.step);
    this.countNonfinite(compared);

    const attribution = new Map<string, { added: number; viaHistory: number; viaResidual: number }>();
    if (step > 0 && options.mode !== 'free-running') {
      for (let layer = 0; layer < layers; layer++) {
        const outputs = await layerOutputs(options.executor, layer, uncached, cached);
        attribution.set(hookName('resid_post', layer), attribute(outputs));
      }
    }
    // What was asked for, and the operations named as the first divergence.
    const named = result.origins.filter((origin) => origin.step === step).map((origin) => origin.hook);
    const wanted = new Set([...options.hooks.map((hook) => hook.name), ...named]);
    for (const { hook, dtype, statistics } of compared) {
      if (!wanted.has(hook.name)) continue;
      const parts = attribution.get(hook.name);
      result.layers.push({
        step,
        position,
        layer: hook.layer,
        hook: hook.name,
        kind: hook.definition.kind,
        dtype,
        statistics,
        added: parts?.added ?? null,
        viaHistory: parts?.viaHistory ?? null,
        viaResidual: parts?.viaResidual ?? null,
      });
    }
    result.steps.push(
      this.stepRecord(
        'teacher-forced',
        step,
        position,
        cached.step.logits,
        uncached.step.logits,
        tokenCached,
        tokenUncached,
        differs,
      ),
    );
    if (options.saveActivations) this.saveActivations(step, newest, uncached.step, cached.step);
  }

  /** The row of every hook counts once; masked scores are −Infinity on purpose. */
  private countNonfinite(compared: readonly HookComparison[]): void {
    const { nonfinite } = this.result;
    for (const { hook, statistics } of compared) {
      if (isCacheHook(hook.name)) continue;
      const found = hook.definition.kind === 'attn.attn_scores' ? statistics.nan : statistics.nonfinite;
      nonfinite.elements += found;
      nonfinite.nan += statistics.nan;
      if (found > 0) nonfinite.hook ??= hook.name;
    }
  }

  private stepRecord(
    protocol: StepRecord['protocol'],
    step: number,
    position: number,
    cached: FloatArray,
    uncached: FloatArray,
    tokenCached: number,
    tokenUncached: number,
    differs: boolean | null,
  ): StepRecord {
    const { strategy } = this.options;
    return {
      protocol,
      step,
      position,
      tokenCached,
      tokenUncached,
      flip: tokenCached !== tokenUncached,
      differs,
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
    const byName = new Map(compared.map((item) => [item.hook.name, item]));
    const differs = (name: string) => {
      const item = byName.get(name);
      return item ? item.statistics.n_differ > 0 : null;
    };
    return findOrigins(this.sets.allHooks, differs).map((hook) => {
      const { statistics } = byName.get(hook.name)!;
      const left = cached.activations.get(hook.name)!;
      const right = uncached.activations.get(hook.name)!;
      return {
        prompt: this.prompt.id,
        promptIndex: this.prompt.index,
        step,
        hook: hook.name,
        operation: describeOperation(hook),
        layer: hook.layer,
        head: firstDifferingHead(hook, left, right),
        nDiffer: statistics.n_differ,
        nElements: statistics.n_elements,
        maxUlp: statistics.max_ulp,
        readsCache: readsCache(hook),
      };
    });
  }

  private async addOracleErrors(forced: readonly number[]): Promise<void> {
    const { oracle, executor } = this.options;
    if (!oracle) return;
    const first = this.prompt.tokens.length - 1;
    const { vocabSize } = executor.config;
    const truth = await oracleLogits(oracle, forced.slice(0, -1), first);
    this.result.steps.forEach((row, step) => {
      const exact = truth.subarray(step * vocabSize, (step + 1) * vocabSize);
      const errors = oracleErrors(this.cachedLogits[step], this.uncachedLogits[step], exact);
      row.errorCached = errors.cached;
      row.errorUncached = errors.uncached;
      row.errorCosine = errors.cosine;
    });
  }

  /** The cached arm on its own tokens: the teacher-forced rows up to the first flip, its own continuation after it. */
  private async freeRunning(forced: readonly number[]): Promise<void> {
    const { prompt, result, options } = this;
    const shared = result.steps.slice();
    const flip = shared.findIndex((row) => row.flip);
    const common = flip < 0 ? shared : shared.slice(0, flip + 1);
    for (const row of common) result.steps.push({ ...row, protocol: 'free-running' });
    if (flip < 0) return;

    const own = [...forced.slice(0, prompt.tokens.length + flip), shared[flip].tokenCached];
    const arm = Arm.cached(options.executor, prompt.tokens.length + this.limit - 1, options.decodeRows);
    arm.cache.copyFrom(this.cached.cache, prompt.tokens.length + flip);
    for (let step = flip + 1; step < this.limit && !this.ends(own[own.length - 1]); step++) {
      const { logits } = await arm.step(own, captureNothing);
      const token = this.choose(logits, step);
      const other = this.uncachedLogits[step];
      if (other) {
        const row = this.stepRecord(
          'free-running',
          step,
          own.length - 1,
          logits,
          other,
          token,
          shared[step].tokenUncached,
          null,
        );
        result.steps.push({ ...row, flip: null, divergedBefore: true });
      }
      own.push(token);
    }
    result.tokensCached = own.slice(prompt.tokens.length);
  }

  private saveActivations(step: number, token: number, uncached: ArmStep, cached: ArmStep): void {
    for (const hook of this.options.hooks) {
      if (isCacheHook(hook.name)) continue;
      for (const [arm, source] of [['cached', cached] as const, ['uncached', uncached] as const]) {
        const activation = source.activations.get(hook.name);
        if (!activation) continue;
        const place = { step, position: source.n - 1, token };
        const newest = rowCount(hook, activation) - 1;
        this.result.activations.push({ arm, ...activationRecord(hook, activation, newest, place) });
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
