/** The unit of a group: its gates, and what its accuracy placebo permutes. */
import { runGates } from '../../divergence/gates/index.ts';
import { runPrompt } from '../../divergence/prompt-run.ts';
import { promptInput } from '../../divergence/prompt-runner.ts';
import { standInHolds } from '../../divergence/stand-in.ts';
import type { GateResult } from '../../divergence/summary.ts';
import type { OperationClass } from '../../graph/kernels.ts';
import { checkPlacebo, placeboClasses, placeboSeeds } from '../placebo/index.ts';
import type { GatesJob, GatesUnit, UnitConfig } from './unit.ts';
import type { GroupBench } from './workbench.ts';

/** Decode steps of each prompt that are looked at. */
const placeboSteps = 24;

/** Measure the gates of a group on its model's first prompt. */
export async function measureGates({ settings }: UnitConfig, bench: GroupBench, job: GatesJob): Promise<GatesUnit> {
  const { executor, group } = bench;
  const { checkpoint, policy, kernels, threads } = executor.options;
  const { decodeRows, placebo } = settings;
  const [prompt] = job.prompts;
  const gates = await runGates({ checkpoint, policy, kernels, threads, decodeRows, prompt });
  const none: GatesUnit = { kind: 'gates', group: group.index, gates, classes: [], placeboPlan: 'forward' };
  if (placeboSeeds(placebo, group.policy).length === 0) return none;
  const plan = standInHolds(policy, gates) ? 'stand-in' : 'recompute';
  const strategy = { kind: 'greedy' } as const;
  const classes = await placeboClasses(executor, job.prompts.map(promptInput), { strategy, steps: placeboSteps, plan });
  if (classes.length === 0) return none;
  const check = await placeboGate(bench, job, classes);
  return { ...none, gates: [...gates, check], classes, placeboPlan: check.passed ? 'forward' : 'recompute' };
}

/** One permuted arm is recomputed in full: what the placebo takes for it must be equal. */
async function placeboGate(bench: GroupBench, { prompts }: GatesJob, classes: OperationClass[]): Promise<GateResult> {
  const { executor } = bench;
  const [prompt] = prompts;
  const strategy = { kind: 'greedy' } as const;
  const maxNewTokens = placeboSteps;
  const { tokensUncached } = await runPrompt(
    {
      ...{ executor, oracle: null, strategy, hooks: [], mode: 'teacher-forced', decodeRows: 1, maxNewTokens },
      ...{ ignoreEos: true, uncachedPlan: 'recompute', saveActivations: false, compare: 'logits' },
    },
    promptInput(prompt),
  );
  const tokens = [...prompt.tokens, ...tokensUncached];
  const ends = (made: readonly number[]) => made.length >= maxNewTokens;
  const { seed, steps, differingSteps, passed } = await checkPlacebo(
    executor,
    { id: prompt.id, tokens, promptLength: prompt.tokens.length, strategy, classes, maxNewTokens, ends },
    1,
  );
  return {
    ...{ name: 'placebo', class: 'identification', passed, status: passed ? 'passed' : 'failed' },
    measured: `${differingSteps} of ${steps} steps differ between one forward and recomputation (order ${seed}; permuted: ${classes.join(', ')})`,
    required: '0 differ',
    scope: `prompt 1, ${tokensUncached.length} steps; where it fails, every permuted arm is recomputed`,
  };
}
