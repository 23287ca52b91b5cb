/**
 * C1: every text decoded with the cache diverges from the one decoded without it, under every sampling strategy, greedy
 * included. Judged per condition, and over all of them.
 *
 * All texts diverging is a red flag before it is a finding: draws that are not keyed alike diverge trivially, and a first
 * flip against a lead that no rounding reaches is a bug of the harness or of the decoder.
 */
import {
  armGates,
  conjunction,
  type Estimate,
  type Evidence,
  type Finding,
  shown,
  unlessDoubted,
  type Verdict,
} from './claim.ts';

/** One condition's texts, running free. */
export interface C1Condition extends Evidence {
  /** The condition's name. */
  name: string;
  diverged: number;
  /** Identical to the end of both arms' texts; identical when a limit ended them. */
  equalToEnd: number;
  equalAtLimit: number;
  share: Estimate;
  /** Both arms draw the same random numbers, or none. */
  keyed: boolean;
  firstFlips: {
    /** Margin above the 99.9 % quantile of the matched placebo's drift; null without a placebo. */
    suspects: number | null;
    /** That quantile, in logits. */
    suspectAbove: number | null;
    /** Decided by the cut of top-k or top-p, or without a margin: never suspect. */
    boundary: number;
    withoutMargin: number;
    /** Texts that diverged where no flip says why. */
    unexplained: number;
  };
}

export interface C1Evidence {
  scope: string;
  conditions: readonly C1Condition[];
  /** Conditions of the study that a failed harness gate leaves without numbers. */
  voided: readonly string[];
}

export const c1Rules = {
  condition:
    'contradicted by one text that is identical to the end of both arms; supported if all of at least 59 texts diverge, random numbers are keyed alike, every divergence starts at a flip, and no first flip is suspect (margin above the 99.9 % quantile of the drift of the placebo, which has to be there); else open',
  overall: 'contradicted if any condition is, supported only if all are',
};

/** With so many texts, all diverged, the rate of those that do not is below 5 %. */
const enoughTexts = 59;

/** The verdicts on C1: one per condition, and `overall`. */
export function judgeC1({ scope, conditions, voided }: C1Evidence): Verdict[] {
  const found = conditions.map((evidence) => unlessDoubted(evidence, armGates, () => diverges(evidence)));
  const each = conditions.map((evidence, i): Verdict => {
    const { diverged, equalToEnd, equalAtLimit, share, keyed, firstFlips } = evidence;
    return {
      ...{ claim: 'C1', part: `condition ${evidence.name}`, verdict: found[i], rule: c1Rules.condition },
      inputs: {
        ...{ diverged, equalToEnd, equalAtLimit, ...shown('share', share) },
        coupling: keyed ? 'keyed' : 'independent',
        ...{ ...firstFlips },
      },
      scope: evidence.scope,
    };
  });
  const open = voided.map((): Finding => 'not identifiable');
  const overall = conditions.length === 0 ? 'not identifiable' : conjunction([...found, ...open]);
  const count = (finding: Finding) => found.filter((other) => other === finding).length;
  const inputs = {
    ...{ conditions: conditions.length, voided: voided.length, supported: count('supported') },
    ...{ contradicted: count('contradicted'), 'not identifiable': count('not identifiable') },
  };
  return [...each, { claim: 'C1', part: 'overall', verdict: overall, rule: c1Rules.overall, inputs, scope }];
}

function diverges({ diverged, equalToEnd, equalAtLimit, keyed, firstFlips }: C1Condition): Finding {
  if (equalToEnd >= 1) return 'contradicted';
  const explained = firstFlips.suspects === 0 && firstFlips.unexplained === 0;
  const all = equalAtLimit === 0 && diverged >= enoughTexts;
  return all && keyed && explained ? 'supported' : 'not identifiable';
}
