/** When the uncached arm's stand-in may replace recomputation. */
import type { RoundingPolicy } from '../graph/rounding.ts';
import type { GateResult } from './summary.ts';

/** Only where the null and prefix gates hold, bit for bit. */
export function standInHolds(policy: RoundingPolicy, gates: readonly GateResult[]): boolean {
  if (policy.compute === 'float64') return false;
  const status = (name: string) => gates.find((gate) => gate.name === name)?.status;
  return status('null') === 'passed' && status('prefix') === 'passed';
}
