/** Both arms of one prompt, reduced to one digest per step and hook: what two processes can compare. */
import { createHash } from 'node:crypto';
import type { CheckpointReference } from '../../checkpoint/expand-kv.ts';
import type { KernelPreset } from '../../graph/kernels.ts';
import type { RoundingPolicy } from '../../graph/rounding.ts';
import { Arm, type ArmStep } from '../../model/arms.ts';
import type { Executor } from '../../model/executor.ts';

/** What to run, as plain data: it crosses process boundaries. */
export interface ArmsRequest {
  checkpoint: CheckpointReference;
  policy: RoundingPolicy;
  kernels: KernelPreset;
  threads: number;
  decodeRows: number;
  tokens: readonly number[];
  /** The first tokens are the prompt; each further one is a decode step. */
  promptLength: number;
}

/** sha256 of every captured tensor, by `arm, n, hook` in the order they were computed. */
export type ArmDigests = Record<string, string>;

/** Run the uncached arm (recomputed in full) and the cached arm on the same tokens. */
export async function digestArms(
  executor: Executor,
  hooks: ReadonlySet<string>,
  request: Pick<ArmsRequest, 'tokens' | 'promptLength' | 'decodeRows'>,
): Promise<ArmDigests> {
  const { tokens, promptLength, decodeRows } = request;
  const digests: ArmDigests = {};
  const record = (arm: string, step: ArmStep) => {
    for (const name of hooks) {
      const { data } = step.activations.get(name)!;
      const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
      digests[`${arm} arm, n = ${step.n}, ${name}`] = createHash('sha256').update(bytes).digest('hex');
    }
  };
  const arms = {
    uncached: Arm.uncached(executor, tokens.length, 'recompute'),
    cached: Arm.cached(executor, tokens.length, decodeRows),
  };
  for (const [name, arm] of Object.entries(arms)) {
    record(name, await arm.prefill(tokens.slice(0, promptLength), { hooks }));
    for (let n = promptLength + 1; n <= tokens.length; n++) record(name, await arm.step(tokens.slice(0, n), { hooks }));
  }
  return digests;
}

/** The entries of `left` that `right` does not repeat. */
export function unlikeDigests(left: ArmDigests, right: ArmDigests): string[] {
  const missing = Object.keys(right).filter((key) => !Object.hasOwn(left, key));
  return [...Object.keys(left).filter((key) => left[key] !== right[key]), ...missing];
}
