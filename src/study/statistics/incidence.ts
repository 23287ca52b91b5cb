/**
 * When something first happens, where something else can end the wait: cumulative incidence with competing events.
 *
 * A text that ends without divergence cannot diverge any more, which is not the same as not having been watched long
 * enough. Treating it as censored would overstate how many diverge; only the length limit censors.
 */

/** How the wait of one prompt ended, and at which step (from 1). */
export interface Wait {
  step: number;
  end: 'event' | 'competing' | 'censored';
}

/** Share that has had the event, and the competing one, up to and with a step. */
export interface Incidence {
  step: number;
  event: number;
  competing: number;
  atRisk: number;
}

/**
 * The Aalen–Johansen estimate, one entry for every step at which something ended other than by censoring.
 *
 *   F_e(t) = Σ_{s ≤ t} S(s − 1) · d_e(s) / n(s),   S(t) = Π_{s ≤ t} (1 − d(s) / n(s))
 *
 * with d_e(s) the events and d(s) all ends but censoring at step s, and n(s) the prompts still waiting before it. Prompts
 * censored at a step count as waiting at it. Source: Aalen and Johansen 1978.
 */
export function cumulativeIncidence(waits: readonly Wait[]): Incidence[] {
  const ends = new Map<number, Record<Wait['end'], number>>();
  for (const { step, end } of waits) {
    const counts = ends.get(step) ?? { event: 0, competing: 0, censored: 0 };
    counts[end] += 1;
    ends.set(step, counts);
  }
  const found: Incidence[] = [];
  let atRisk = waits.length;
  let surviving = 1;
  let event = 0;
  let competing = 0;
  for (const [step, counts] of [...ends].sort(([a], [b]) => a - b)) {
    const ended = counts.event + counts.competing;
    if (ended > 0) {
      event += (surviving * counts.event) / atRisk;
      competing += (surviving * counts.competing) / atRisk;
      surviving *= 1 - ended / atRisk;
      found.push({ step, event, competing, atRisk });
    }
    atRisk -= ended + counts.censored;
  }
  return found;
}
