/**
 * Layer by layer: the gates and every prompt run one stage of the model, all steps of both arms, before the next stage is
 * loaded. Each weight is read once per run, and memory is one stage's weights and the residual rows between stages. It needs
 * tokens that are given: every prompt has its continuation. The passes are those of a resident run, and so are the bits.
 */
import type { Stage } from '../graph/build.ts';
import type { Hook } from '../graph/hooks.ts';
import { Executor } from '../model/executor.ts';
import type { PassCounts } from '../model/pass-counts.ts';
import { SessionHost } from '../model/session-host.ts';
import { stagesOf, Tape } from '../model/tape.ts';
import { captureSets } from './capture-sets.ts';
import { StagedGates } from './gates/index.ts';
import { openOracle } from './oracle.ts';
import { type PromptInput, type PromptPlan, PromptRun, type PromptRunOptions } from './prompt-run.ts';
import type { PromptResult } from './rows.ts';
import type { RunSubject } from './run-subject.ts';
import { standInHolds } from './stand-in.ts';
import type { GateResult } from './summary.ts';

export interface LayerMajorOptions extends Omit<RunSubject, 'hooks' | 'run'> {
  /** Hooks whose comparison becomes rows of layers.arrow. */
  hooks: readonly Hook[];
  mode: PromptRunOptions['mode'];
  saveActivations: boolean;
  /** Called before each stage of each pass over the model. */
  onStage?: (done: number, total: number) => void;
}

/** The gates, and the prompts in their order; no prompt if `signal` fired before the last stage. */
export interface LayerMajorResult {
  gates: GateResult[];
  results: PromptResult[];
  /** Passes through blocks and unembedding on the executor that gates and prompts share. */
  passes: { block: Passes; unembed: Passes };
}

type Passes = ReturnType<PassCounts['list']>;

const noPasses = { block: [], unembed: [] };

/**
 * Run all prompts, and the gates on the first one.
 *
 * The uncached arm is rows of one forward, or its stand-in, which the gates judge in the same pass; if they or a spot check refute it, its
 * rows are discarded and the prompts are recomputed in full in a second pass.
 */
export async function runLayerMajor(options: LayerMajorOptions): Promise<LayerMajorResult> {
  // While one stage computes, the next one loads.
  const host = SessionHost.start(2);
  try {
    return await runPasses(options, host);
  } finally {
    await host?.close();
  }
}

async function runPasses(options: LayerMajorOptions, host: SessionHost | null): Promise<LayerMajorResult> {
  const { prompts, policy } = options;
  const [prompt] = prompts;
  const gates = await StagedGates.begin({ ...options, prompt, continuation: prompt.continuation ?? [] }, host);
  const plan: PromptPlan = policy.compute === 'float64' ? 'recompute' : 'forward';
  const found = await pass({ ...options, host }, prompts, plan, gates);
  if (found === null) return { gates: [], results: [], passes: noPasses };
  const judged = gates.conclude();
  const { results: first, passes } = found;
  if (plan === 'recompute') return { gates: judged, ...found };
  const doubted = standInHolds(policy, judged) ? first.filter(({ spotChecks }) => spotChecks.failed > 0) : first;
  if (doubted.length === 0) return { gates: judged, ...found };
  const again = prompts.filter(({ id }) => doubted.some(({ prompt }) => prompt === id));
  const honest = await pass({ ...options, host }, again, 'recompute', null);
  if (honest === null) return { gates: judged, results: [], passes };
  const results = first.map((result) => {
    const other = honest.results.find(({ prompt }) => prompt === result.prompt);
    return other ? { ...other, spotChecks: result.spotChecks } : result;
  });
  return { gates: judged, results, passes };
}

/** One pass over the model; null if `signal` fired. */
async function pass(
  options: LayerMajorOptions & { host: SessionHost | null },
  prompts: readonly PromptInput[],
  uncachedPlan: PromptPlan,
  gates: StagedGates | null,
): Promise<Omit<LayerMajorResult, 'gates'> | null> {
  const { checkpoint, policy, kernels, threads, signal, host } = options;
  const { layers } = checkpoint.config;
  const common = { checkpoint, policy, kernels, threads };
  const tapes = { run: new Tape(layers), oracle: new Tape(layers) };
  const sets = captureSets(options.hooks, checkpoint.config);
  const executor = new Executor({
    ...{ ...common, tape: tapes.run, sharedHooks: sets.all.hooks },
    ...(host === null ? {} : { host }),
  });
  const oracle = openOracle(new Executor({ ...common, tape: tapes.oracle }));
  const { strategy, hooks, mode, decodeRows, maxNewTokens, ignoreEos, saveActivations, faults = [] } = options;
  const settings: PromptRunOptions = {
    ...{
      executor,
      oracle,
      strategy,
      hooks,
      mode,
      decodeRows,
      maxNewTokens,
      ignoreEos,
      uncachedPlan,
      saveActivations,
      faults,
    },
  };
  const runs = prompts.map((prompt) => new PromptRun(settings, prompt, uncachedPlan));
  const stages = stagesOf(layers);
  try {
    for (const [done, stage] of stages.entries()) {
      options.onStage?.(done, stages.length);
      // Sessions run synchronously: let signals and progress through between stages.
      await new Promise((resolve) => setImmediate(resolve));
      if (signal?.aborted) return null;
      tapes.run.begin(stage);
      tapes.oracle.begin(stage);
      // Gates with graphs of their own come before the stage is loaded for the others, so that memory holds one or the other.
      await gates?.observeAlone(stage);
      await executor.load(partOf(stage, layers));
      const next =
        host && stage < layers && stage !== -1 ? executor.load(partOf(stage + 1, layers)) : Promise.resolve();
      next.catch(() => undefined);
      await gates?.observe(executor);
      for (const run of runs) await run.observe();
      await executor.release(partOf(stage, layers));
      await oracle?.release();
      await next;
    }
    const { block, unembed } = executor.passes;
    return {
      results: runs.map((run) => run.conclude()),
      passes: { block: block.list(), unembed: unembed.list() },
    };
  } finally {
    await executor.release().catch(() => undefined);
    await oracle?.release();
  }
}

/** The part of the model that a stage of a tape runs. */
function partOf(stage: number, layers: number): Stage {
  if (stage < 0) return 'embed';
  return stage < layers ? { block: stage } : 'unembed';
}
