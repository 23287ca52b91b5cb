/**
 * The ways to run the gates: beside a run (`runGates`), on their own with everything that takes longer (`audit`), and stage
 * by stage (`StagedGates`).
 */
import { loadedBytes } from '../../model/memory.ts';
import type { GateResult } from '../summary.ts';
import { findAudit, keepAudit } from './audit-cache.ts';
import { prepareContext } from './context.ts';
import { type GateName, type GateSubject, gateNames, type Scale } from './gate.ts';
import { gates } from './gates.ts';
import { begin, resultOf } from './measure.ts';

export { cacheFolder, findAudit } from './audit-cache.ts';
export { type Gate, type GateName, type GateSubject, gateNames, type Scale } from './gate.ts';
export { gates } from './gates.ts';
export { StagedGates } from './staged.ts';

/** Loaded weights beyond which gates do not keep graphs for one another. */
const largeBytes = 1e9;

/**
 * Measure the gates on one prompt and at most `maxSteps` steps: what goes into controls.json.
 *
 * `run` quotes what only an audit measures – fresh processes, batches, threads – from the audit of this subject on this
 * machine, if one was kept.
 * @param names measure only these.
 */
export async function runGates(
  subject: GateSubject,
  scale: Scale = 'run',
  names: readonly GateName[] = gateNames,
): Promise<GateResult[]> {
  const audited = scale === 'run' ? await findAudit(subject) : null;
  const context = await prepareContext(subject, scale, audited);
  const isLarge = loadedBytes(subject.checkpoint, subject.policy) > largeBytes;
  try {
    const results: GateResult[] = [];
    for (const gate of gates) {
      if (!names.includes(gate.name)) continue;
      const measured = begin(gate, context);
      await measured.observation?.observe(context);
      results.push(resultOf(measured));
      // Each gate leaves graphs loaded that the next one may not need.
      if (isLarge) await context.executor.release();
    }
    return results;
  } finally {
    await context.executor.release();
  }
}

/** All gates with everything that takes longer; kept on this machine so that runs can quote it by `hash`. */
export async function audit(subject: GateSubject): Promise<{ passed: boolean; hash: string; gates: GateResult[] }> {
  const results = await runGates(subject, 'audit');
  const { hash } = await keepAudit(subject, results);
  return { passed: results.every((gate) => gate.passed), hash, gates: results };
}

/** True if no harness gate failed: numbers count. */
export function harnessHolds(gates: readonly GateResult[]): boolean {
  return gates.every((gate) => gate.class !== 'harness' || gate.passed);
}
