/** The subject the gate tests judge: a tiny checkpoint, ten tokens, four decode steps. */

import { openCheckpoint } from '../../../src/checkpoint/open.ts';
import type { GateSubject } from '../../../src/divergence/gates/gate.ts';
import { type GateName, runGates } from '../../../src/divergence/gates/index.ts';
import type { GateResult } from '../../../src/divergence/summary.ts';
import { resolveKernels } from '../../../src/graph/kernels.ts';
import { resolvePolicy } from '../../../src/graph/rounding.ts';
import type { Executor, ExecutorOptions } from '../../../src/model/executor.ts';

export const promptTokens = [1, 17, 5, 88, 42, 42, 7, 63, 30, 11];

/** A subject on the checkpoint in `dir`. */
export async function subject(
  dir: string,
  precision: string,
  changes: Partial<GateSubject> = {},
): Promise<GateSubject> {
  return {
    checkpoint: await openCheckpoint(dir),
    policy: resolvePolicy(precision),
    kernels: resolveKernels('ort'),
    threads: 1,
    decodeRows: 1,
    prompt: { id: 'test', tokens: promptTokens },
    maxSteps: 4,
    ...changes,
  };
}

/** The same subject, computed by executors of another class. */
export function executedBy<E extends Executor>(
  right: GateSubject,
  Faulty: new (options: ExecutorOptions) => E,
  prepare: (executor: E) => void = () => {},
): GateSubject {
  const { checkpoint, policy, kernels, threads } = right;
  return {
    ...right,
    open: (overrides) => {
      const executor = new Faulty({ checkpoint, policy, kernels, threads, ...overrides });
      prepare(executor);
      return executor;
    },
  };
}

/** One gate's result. */
export async function gate(name: GateName, judged: GateSubject, scale: 'run' | 'audit' = 'run'): Promise<GateResult> {
  const [result] = await runGates(judged, scale, [name]);
  return result;
}
