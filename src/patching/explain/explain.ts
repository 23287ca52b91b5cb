/**
 * Explain one step of one prompt: where its difference comes from, with the evidence and the rule that judged it. The step is
 * run again, alone: what is compared here is computed here, through the same executor as every run.
 */
import { isDeepStrictEqual } from 'node:util';
import { compareStep } from '../../divergence/compare.ts';
import { rowTolerance } from '../../divergence/gates/difference.ts';
import { compareLogits } from '../../divergence/metrics/logits.ts';
import { findOrigins } from '../../divergence/operations.ts';
import { originOf } from '../../divergence/origins.ts';
import type { GateResult, Origin } from '../../divergence/summary.ts';
import type { FloatArray } from '../../model/arrays.ts';
import type { Executor } from '../../model/executor.ts';
import type { Fault } from '../../model/faults.ts';
import { chooseToken, type Strategy } from '../../model/sampling/index.ts';
import { distanceTo } from '../arms/recovery.ts';
import { StepRunner } from '../arms/step.ts';
import type { DriftRecord, ExplainTarget } from './drift-record.ts';
import { explainedHooks, findStateEvent, type Replay, replay, type Snapshot } from './replay.ts';
import { reproduce } from './reproduction.ts';
import { judge } from './rules.ts';
import { stateFault } from './state-fault.ts';
import type { ExplainedArm, ExplainedCell, ExplainedStep, Explanation, OrderMatched, TokenText } from './types.ts';

/** Tokens of context that are shown. */
const contextTokens = 24;
const topTokens = 5;

/** A run that has been made, and the arithmetic that it was made under. */
export interface ExplainOptions {
  executor: Executor;
  /** Prompt tokens of the run, by index. */
  prompts: readonly { id: string; index: number; tokens: readonly number[] }[];
  strategy: Strategy;
  decodeRows: number;
  /** Planted in the cached arm. */
  faults?: readonly Fault[];
  /** The run's gates. */
  gates: readonly GateResult[];
  /** The run's prompts, collected with `add`. */
  record: DriftRecord;
  /** Folder to write the reproduction to; null for none. */
  folder: string | null;
}

/**
 * Explain the first flip of a run (of its first prompt that has one). Without a flip: of the first prompt that differs, the first
 * step whose state is wrong, or the first that differs.
 *
 * @throws InputError if the reproduction's folder cannot be written
 */
export async function explain(options: ExplainOptions): Promise<Explanation> {
  const { executor, gates, record } = options;
  const { decode, prefill } = executor.kernels;
  const facts = {
    ...{ gates, model: executor.config, step: null },
    otherDecodeKernel: !isDeepStrictEqual(decode, prefill),
  };
  const early = judge(facts);
  const { target } = record;
  if (early.cause === 'harness' || target === null) return { verdict: early, step: null };
  const { found, event, tokens, step } = await explainStep(options, target);
  const verdict = judge({ ...facts, step });
  const reproduction = await reproduce({
    executor,
    replay: found,
    event,
    tokens,
    step,
    verdict,
    folder: options.folder,
  });
  return { verdict, step: { ...step, reproduction } };
}

async function explainStep(options: ExplainOptions, target: ExplainTarget) {
  const { executor, decodeRows, faults = [], record, strategy } = options;
  const prompt = options.prompts.find(({ index }) => index === target.promptIndex);
  if (!prompt) throw new Error(`explain: prompt ${target.promptIndex} is not among the prompts`);
  const tokens = [...prompt.tokens, ...target.tokens];
  const promptLength = prompt.tokens.length;
  const { firstOrigin } = target;
  const upTo = (step: number) => ({ executor, tokens, promptLength, step, decodeRows, faults });
  // A flip is explained by what came before it; without one, a fault anywhere in the prompt is what there is to explain.
  const event = await findStateEvent(upTo(target.tokens.length - 1));
  const step = target.flip ? target.step : (event?.step ?? target.step);
  const fault = event === null ? null : await stateFault(executor, tokens, event);
  const found = await replay(upTo(step), firstOrigin?.step ?? step);
  const { cached, honest } = found;
  const choose = (logits: FloatArray) => chooseToken(logits, strategy, { prompt: prompt.id, step });
  const text = (token: number): TokenText => ({
    token,
    text: executor.options.checkpoint.tokenizer?.token(token) ?? null,
  });
  const compared = compareLogits(cached.logits, honest.logits, executor.compute);
  const arm = (logits: FloatArray, { margin, tie }: { margin: number; tie: boolean }): ExplainedArm => ({
    ...text(choose(logits)),
    ...{ margin, tie, top: topLogits(logits).map(({ token, logit }) => ({ ...text(token), logit })) },
  });
  const [c, u] = [arm(cached.logits, compared.cached), arm(honest.logits, compared.uncached)];
  const shift = (token: number) => cached.logits[token] - honest.logits[token];
  const place = { prompt: { id: prompt.id, index: prompt.index }, step };
  const explained: Omit<ExplainedStep, 'reproduction'> = {
    ...{ prompt: prompt.id, promptIndex: prompt.index, step, position: cached.n - 1 },
    flip: c.token !== u.token,
    context: tokens.slice(Math.max(0, cached.n - contextTokens), cached.n).map(text),
    ...{ uncached: u, cached: c },
    drift: {
      l2: compared.l2Centred,
      maxAbs: compared.maxAbs,
      pair: c.token === u.token ? null : shift(c.token) - shift(u.token),
    },
    predicted: record.predict({ ...target, step }, u.margin, executor.config.vocabSize),
    firstOrigin,
    stepOrigin: originsOf(executor, place, cached, honest)[0] ?? null,
    cells: await cellsOf(options, tokens.slice(0, cached.n), prompt.id, found, (logits) => text(choose(logits))),
    orderMatched: compareMatched(executor, place, found),
    state: fault !== null && fault.step <= step ? fault : null,
    later: fault !== null && fault.step > step ? fault : null,
  };
  return { found, event, tokens, step: explained };
}

/** The largest logits, the lower token first where they are equal. */
function topLogits(logits: FloatArray): { token: number; logit: number }[] {
  const all = Array.from(logits, (logit, token) => ({ token, logit }));
  return all.toSorted((a, b) => b.logit - a.logit || a.token - b.token).slice(0, topTokens);
}

function comparisons(executor: Executor, left: Snapshot, right: Snapshot) {
  return compareStep(explainedHooks(executor), left, right, executor.config.slidingWindows);
}

/** Operations whose inputs are equal and whose output is not, at this step. */
function originsOf(
  executor: Executor,
  place: { prompt: { id: string; index: number }; step: number },
  cached: Snapshot,
  uncached: Snapshot,
): Origin[] {
  const compared = new Map(comparisons(executor, cached, uncached).map((item) => [item.hook.name, item]));
  const tolerance = rowTolerance(executor.policy);
  const differs = (name: string) => {
    const statistics = compared.get(name)?.statistics;
    return statistics === undefined
      ? null
      : statistics.n_differ > 0 && !(statistics.rel_l2 <= tolerance && tolerance > 0);
  };
  return findOrigins(explainedHooks(executor), executor.config, differs).map((hook) =>
    originOf({ ...place, compared: compared.get(hook.name)!, cached, uncached, model: executor.config }),
  );
}

function compareMatched(
  executor: Executor,
  place: { prompt: { id: string; index: number }; step: number },
  { matched, honest }: Replay,
): OrderMatched {
  const tolerance = rowTolerance(executor.policy);
  const sums = { differ: 0, elements: 0, exact: true };
  for (const { statistics } of comparisons(executor, matched, honest)) {
    sums.elements += statistics.n_elements;
    sums.differ += statistics.n_differ;
    if (statistics.n_differ > 0 && !(tolerance > 0 && statistics.rel_l2 <= tolerance)) sums.exact = false;
  }
  return { ...sums, first: sums.exact ? null : (originsOf(executor, place, matched, honest)[0] ?? null) };
}

/** The 2×2 of this step: the history that the cached arm read, or the recomputed one, under either kernel. */
async function cellsOf(
  { executor, decodeRows }: ExplainOptions,
  tokens: readonly number[],
  promptId: string,
  { cached, honest }: Replay,
  chosen: (logits: FloatArray) => TokenText,
): Promise<ExplainedCell[]> {
  const runner = new StepRunner(executor, promptId, { decodeRows });
  const cells: ExplainedCell[] = [];
  for (const [history, of] of [['cached', cached] as const, ['recomputed', honest] as const]) {
    for (const kernel of ['decode', 'prefill'] as const) {
      const { logits } = await runner.run({ tokens, history: of.cache, kernel, capacity: tokens.length });
      const { l2, differ } = distanceTo(honest.logits, logits);
      cells.push({ history, kernel, l2, exact: differ === 0, ...chosen(logits) });
    }
  }
  return cells;
}
