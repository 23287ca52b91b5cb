/** One gate under way: begun on a context, or found to have nothing to say about it. */
import type { GateResult } from '../summary.ts';
import type { Gate, GateContext, Observation } from './gate.ts';

export interface Measured {
  gate: Gate;
  required: string;
  /** Null: not applicable, for this reason. */
  observation: Observation | null;
  reason: string;
}

/** Begin a gate; `context` is that of the first stage it sees. */
export function begin(gate: Gate, context: GateContext): Measured {
  const required = typeof gate.required === 'string' ? gate.required : gate.required(context);
  const applies = gate.appliesTo(context);
  if (applies !== true) return { gate, required, observation: null, reason: applies };
  return { gate, required, observation: gate.begin(context), reason: '' };
}

/** What a gate found, as controls.json holds it. */
export function resultOf({ gate, required, observation, reason }: Measured): GateResult {
  const common = { name: gate.name, class: gate.class };
  if (!observation) {
    return { ...common, passed: true, status: 'not-applicable', measured: reason, required, scope: 'not measured' };
  }
  const { passed, measured, scope } = observation.conclude();
  return { ...common, passed, status: passed ? 'passed' : 'failed', measured, required, scope };
}
