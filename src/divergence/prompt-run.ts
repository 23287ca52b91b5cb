/**
 * One prompt through its arms. Passes are made step by step; on a tape (`model/tape.ts`) the same code runs once per stage,
 * and what a step compares is collected over the stages.
 */

import { UsageError } from '../errors.ts';
import { Arm } from '../model/arms.ts';
import type { FloatArray } from '../model/arrays.ts';
import { captureNothing } from '../model/executor.ts';
import { forwardBytes, mostForwardBytes } from '../model/forward-rows.ts';
import type { StopReason } from '../study/unit/unit-summary.ts';
import { CandidateRows } from './candidates.ts';
import { Choices, type Decisions } from './choices.ts';
import { addNonfinite, HookSteps } from './hook-steps.ts';
import { flipRateBound, totalVariationAt } from './metrics/logits.ts';
import { OrderMatchedCount } from './order-matched.ts';
import { type ChooseToken, goOn, runOrderMatched, type Text } from './own-text.ts';
import type { PromptInput, PromptPlan, PromptRunOptions } from './prompt-options.ts';
import type { CandidateRecord, PromptResult, StepRecord } from './rows.ts';
import { spotCheck, spotCheckForward } from './spot-check.ts';
import { stepRecord } from './step-record.ts';
import { TextEnd } from './text-end.ts';
import { addTruthErrors, noReferences } from './truth-errors.ts';

export type { PromptInput, PromptPlan, PromptRunOptions } from './prompt-options.ts';

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
  private readonly end: TextEnd;
  private readonly choices: Choices;
  /** Null where logits alone are compared. */
  private readonly hooks: HookSteps | null;
  private readonly limit: number;
  private readonly capacity: number;
  /** By step, of those that have logits. */
  private readonly records: (StepRecord | null)[] = [];
  private readonly checked = new Map<number, boolean>();
  private readonly matched = new OrderMatchedCount();
  private readonly temperatures: PromptResult['temperatures'];
  private forced: number[] = [];
  private uncachedLogits: readonly FloatArray[] = [];
  private freeRunningSteps: StepRecord[] = [];
  private candidates: readonly CandidateRecord[] = [];
  private stop: StopReason = 'limit';
  /** Texts of the arms that part from the uncached one. */
  private cachedText: Text | null = null;
  private matchedText: Text | null = null;

  /** @throws UsageError for padding where hooks are compared, InputError for stop sequences without a tokenizer. */
  constructor(options: PromptRunOptions, prompt: PromptInput, plan: PromptPlan) {
    const { executor, maxNewTokens, compare = 'all', padding = 0, coupling = 'keyed', temperatures = [] } = options;
    const { maxPositions, eosTokenIds } = executor.config;
    if (padding > 0 && compare === 'all')
      throw new UsageError(`padding: found ${padding} with every hook compared, expected the logits alone`);
    this.options = options;
    this.prompt = prompt;
    // The last token that is decided is never run, so it needs no row.
    const wanted = prompt.continuation ? prompt.continuation.length : maxNewTokens;
    const room = maxPositions - prompt.tokens.length + 1;
    this.limit = Math.max(1, Math.min(wanted, room));
    this.capacity = prompt.tokens.length + this.limit - 1;
    this.end = new TextEnd({
      endTokens: options.ignoreEos ? [] : eosTokenIds,
      ...{ limit: this.limit, atContext: room < wanted, stop: options.stop ?? [] },
      tokenizer: executor.options.checkpoint.tokenizer,
    });
    this.choices = new Choices(options.strategy, prompt.id, coupling);
    this.hooks = compare === 'all' ? new HookSteps(options, prompt) : null;
    this.temperatures = temperatures.map((temperature) => ({ temperature, tv: 0, upper: 0 }));
    this.plan = plan === 'forward' && !this.fitsForward() ? 'stand-in' : plan;
  }

  /** Make every pass of the prompt and compare what it captured. */
  async observe(): Promise<void> {
    const { executor, mode, oracle, references = noReferences } = this.options;
    const { prompt, records } = this;
    const arms = this.newArms();
    this.forced = await this.teacherForced(arms);
    this.uncachedLogits = arms.uncachedLogits;
    const { forced } = this;
    const promptLength = prompt.tokens.length;
    const { cachedLogits: cached, uncachedLogits: uncached } = arms;
    const free = mode !== 'teacher-forced' && prompt.continuation === null;
    const ran = { executor, cache: arms.uncached.cache, forced, id: prompt.id, promptLength, logits: uncached };
    if (this.plan === 'forward') this.tally(await spotCheckForward(ran));
    const spot = this.plan === 'stand-in' ? await spotCheck(ran) : null;
    if (spot) this.tally(spot.equal);
    await this.countOrderMatched(arms, spot?.matched ?? null, free);
    await addTruthErrors({ forced, promptLength, records, cached, uncached }, { oracle, references });
    if (free) await this.freeRunning(arms);
  }

  /**
   * Order-matched decoding: two rows per step under the prefill's kernel, in the state of the cached arm – its faults and its
   * padding –, so that the two arms differ in the order of their sums alone.
   * @param checked what checking the stand-in counted: it decodes like this, as long as nothing is wrong with the state
   */
  private async countOrderMatched(arms: Arms, checked: OrderMatchedCount | null, free: boolean): Promise<void> {
    const { executor, orderMatched = false, faults = [], padding = 0 } = this.options;
    if (!orderMatched) return;
    if (checked && faults.length === 0 && padding === 0) {
      this.matched.add(checked);
      return;
    }
    const arm = Arm.cached(executor, this.capacity, 2, { kernel: 'prefill', faults, padding });
    const ran = {
      ...{ arm: arms.uncached, layers: executor.blocks, forced: this.forced },
      ...{ promptLength: this.prompt.tokens.length, logits: arms.uncachedLogits },
    };
    const own = free ? { end: this.end, choices: this.choices } : null;
    this.matchedText = await runOrderMatched(arm, ran, this.matched, own);
  }

  /** @param checks by length, whether the stand-in was right (on a tape: at its stage) */
  private tally(checks: ReadonlyMap<number, boolean>): void {
    for (const [n, equal] of checks) this.checked.set(n, equal && (this.checked.get(n) ?? true));
  }

  /** Everything found, in the order of the steps. */
  conclude(): PromptResult {
    const { prompt, checked, cachedText, stop } = this;
    const onlyFree = this.options.mode === 'free-running';
    const tokensUncached = this.forced.slice(prompt.tokens.length);
    const found = this.hooks?.conclude() ?? {
      ...{ layers: [], activations: [], origins: [], nonfinite: this.nonfiniteLogits() },
    };
    const { orderMatched = false } = this.options;
    return {
      index: prompt.index,
      prompt: prompt.id,
      steps: [...(onlyFree ? [] : this.forcedSteps()), ...this.freeRunningSteps],
      ...found,
      layers: onlyFree ? [] : found.layers,
      candidates: [...this.candidates],
      tokensCached: cachedText?.tokens ?? [...tokensUncached],
      tokensUncached,
      stops: { cached: cachedText?.stop ?? stop, uncached: stop },
      orderMatched: orderMatched
        ? { ...this.matched.found(), ...(this.matchedText ?? { tokens: [...tokensUncached], stop }) }
        : null,
      temperatures: this.temperatures,
      logits: this.options.keepLogits ? this.uncachedLogits : null,
      spotChecks: { steps: checked.size, failed: [...checked.values()].filter((equal) => !equal).length },
      recomputed: this.plan === 'recompute',
    };
  }

  private newArms(): Arms {
    const { executor, decodeRows, faults = [], padding = 0 } = this.options;
    return {
      cached: Arm.cached(executor, this.capacity, decodeRows, { faults, padding }),
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
    const { hooks } = this.hooks?.capture ?? captureNothing;
    if (this.prompt.continuation === null) return false;
    return forwardBytes(executor, executor.policy, hooks, this.capacity) <= mostForwardBytes;
  }

  /** Both arms on the uncached arm's tokens. Returns the forced sequence: prompt and new tokens. */
  private async teacherForced(arms: Arms): Promise<number[]> {
    const { cached, uncached } = arms;
    const { prompt } = this;
    const { continuation } = prompt;
    const tokens = [...prompt.tokens];
    const capture = this.hooks?.capture ?? captureNothing;
    for (let step = 0; step < this.limit; step++) {
      const [u, c] =
        step === 0
          ? [await uncached.prefill(tokens, capture), await cached.prefill(tokens, capture)]
          : [await uncached.step(tokens, capture), await cached.step(tokens, capture)];
      arms.uncachedLogits.push(u.logits);
      arms.cachedLogits.push(c.logits);
      const newest = tokens[tokens.length - 1];
      await this.hooks?.add(step, newest, { arm: uncached, step: u }, { arm: cached, step: c });
      const chosen = u.logits.length > 0 ? this.compareLogits(step, c.n - 1, c.logits, u.logits) : null;
      tokens.push(continuation ? continuation[step] : chosen!.uncached.token);
      if (continuation) continue;
      const stop = this.end.after(tokens.slice(prompt.tokens.length));
      if (stop === null) continue;
      this.stop = stop;
      break;
    }
    return tokens;
  }

  /** The row of one teacher-forced step, and what it adds to the sums by temperature. */
  private compareLogits(step: number, position: number, cached: FloatArray, uncached: FloatArray): Decisions {
    const decisions = this.choices.both(cached, uncached, step);
    const { compute } = this.options.executor;
    const found = { step, position, cached, uncached, decisions, compute };
    const record = stepRecord({ protocol: 'teacher-forced', parted: false, ...found });
    this.records[step] = record;
    if (step === 0 || record.logits.nDiffer === 0) return decisions;
    for (const sums of this.temperatures) {
      const tv = totalVariationAt(sums.temperature, cached, uncached);
      sums.tv += tv;
      sums.upper += flipRateBound(tv);
    }
    return decisions;
  }

  /** The cached arm on its own tokens: the teacher-forced rows up to the first flip, its own continuation after it. */
  private async freeRunning({ cached, cachedLogits, uncachedLogits }: Arms): Promise<void> {
    const { prompt, forced } = this;
    const shared = this.forcedSteps();
    const flip = shared.findIndex((row) => row.flip);
    const common = flip < 0 ? shared : shared.slice(0, flip + 1);
    this.freeRunningSteps = common.map((row) => ({ ...row, protocol: 'free-running' }));
    const rows = new CandidateRows(this.options.candidates ?? 'none', flip);
    // The uncached arm's own text is the forced one, to its end.
    for (const { step, tokenUncached } of shared) rows.add(step, 'uncached', uncachedLogits[step], tokenUncached);
    for (const { step, tokenCached } of common) rows.add(step, 'cached', cachedLogits[step], tokenCached);
    this.candidates = rows.found;
    if (flip < 0) return;

    const length = prompt.tokens.length + flip;
    const own = [...forced.slice(0, length), shared[flip].tokenCached];
    const { compute } = this.options.executor;
    const choose: ChooseToken = (logits, step, position) => {
      const decision = this.choices.of('cached', logits, step);
      rows.add(step, 'cached', logits, decision.token);
      const other = uncachedLogits[step];
      if (other) {
        const decisions = { cached: decision, uncached: this.choices.of('uncached', other, step) };
        const found = { step, position, cached: logits, uncached: other, decisions, compute };
        this.freeRunningSteps.push(stepRecord({ protocol: 'free-running', parted: true, ...found }));
      }
      return decision.token;
    };
    const arm = cached.fork(this.capacity, length);
    this.cachedText = await goOn(arm, own, prompt.tokens.length, { end: this.end, choose });
    this.candidates = rows.found;
  }

  /** Rows of the teacher-forced steps that have logits. */
  private forcedSteps(): StepRecord[] {
    return this.records.flatMap((record, step) =>
      record ? [{ ...record, differs: this.hooks?.differs(step) ?? null }] : [],
    );
  }

  /** What is not finite where no hook is looked at. */
  private nonfiniteLogits(): PromptResult['nonfinite'] {
    const total: PromptResult['nonfinite'] = { elements: 0, nan: 0, hook: null };
    for (const record of this.records) {
      if (!record) continue;
      const { nonfinite: elements, nan } = record.logits;
      addNonfinite(total, { elements, nan, hook: elements > 0 ? 'logits' : null });
    }
    return total;
  }
}
