/** One prompt under one condition: every arm, what the logits say, and where the study asks for it layers and patches. */
import { runPrompt } from '../../divergence/prompt-run.ts';
import { promptInput } from '../../divergence/prompt-runner.ts';
import type { PromptResult } from '../../divergence/rows.ts';
import { candidateColumns, layerColumns, stepColumns } from '../../divergence/run-tables.ts';
import { newText, TextEnd } from '../../divergence/text-end.ts';
import type { Fault } from '../../model/faults.ts';
import type { Strategy } from '../../model/sampling/index.ts';
import { rowValues } from '../../store/row-values.ts';
import { extractAnswer, isCorrect } from '../answers/index.ts';
import { type PlaceboArms, type PlaceboArmsRequest, placeboArms, placeboSeeds } from '../placebo/index.ts';
import { explainFlip } from './explain-flip.ts';
import { largestDrift, leansFurther } from './own-placebo.ts';
import { patchUnit } from './patch-unit.ts';
import { isPlanted } from './planted.ts';
import { summarise } from './step-sums.ts';
import type { PromptJob, PromptUnit, UnitConfig, UnitSettings } from './unit.ts';
import type { Answer, AnswerArm, PlaceboSummary, StopReason, UnitSummary } from './unit-summary.ts';
import type { GroupBench } from './workbench.ts';

/** Run one unit. */
export async function runPromptUnit(config: UnitConfig, bench: GroupBench, job: PromptJob): Promise<PromptUnit> {
  const { settings } = config;
  const condition = config.conditions[job.condition];
  const { strategy, coupling, padding, strategyName } = condition;
  const { executor, oracle, references } = bench;
  const { decodeRows, maxNewTokens, ignoreEos, temperatures } = settings;
  const { prompt, uncachedPlan } = job;
  const profiled = padding === 0 && prompt.index < settings.profile.prompts;
  const planted = settings.plant !== null && isPlanted(prompt.id, settings.plant.share);
  const faults: readonly Fault[] = planted && settings.plant ? settings.plant.faults : [];
  const result = await runPrompt(
    {
      ...{ executor, oracle, references, strategy, coupling, padding, decodeRows, maxNewTokens, ignoreEos },
      ...{ uncachedPlan, faults, temperatures, stop: settings.answers.stop, mode: 'both', saveActivations: false },
      ...{ orderMatched: settings.arms.includes('order-matched'), keepLogits: true, candidates: 'flip' },
      hooks: profiled ? bench.profileHooks : [],
      compare: profiled ? 'all' : 'logits',
    },
    promptInput(prompt),
  );
  const placebo = await runPlacebo(settings, bench, job, {
    ...{ result, strategy, release: config.releasePlacebo },
    isInterrupted: () => Atomics.load(config.interruption, 0) !== 0,
  });
  const patches =
    padding === 0 && prompt.index < settings.patching.prompts && settings.patching.strategies.includes(strategyName);
  const patched = patches ? await patchUnit(bench, { settings, strategy, uncachedPlan, faults }, prompt) : null;
  const answers = answersOf(settings, bench, result, prompt.gold);
  const summary: UnitSummary = {
    ...{ condition: condition.index, index: prompt.index, prompt: prompt.id, promptTokens: prompt.tokens.length },
    ...summarise(result),
    ...{ answers, placebo: placebo?.summary ?? null, cells: patched?.sums ?? null, planted },
  };
  const leans = leansFurther(summary.flips.at(0), largestDrift(summary.placebo));
  return {
    ...{ kind: 'prompt', unit: job.unit, summary, checks: patched?.checks ?? null },
    rows: {
      ...rowsOf(result),
      patches: (patched?.rows ?? []).map((row) => rowValues('patches', row)),
      answers: answers.map(({ arm, tokens, text, answer, correct, stop }) =>
        rowValues('answers', { arm, tokens, text: text ?? '', answer, correct, stop }),
      ),
      placebo: placebo?.rows ?? [],
    },
    explained: leans ? await explainFlip(bench, { job, result, strategy, decodeRows, faults }) : null,
  };
}

/** Text, answer and verdict of each arm. */
function answersOf(
  { arms, answers }: UnitSettings,
  { executor }: GroupBench,
  result: PromptResult,
  gold: string | null,
): Answer[] {
  const { tokenizer } = executor.options.checkpoint;
  const answer = (arm: AnswerArm, tokens: readonly number[], stop: StopReason): Answer => {
    const text = tokenizer === null ? null : newText(tokenizer, tokens, answers.stop);
    const found = text === null ? null : extractAnswer(text, answers.extract);
    return {
      ...{ arm, tokens: [...tokens], text, answer: found, stop },
      correct: gold === null || text === null ? null : isCorrect(found, gold),
    };
  };
  const { stops, orderMatched: matched } = result;
  const made: Answer[] = [
    answer('cached', result.tokensCached, stops.cached),
    answer('uncached', result.tokensUncached, stops.uncached),
    ...(matched ? [answer('order-matched', matched.tokens, matched.stop)] : []),
  ];
  return made.filter(({ arm }) => arms.includes(arm));
}

/** Rows of what the prompt's run measured. */
function rowsOf(result: PromptResult): Pick<PromptUnit['rows'], 'steps' | 'candidates' | 'layers' | 'temperatures'> {
  const firstFlip = result.steps.find(({ protocol, flip }) => protocol === 'free-running' && flip)?.step ?? Infinity;
  // Up to the first flip the rows of both protocols are the same: one of them is written.
  const steps = result.steps.filter(({ protocol, step }) => protocol === 'teacher-forced' || step >= firstFlip);
  const counted = result.steps.filter(({ protocol, step }) => protocol === 'teacher-forced' && step > 0).length;
  return {
    steps: steps.map((row) => rowValues('steps', stepColumns(row))),
    candidates: result.candidates.map((row) => rowValues('candidates', candidateColumns(row))),
    layers: result.layers.map((row) => rowValues('layers', layerColumns(row))),
    temperatures: result.temperatures.map((row) => rowValues('temperatures', { ...row, steps: counted })),
  };
}

/** The permuted arms, judged; null where the condition has none. */
async function runPlacebo(
  { placebo, answers, maxNewTokens, ignoreEos }: UnitSettings,
  { executor }: GroupBench,
  { prompt, classes, placeboPlan }: PromptJob,
  {
    result,
    strategy,
    ...control
  }: { result: PromptResult; strategy: Strategy } & Pick<PlaceboArmsRequest, 'release' | 'isInterrupted'>,
): Promise<{ summary: PlaceboSummary; rows: unknown[][] } | null> {
  const logits = result.logits;
  if (classes.length === 0 || logits === null || prompt.index >= (placebo.prompts ?? Infinity)) return null;
  const { checkpoint } = executor.options;
  const { maxPositions, eosTokenIds } = executor.config;
  const room = maxPositions - prompt.tokens.length + 1;
  const end = new TextEnd({
    ...{ endTokens: ignoreEos ? [] : eosTokenIds, limit: Math.max(1, Math.min(maxNewTokens, room)) },
    ...{ atContext: room < maxNewTokens, stop: answers.stop, tokenizer: checkpoint.tokenizer },
  });
  const seeds = placeboSeeds(placebo, executor.options.policy);
  const found: PlaceboArms = await placeboArms(executor, {
    ...{ id: prompt.id, tokens: [...prompt.tokens, ...result.tokensUncached], promptLength: prompt.tokens.length },
    ...{ logits, strategy, classes, seeds, plan: placeboPlan, maxNewTokens, ends: (made) => end.after(made) !== null },
    ...control,
  });
  const { tokenizer } = checkpoint;
  const correct = found.tokens.map((tokens) =>
    prompt.gold === null || tokenizer === null
      ? null
      : isCorrect(extractAnswer(newText(tokenizer, tokens, answers.stop), answers.extract), prompt.gold),
  );
  return {
    summary: { correct, divergedAt: found.divergedAt, drift: found.drift },
    rows: seeds.map((seed, i) => rowValues('placebo', { seed, correct: correct[i], diverged_at: found.divergedAt[i] })),
  };
}
