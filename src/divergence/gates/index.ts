/**
 * The gates, as data, in METHOD's order, and the two ways to run them: beside a run (`runGates`) and on their own, with
 * everything that takes longer (`audit`).
 */
import type { GateResult } from '../summary.ts';
import { alignment } from './alignment.ts';
import { findAudit, keepAudit } from './audit-cache.ts';
import { batchThreads } from './batch-threads.ts';
import { canary } from './canary.ts';
import { prepareContext } from './context.ts';
import { finite } from './finite.ts';
import { fullPatch } from './full-patch.ts';
import { type Gate, type GateContext, type GateName, type GateSubject, gateNames, type Scale } from './gate.ts';
import { noOp } from './no-op.ts';
import { nullControl } from './null.ts';
import { observer } from './observer.ts';
import { prefix } from './prefix.ts';
import { provenance } from './provenance.ts';
import { repeat } from './repeat.ts';
import { residual } from './residual.ts';

export { cacheFolder, findAudit } from './audit-cache.ts';
export { type Gate, type GateName, type GateSubject, gateNames, type Scale } from './gate.ts';

/** Every gate. */
export const gates: readonly Gate[] = [
  repeat,
  alignment,
  canary,
  provenance,
  noOp,
  nullControl,
  fullPatch,
  prefix,
  observer,
  finite,
  residual,
  batchThreads,
];

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
  try {
    const results: GateResult[] = [];
    for (const gate of gates) {
      if (names.includes(gate.name)) results.push(await measureGate(gate, context));
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

async function measureGate(gate: Gate, context: GateContext): Promise<GateResult> {
  const required = typeof gate.required === 'string' ? gate.required : gate.required(context);
  const applies = gate.appliesTo(context);
  const common = { name: gate.name, class: gate.class };
  if (applies !== true) {
    return { ...common, passed: true, status: 'not-applicable', measured: applies, required, scope: 'not measured' };
  }
  const observation = gate.begin(context);
  await observation.observe(context);
  const { passed, measured, scope } = observation.conclude();
  return { ...common, passed, status: passed ? 'passed' : 'failed', measured, required, scope };
}
