/**
 * What a claim's verdict is, and the figures its rules read. The rules are fixed before anything is run: each lives in a
 * file of its own as text and as code, side by side, and no expectation of how it ends is part of either.
 */

/** `not identifiable`: the data, or a failed gate, leave it open. */
export type Finding = 'supported' | 'contradicted' | 'not identifiable';

/** One part of a claim, judged. */
export interface Verdict {
  claim: 'C1' | 'C2' | 'C3' | 'C4' | 'C5';
  part: string;
  verdict: Finding;
  /** The rule that was applied, in words. */
  rule: string;
  /** The numbers that entered it. */
  inputs: Record<string, number | string | null>;
  /** What the numbers cover: models, prompts, precision, kernels. */
  scope: string;
}

/** An estimate with its 95 % confidence interval, resampled by prompt. */
export interface Estimate {
  value: number;
  lower: number;
  upper: number;
}

/** What every rule is told beside its figures. */
export interface Evidence {
  scope: string;
  /** Names of identification gates that failed: what depends on them is not identifiable. */
  failedGates: readonly string[];
}

/** What every comparison of the two arms rests on: that "cache-free" is one trajectory, and that its numbers are numbers. */
export const armGates: readonly string[] = ['prefix', 'finite'];

/** `not identifiable` where a gate that the part rests on failed, else what the rule says. */
export function unlessDoubted(evidence: Evidence, gates: readonly string[], decide: () => Finding): Finding {
  return evidence.failedGates.some((name) => gates.includes(name)) ? 'not identifiable' : decide();
}

/** All parts supported: supported. One contradicted: contradicted. Else open. */
export function conjunction(parts: readonly Finding[]): Finding {
  if (parts.includes('contradicted')) return 'contradicted';
  return parts.every((part) => part === 'supported') ? 'supported' : 'not identifiable';
}

/** `name`, `name.lower` and `name.upper` as inputs of a verdict. */
export function shown(name: string, { value, lower, upper }: Estimate): Record<string, number> {
  return { [name]: value, [`${name}.lower`]: lower, [`${name}.upper`]: upper };
}
