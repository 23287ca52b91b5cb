/**
 * The gates, as data, in METHOD's order, and the two ways to run them: beside a run (`runGates`) and on their own, with
 * everything that takes longer (`audit`).
 */
import type { GateResult } from '../summary.ts';
import { alignment } from './alignment.ts';
import { batchThreads } from './batch-threads.ts';
import { canary } from './canary.ts';
import { prepareContext } from './context.ts';
import { finite } from './finite.ts';
import { fullPatch } from './full-patch.ts';
import type { Gate, GateContext, GateName, GateSubject } from './gate.ts';
import { noOp } from './no-op.ts';
import { nullControl } from './null.ts';
import { observer } from './observer.ts';
import { prefix } from './prefix.ts';
import { provenance } from './provenance.ts';
import { repeat } from './repeat.ts';
import { residual } from './residual.ts';

export type { Gate, GateName, GateSubject } from './gate.ts';

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
 * The gates of a run, on its first prompt and at most 8 steps: what goes into controls.json.
 * @param names run only these.
 */
export async function runGates(subject: GateSubject, names?: readonly GateName[]): Promise<GateResult[]> {
  const context = await prepareContext(subject, 'run');
  return measureAll(context, names);
}

async function measureAll(context: GateContext, names?: readonly GateName[]): Promise<GateResult[]> {
  try {
    const results: GateResult[] = [];
    for (const gate of gates) {
      if (names === undefined || names.includes(gate.name)) results.push(await measureGate(gate, context));
    }
    return results;
  } finally {
    await context.executor.release();
  }
}

async function measureGate(gate: Gate, context: GateContext): Promise<GateResult> {
  const required = typeof gate.required === 'string' ? gate.required : gate.required(context);
  const applies = gate.appliesTo(context);
  const common = { name: gate.name, class: gate.class };
  if (applies !== true) {
    return { ...common, passed: true, status: 'not-applicable', measured: applies, required, scope: 'not measured' };
  }
  const { passed, measured, scope } = await gate.measure(context);
  return { ...common, passed, status: passed ? 'passed' : 'failed', measured, required, scope };
}
