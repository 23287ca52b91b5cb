/**
 * The main job: gates first, then every prompt through both arms, then the tables, the controls and the manifest.
 *
 * Prompts are independent, so they run in worker threads; results are written in the order of the prompts, so that the
 * number of workers changes no byte.
 */
import { referenceTo } from '../checkpoint/expand-kv.ts';
import { InterruptedError } from '../errors.ts';
import { selectHooks } from '../graph/hooks.ts';
import { canOverflow, type RoundingPolicy, typeAt } from '../graph/rounding.ts';
import { strategyName } from '../model/sampling/index.ts';
import { Aggregate } from './aggregate.ts';
import { runGates } from './gates/index.ts';
import { runIdentity, runProvenance } from './identity.ts';
import type { PromptResult } from './rows.ts';
import type { RunSubject } from './run-subject.ts';
import { RunTables } from './run-tables.ts';
import type { DivergenceSummary, GateResult } from './summary.ts';
import { openPromptPool } from './worker-pool.ts';

/** How far a run is. */
export interface DivergeProgress {
  stage: 'gates' | 'prompts';
  done: number;
  total: number;
  flips: number;
}

export interface DivergeOptions extends RunSubject {
  mode: 'teacher-forced' | 'free-running' | 'both';
  workers: number;
  saveActivations: boolean;
  onProgress?: (progress: DivergeProgress) => void;
}

/** Hooks whose drift the summary shows, beside what was asked for. */
const summaryHooks = 'hook_embed,*.hook_resid_post,ln_final.hook_normalized,logits';

/**
 * Run all prompts through both arms and publish the run directory.
 *
 * If a harness gate fails no prompt is run: controls.json and the manifest say why. Interrupted, what is finished is
 * published and the manifest says how many prompts that is.
 */
export async function diverge(options: DivergeOptions): Promise<DivergenceSummary> {
  const { checkpoint, policy, kernels, strategy, prompts, run } = options;
  const { layers } = checkpoint.config;
  const report = (progress: DivergeProgress) => options.onProgress?.(progress);
  report({ stage: 'gates', done: 0, total: prompts.length, flips: 0 });
  const gates = await runGates({ ...options, prompt: prompts[0], continuation: prompts[0].continuation ?? [] });

  const { mode, saveActivations } = options;
  const identity = await runIdentity('diverge', options, { mode, saveActivations });
  const hooks = selectHooks(`${options.hooks},${summaryHooks}`, checkpoint.config);
  const aggregate = new Aggregate({
    model: checkpoint.name,
    precision: policy.name,
    kernels: kernels.name,
    strategy: strategyName(strategy),
    decodeRows: options.decodeRows,
    unit: typeAt(policy, 'residual'),
    layers,
    tokenText: (token) => checkpoint.tokenizer?.token(token) ?? null,
  });
  const tables = new RunTables(options, identity, hooks);
  let finished = 0;
  try {
    if (gates.every((gate) => gate.class !== 'harness' || gate.passed)) {
      const pool = openPromptPool(
        {
          checkpoint: referenceTo(checkpoint),
          policy,
          kernels,
          strategy,
          hooks: hooks.map((hook) => hook.name).join(),
          mode: options.mode,
          decodeRows: options.decodeRows,
          maxNewTokens: options.maxNewTokens,
          threads: options.threads,
          ignoreEos: options.ignoreEos,
          saveActivations: options.saveActivations,
          uncachedPlan: standInHolds(policy, gates) ? 'stand-in' : 'recompute',
        },
        Math.min(options.workers, prompts.length),
      );
      report({ stage: 'prompts', done: 0, total: prompts.length, flips: 0 });
      try {
        const take = (result: PromptResult) => {
          tables.add(result);
          aggregate.add(result);
          finished += 1;
          report({ stage: 'prompts', done: finished, total: prompts.length, flips: aggregate.flipsSoFar });
        };
        await pool.runInOrder(prompts, take, options.signal);
      } finally {
        await pool.close();
      }
    }
    const summary = aggregate.summary(withRunWideFinite(gates, policy, aggregate.nonfinite));
    tables.finish();
    const provenance = {
      ...runProvenance(options, { workers: options.workers }),
      finishedPrompts: finished,
      files: run.files,
      rows: tables.rows,
    };
    run.publish({ gates: summary.gates }, { identity, provenance });
    if (options.signal?.aborted) {
      const kept = finished === 0 ? 'before any prompt was finished' : `after ${finished} of ${prompts.length} prompts`;
      throw new InterruptedError(`interrupted ${kept}${finished === 0 ? '' : `; they are in ${run.path}`}`);
    }
    return summary;
  } catch (error) {
    run.abort();
    throw error;
  }
}

/** The stand-in may replace recomputation only where the null and prefix gates hold, bit for bit. */
function standInHolds(policy: RoundingPolicy, gates: readonly GateResult[]): boolean {
  if (policy.compute === 'float64') return false;
  const status = (name: string) => gates.find((gate) => gate.name === name)?.status;
  return status('null') === 'passed' && status('prefix') === 'passed';
}

/** The finite gate looks at 8 steps; what the whole run met counts too: NaN, and infinities where none may be. */
function withRunWideFinite(
  gates: GateResult[],
  policy: RoundingPolicy,
  { elements, nan, hook }: Aggregate['nonfinite'],
): GateResult[] {
  const found = canOverflow(policy) ? nan : elements;
  if (found === 0) return gates;
  const failed = { passed: false, status: 'failed' as const, scope: 'every step of the run' };
  const measured = `${nan} NaN and ${elements - nan} infinite elements, first at ${hook}`;
  return gates.map((gate) => (gate.name === 'finite' && gate.passed ? { ...gate, ...failed, measured } : gate));
}
