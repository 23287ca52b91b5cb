/** Capture one arm: gates first, then one prompt, its activations written while it runs. */
import { InterruptedError } from '../errors.ts';
import { isCacheHook, selectHooks } from '../graph/hooks.ts';
import { activationRecord, rowCount } from '../model/activation-rows.ts';
import { Executor } from '../model/executor.ts';
import { generate } from '../model/generate.ts';
import { firstVisible } from './compare.ts';
import { runGates } from './gates/index.ts';
import { runIdentity, runProvenance } from './identity.ts';
import type { RunSubject } from './run-subject.ts';
import { SharedTables } from './shared-tables.ts';
import type { GateResult } from './summary.ts';

/** One prompt, one arm and the hooks to write. */
export interface CaptureOptions extends RunSubject {
  arm: 'cached' | 'uncached';
  /** Called after each step. */
  onStep?: (step: number) => void;
}

/** What a capture wrote. */
export interface CaptureSummary {
  /** Activation files, relative to the run. */
  files: string[];
  /** Full names, in execution order. */
  hooks: string[];
  /** Rows of all activation files. */
  rows: number;
  /** New tokens. */
  tokens: number[];
  gates: GateResult[];
}

/**
 * Run the first prompt and publish the run directory: step 0 writes all prompt positions, later steps the newest row.
 * With no new tokens the prompt is run once. If a harness gate fails nothing is captured; controls.json says why.
 */
export async function capture(options: CaptureOptions): Promise<CaptureSummary> {
  const { checkpoint, policy, kernels, strategy, run, arm, maxNewTokens, decodeRows, threads, ignoreEos } = options;
  const [prompt] = options.prompts;
  const gates = await runGates({ ...options, prompt, continuation: [] });
  const identity = await runIdentity('capture', options, { arm });
  const hooks = selectHooks(options.hooks, checkpoint.config);
  const names = hooks.map(({ name }) => name);
  const tables = new SharedTables(options, identity, names);
  const { slidingWindows } = checkpoint.config;
  let tokens: number[] = [];
  let stopped = false;
  try {
    if (gates.every((gate) => gate.class !== 'harness' || gate.passed)) {
      const executor = new Executor({ checkpoint, policy, kernels, threads });
      const sequence = [...prompt.tokens];
      const generated = await generate(executor, prompt.tokens, {
        ...{ arm, strategy, promptId: prompt.id, decodeRows, ignoreEos },
        // The prompt's own rows need one step, whose token is not kept unless it was asked for.
        maxNewTokens: Math.max(1, maxNewTokens),
        capture: { hooks: new Set(names) },
        ...(options.signal === undefined ? {} : { signal: options.signal }),
        onStep: ({ step, n, activations, token }) => {
          for (const hook of hooks) {
            const found = activations.get(hook.name);
            if (!found) throw new Error(`${hook.name}: was not captured`);
            const count = rowCount(hook, found);
            // Rows end with the newest position; step 0 keeps all of them.
            const oldest = isCacheHook(hook.name) ? firstVisible(slidingWindows[hook.layer], n) : 0;
            for (let row = step === 0 ? oldest : count - 1; row < count; row++) {
              const position = n - count + row;
              const place = { step, position, token: sequence[position] };
              tables.addActivation(prompt.id, { arm, ...activationRecord(hook, found, row, place) });
            }
          }
          sequence.push(token);
          options.onStep?.(step);
        },
      });
      tokens = maxNewTokens === 0 ? [] : generated.tokens;
      stopped = generated.stop === 'stopped';
      await executor.release();
    }
    tables.finish();
    const provenance = { ...runProvenance(options, { newTokens: tokens }), files: run.files, rows: tables.rows };
    run.publish({ gates }, { identity, provenance });
    if (stopped) throw new InterruptedError(`interrupted after ${tokens.length} new tokens; they are in ${run.path}`);
  } catch (error) {
    run.abort();
    throw error;
  }
  const files = Object.keys(tables.rows).filter((file) => file.startsWith('activations/'));
  return { files, hooks: names, rows: files.reduce((sum, file) => sum + tables.rows[file], 0), tokens, gates };
}
