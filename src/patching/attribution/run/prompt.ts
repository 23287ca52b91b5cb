/** One prompt of an attribution: its trajectory, then what the spec asks for, all on the same tokens. */
import type { PromptInput } from '../../../divergence/prompt-run.ts';
import type { Place } from '../../../graph/rounding.ts';
import type { UncachedPlan } from '../../../model/arms.ts';
import type { Executor } from '../../../model/executor.ts';
import { loadedBytes } from '../../../model/memory.ts';
import type { Strategy } from '../../../model/sampling/index.ts';
import type { CheckCounts } from '../../arms/checks.ts';
import { type ForcedRun, forcedRunOf } from '../../arms/forced-run.ts';
import { traceArms } from '../../arms/trajectory.ts';
import { changedClasses, flipRates } from '../../nulls/flip-rates.ts';
import { placebo } from '../../nulls/placebo.ts';
import { randomUlp } from '../../nulls/random-ulp.ts';
import { type AttributionSpec, settingsOf } from '../../specification/attribution-spec.ts';
import { type AmplificationRun, measureAmplification } from '../amplification.ts';
import { everySubset, type GameHistory, playClasses } from '../class-game.ts';
import { attributePlaces } from '../rounding-places.ts';
import { type AttributionChecks, noAttributionChecks } from './checks.ts';

/** What every prompt of a run shares. */
export interface AttributionOptions {
  executor: Executor;
  spec: AttributionSpec;
  strategy: Strategy;
  maxNewTokens: number;
  ignoreEos: boolean;
  uncachedPlan: UncachedPlan;
}

/** A null's runs: centred L2 to the uncached arm by seed, then by decode step. */
export interface NullRuns {
  seeds: number[];
  distances: number[][];
}

/** What became of one prompt: plain data. */
export interface AttributedPrompt {
  index: number;
  prompt: string;
  /** New tokens of the uncached arm. */
  tokens: number[];
  /** Decode steps that were looked at. */
  steps: number;
  /** D of each: centred L2 between the cached and the uncached arm. */
  observed: number[];
  /** v(S) of all 64 subsets, Σ over decode steps, by bit mask. */
  classes: { history: GameHistory; worth: number[] }[];
  /** Σ D over decode steps; null where it was not asked for. */
  places: {
    all: number;
    none: number;
    shares: { place: Place; oneIn: number; leaveOneOut: number }[];
  } | null;
  amplification: AmplificationRun | null;
  placebo: (NullRuns & { classes: string[] }) | null;
  randomUlp: (NullRuns & { flipped: number[] }) | null;
  checks: AttributionChecks;
  spotChecks: { steps: number; failed: number };
}

/** Sessions of all subsets are kept from one game to the next for models up to this size, loaded once. */
const keptBytes = 320e6;

/** Run one prompt. */
export async function attributePrompt(options: AttributionOptions, prompt: PromptInput): Promise<AttributedPrompt> {
  const { executor, spec, strategy, ignoreEos, uncachedPlan } = options;
  const { histories, seeds, draws, maxSteps } = settingsOf(spec);
  const continuation = prompt.continuation?.slice(0, maxSteps + 1) ?? null;
  const maxNewTokens = Math.min(options.maxNewTokens, maxSteps + 1);
  const trajectory = await traceArms({
    ...{ executor, prompt: { ...prompt, continuation }, strategy, maxNewTokens, ignoreEos },
    ...{ decodeRows: 1, uncachedPlan },
  });
  const run = forcedRunOf(trajectory);
  const plan = trajectory.recomputed ? 'recompute' : uncachedPlan;
  const checks = noAttributionChecks();
  const found: AttributedPrompt = {
    ...{ index: prompt.index, prompt: prompt.id, tokens: trajectory.tokens.slice(trajectory.promptLength) },
    ...{ steps: run.lengths.length, observed: [...run.observed] },
    ...{ classes: [], places: null, amplification: null, placebo: null, randomUlp: null },
    ...{ checks, spotChecks: trajectory.spotChecks },
  };
  // A prompt that fills the context, or ends with its first token, has nothing to share out.
  if (run.lengths.length === 0) return found;
  const asks = new Set(spec.of);
  if (asks.has('classes')) {
    for (const history of histories) found.classes.push(await classes(executor, run, history, checks['no-class']));
  }
  if (asks.has('places')) {
    const { all, none, shares } = await attributePlaces(executor, run, { plan, check: checks['all-places'] });
    found.places = { all, none, shares };
  }
  if (asks.has('amplification')) {
    const check = checks['layer-replay'];
    found.amplification = await measureAmplification(executor, run, { draws, plan, check });
  }
  if (asks.has('placebo') || asks.has('random-ulp')) {
    const rates = await flipRates(executor, run, checks['no-class']);
    if (asks.has('placebo'))
      found.placebo = await placebo(executor, run, { seeds, classes: changedClasses(rates), plan });
    if (asks.has('random-ulp')) {
      const { distances, flipped } = await randomUlp(executor, run, { seeds, rates });
      found.randomUlp = { seeds, distances, flipped };
    }
  }
  return found;
}

async function classes(executor: Executor, run: ForcedRun, history: GameHistory, check: CheckCounts) {
  const keepSessions = loadedBytes(executor.options.checkpoint, executor.policy) < keptBytes;
  const { worth } = await playClasses(executor, run, history, { keepSessions, check });
  return { history, worth: everySubset.map((subset) => worth.get(subset) ?? Number.NaN) };
}
