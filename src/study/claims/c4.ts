/**
 * C4: drift follows the architecture – sharp at the first layer with grouped-query attention, uniform in Gemma. What is
 * judged is what each layer adds by itself (same input, same history): inherited drift grows with depth in any model.
 *
 * A pattern over one model per architecture is no effect of the architecture. Attribution to grouped-query attention needs
 * the same model with and without shared K/V heads.
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

/** One model's profile of a_l, the mean relative error that layer l adds. */
export interface C4Model extends Evidence {
  name: string;
  /** `gemma`; `grouped-query`: shared K/V heads, not Gemma; `other`: the claim says nothing of it. */
  architecture: 'gemma' | 'grouped-query' | 'other';
  /** a_0 / median of a_l, l ≥ 1. Null where the median is 0. */
  sharpness: Estimate | null;
  /** max a / median a. Null where the median is 0. */
  unevenness: Estimate | null;
}

/** The same weights with shared K/V heads, and with one copy per query head. */
export interface C4Contrast {
  name: string;
  shared: C4Model;
  expanded: C4Model;
}

export interface C4Evidence {
  scope: string;
  models: readonly C4Model[];
  /** Non-Gemma grouped-query models and Gemma models that a failed harness gate leaves without numbers. */
  voided: readonly string[];
  /** Pairs of a non-Gemma model; empty where the kernels make the contrast null by construction. */
  contrasts: readonly C4Contrast[];
  /** Attention under kernels of one matmul per query head computes the same with shared and with expanded heads. */
  folded: boolean;
}

export const c4Rules = {
  sharp:
    'S = a_0 / median of a_l, l ≥ 1, a_l the mean relative added error: supported if its lower bound is above 2, contradicted if its upper bound is below 2',
  uniform:
    'U = max a / median a, a_l the mean relative added error: supported if its upper bound is below 2, contradicted if its lower bound is above 2',
  pattern:
    'supported if S is above 2 in every grouped-query model but Gemma, and U below 2 in Gemma, both being in the study; contradicted if one of them is the other way round',
  attribution:
    'needs one model with shared and with expanded K/V heads, named “X” and “X (expanded KV)”, under kernels that fold the heads of a group into one matmul (one matmul per head computes the same for both, by construction); supported if in every such pair S is above 2 with shared heads and below 2 with expanded ones; contradicted if in one S is above 2 with expanded heads, or below 2 with shared ones',
};

const threshold = 2;

/** The verdicts on C4: one per model that it speaks of, the `pattern`, and `attribution to GQA`. */
export function judgeC4({ scope, models, voided, contrasts, folded }: C4Evidence): Verdict[] {
  const judged = models.filter(({ architecture }) => architecture !== 'other');
  const each = judged.map((model): Verdict => {
    const gemma = model.architecture === 'gemma';
    const [name, estimate] = gemma ? ['U', model.unevenness] : ['S', model.sharpness];
    return {
      ...{ claim: 'C4', part: `${gemma ? 'uniform' : 'sharp at the first layer'}: ${model.name}` },
      ...{ verdict: gemma ? uniform(model) : sharp(model), rule: gemma ? c4Rules.uniform : c4Rules.sharp },
      inputs: estimate ? shown(name, estimate) : { [name]: null },
      scope: model.scope,
    };
  });
  const both = (['gemma', 'grouped-query'] as const).every((architecture) =>
    models.some((model) => model.architecture === architecture),
  );
  const findings = each.map(({ verdict }) => verdict);
  const missing: Finding[] = both && voided.length === 0 ? [] : ['not identifiable'];
  return [
    ...each,
    {
      ...{
        claim: 'C4',
        part: 'pattern',
        verdict: conjunction([...findings, ...missing]),
        rule: c4Rules.pattern,
        scope,
      },
      inputs: Object.fromEntries(each.map(({ part, verdict }) => [part, verdict])),
    },
    {
      ...{ claim: 'C4', part: 'attribution to GQA', verdict: attribution(contrasts), rule: c4Rules.attribution, scope },
      inputs: {
        pairs: contrasts.length,
        kernels: folded ? 'heads of a group folded into one matmul' : 'one matmul per head: null by construction',
        ...Object.assign({}, ...contrasts.map(contrastInputs)),
      },
    },
  ];
}

function sharp(model: C4Model): Finding {
  return unlessDoubted(model, armGates, () => above(model.sharpness));
}

function uniform(model: C4Model): Finding {
  return unlessDoubted(model, armGates, () => below(model.unevenness));
}

function above(estimate: Estimate | null): Finding {
  if (estimate === null) return 'not identifiable';
  if (estimate.lower > threshold) return 'supported';
  return estimate.upper < threshold ? 'contradicted' : 'not identifiable';
}

function below(estimate: Estimate | null): Finding {
  const found = above(estimate);
  if (found === 'not identifiable') return found;
  return found === 'supported' ? 'contradicted' : 'supported';
}

function attribution(contrasts: readonly C4Contrast[]): Finding {
  if (contrasts.length === 0) return 'not identifiable';
  return conjunction(
    contrasts.flatMap(({ shared, expanded }) => [
      sharp(shared),
      unlessDoubted(expanded, armGates, () => below(expanded.sharpness)),
    ]),
  );
}

function contrastInputs({ name, shared, expanded }: C4Contrast): Record<string, number | null> {
  const of = (model: C4Model, label: string) => (model.sharpness ? shown(label, model.sharpness) : { [label]: null });
  return { ...of(shared, `S, ${name}`), ...of(expanded, `S, ${name} (expanded KV)`) };
}
