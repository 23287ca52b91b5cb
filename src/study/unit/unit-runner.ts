/** Runs work units in one thread. */
import { openPool, type Pool, type Runner } from '../../divergence/worker-pool.ts';
import { measureGates } from './gates-unit.ts';
import { runPromptUnit } from './prompt-unit.ts';
import type { UnitConfig, UnitJob, UnitResult } from './unit.ts';
import { Workbench } from './workbench.ts';

/** A pool of `workers` threads that run units. */
export function openUnitPool(config: UnitConfig, workers: number): Pool<UnitJob, UnitResult> {
  return openPool({ config, workers, open: openUnitRunner, script: new URL('./unit-worker.js', import.meta.url) });
}

/** Open a runner; models and graphs are opened by the units that need them. */
export async function openUnitRunner(config: UnitConfig): Promise<Runner<UnitJob, UnitResult>> {
  const workbench = new Workbench(config);
  return {
    run: async (job) =>
      job.kind === 'gates'
        ? measureGates(config, await workbench.of(job.group), job)
        : runPromptUnit(config, await workbench.of(config.groupOf[job.condition]), job),
    close: () => workbench.close(),
  };
}
