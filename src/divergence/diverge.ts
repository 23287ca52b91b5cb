/**
 * The main job: gates and every prompt through both arms, then the tables, the controls and the manifest.
 *
 * Prompts are independent, so they run in worker threads; results are written in the order of the prompts, so that the
 * number of workers changes no byte. A model that does not fit into memory runs layer by layer instead, to the same bytes.
 */
import { referenceTo } from '../checkpoint/expand-kv.ts';
import { InterruptedError } from '../errors.ts';
import { type Hook, selectHooks } from '../graph/hooks.ts';
import { isEmulated, matchedKernels } from '../graph/kernels.ts';
import { typeAt } from '../graph/rounding.ts';
import { describeFault } from '../model/faults.ts';
import { strategyName } from '../model/sampling/index.ts';
import { Aggregate } from './aggregate.ts';
import { withRunWideFinite } from './gates/finite.ts';
import { harnessHolds, runGates } from './gates/index.ts';
import { runIdentity, runProvenance } from './identity.ts';
import { type LayerMajorResult, runLayerMajor } from './layer-major.ts';
import { oracleState } from './oracle.ts';
import { openPromptPool, promptInput } from './prompt-runner.ts';
import type { PromptResult } from './rows.ts';
import type { RunSubject } from './run-subject.ts';
import { RunTables } from './run-tables.ts';
import { standInHolds } from './stand-in.ts';
import type { DivergenceSummary, GateResult } from './summary.ts';

/** How far a run is. */
export interface DivergeProgress {
  /** `layers`: stages of a run layer by layer; prompts otherwise. */
  stage: 'gates' | 'prompts' | 'layers';
  done: number;
  total: number;
  flips: number;
}

/** Prompts, the protocols to run them under, and where the files go. */
export interface DivergeOptions extends RunSubject {
  mode: 'teacher-forced' | 'free-running' | 'both';
  workers: number;
  saveActivations: boolean;
  /** All layers loaded, or one at a time (`runLayerMajor`; every prompt needs its continuation). Default resident. */
  execution?: 'resident' | 'by-layer';
  /** Called with each prompt's result, in the order of the prompts. */
  onPrompt?: (result: PromptResult) => void;
  onProgress?: (progress: DivergeProgress) => void;
}

/** Hooks whose drift the summary shows, beside what was asked for. */
const summaryHooks = 'hook_embed,*.hook_resid_post,ln_final.hook_normalized,logits';

/**
 * Run all prompts through both arms and publish the run directory.
 *
 * If a harness gate fails no prompt counts: controls.json and the manifest say why. Interrupted, what is finished is
 * published and the manifest says how many prompts that is.
 */
export async function diverge(options: DivergeOptions): Promise<DivergenceSummary> {
  const { checkpoint, policy, kernels, strategy, prompts, run, mode, saveActivations } = options;
  const { layers } = checkpoint.config;
  const execution = options.execution ?? 'resident';
  const hooks = selectHooks(`${options.hooks},${summaryHooks}`, checkpoint.config);
  const aggregate = new Aggregate({
    model: checkpoint.name,
    precision: policy.name,
    kernels: kernels.name,
    matchedKernels: matchedKernels(kernels),
    emulated: isEmulated(kernels),
    strategy: strategyName(strategy),
    decodeRows: options.decodeRows,
    unit: typeAt(policy, 'residual'),
    layers,
    planted: (options.faults ?? []).map(describeFault),
    tokenText: (token) => checkpoint.tokenizer?.token(token) ?? null,
  });
  try {
    // Digests of large weights take a while: they are made beside the first work.
    const identified = runIdentity('diverge', options, {
      ...{ mode, saveActivations, execution, oracle: oracleState(checkpoint, policy) },
    });
    identified.catch(() => undefined);
    let tables: RunTables | undefined;
    let finished = 0;
    const start: Start = async () => {
      const open = new RunTables(options, await identified, hooks);
      tables = open;
      return (result) => {
        open.add(result);
        aggregate.add(result);
        options.onPrompt?.(result);
        finished += 1;
        return aggregate.flipsSoFar;
      };
    };
    const { gates, ...made } = await (execution === 'resident' ? runResident : runByLayer)(options, hooks, start);
    const identity = await identified;
    tables ??= new RunTables(options, identity, hooks);
    const summary = aggregate.summary(withRunWideFinite(gates, policy, aggregate.nonfinite));
    tables.finish();
    const provenance = {
      ...runProvenance(options, { workers: options.workers }),
      ...made,
      finishedPrompts: finished,
      files: run.files,
      rows: tables.rows,
    };
    run.publish({ gates: summary.gates }, { identity, provenance });
    // What was asked for after the last prompt is no interruption: the run is complete.
    if (options.signal?.aborted && finished < prompts.length) {
      const kept = finished === 0 ? 'before any prompt was finished' : `after ${finished} of ${prompts.length} prompts`;
      throw new InterruptedError(`interrupted ${kept}${finished === 0 ? '' : `; they are in ${run.path}`}`);
    }
    return summary;
  } catch (error) {
    run.abort();
    throw error;
  }
}

/** What a way to run leaves behind beside the tables; `passes` goes into the manifest. */
type Made = { gates: GateResult[]; passes?: LayerMajorResult['passes'] };

/** Opens the tables; what it returns takes the prompts in their order and says how many flips there are so far. */
type Start = () => Promise<(result: PromptResult) => number>;

/** Gates first, then the prompts side by side, each with all layers loaded. */
async function runResident(options: DivergeOptions, hooks: readonly Hook[], start: Start): Promise<Made> {
  const { checkpoint, policy, kernels, strategy, prompts } = options;
  const state = { done: 0, flips: 0 };
  const report = (stage: DivergeProgress['stage']) => options.onProgress?.({ stage, total: prompts.length, ...state });
  report('gates');
  const gates = await runGates({ ...options, prompt: prompts[0], continuation: prompts[0].continuation ?? [] });
  if (!harnessHolds(gates)) return { gates };
  const take = await start();
  const pool = openPromptPool(
    {
      checkpoint: referenceTo(checkpoint),
      policy,
      kernels,
      strategy,
      hooks: hooks.map((hook) => hook.name).join(),
      mode: options.mode,
      candidates: 'all',
      decodeRows: options.decodeRows,
      maxNewTokens: options.maxNewTokens,
      threads: options.threads,
      ignoreEos: options.ignoreEos,
      saveActivations: options.saveActivations,
      faults: options.faults ?? [],
      uncachedPlan: standInHolds(policy, gates) ? 'forward' : 'recompute',
    },
    Math.min(options.workers, prompts.length),
  );
  report('prompts');
  try {
    const taken = (result: PromptResult) => {
      state.flips = take(result);
      state.done += 1;
      report('prompts');
    };
    await pool.runInOrder(prompts.map(promptInput), taken, options.signal);
  } finally {
    await pool.close();
  }
  return { gates };
}

/** Gates and prompts together, one layer at a time; prompts whose harness gates failed are discarded. */
async function runByLayer(options: DivergeOptions, hooks: readonly Hook[], start: Start): Promise<Made> {
  const { gates, results, passes } = await runLayerMajor({
    ...options,
    hooks,
    onStage: (done, total) => options.onProgress?.({ stage: 'layers', done, total, flips: 0 }),
  });
  if (!harnessHolds(gates)) return { gates, passes };
  const take = await start();
  for (const result of results) take(result);
  return { gates, passes };
}
