/** How the arms compare in each condition of a run: the counts and means that its answer is made of. */
import { Columns } from './columns.ts';
import { type RunCondition, readConditions } from './conditions.ts';
import { commands, isMissing, type Missing } from './missing.ts';
import type { RunTables } from './run-tables.ts';

export interface Comparison {
  condition: RunCondition;
  /** Teacher-forced decode steps (step 0, the prefill's, excepted), and the prompts they are of. */
  steps: number;
  prompts: number;
  /** Steps that were compared at the run's hooks, and those in which some element of one differs. */
  compared: number;
  differing: number;
  /** Steps in which some logit differs. */
  logits: number;
  /** Steps in which the arms choose different tokens, and those where an arm has an exact tie for the top. */
  flips: number;
  ties: number;
  /** Widest top-2 margin of the uncached arm among the flips, in logits; null without a flip. */
  widestFlip: number | null;
  /** Means over the steps: L2 of mean-centred logits, and KL(uncached ‖ cached) in nats; null without a step. */
  l2: number | null;
  kl: number | null;
  /** Texts the arms wrote on their own (of forced tokens where they wrote none), and those that part. */
  texts: number;
  parted: number;
  /** Mean L2 of mean-centred logits to the float64 oracle; null where no step has one. */
  errors: { cached: number; uncached: number } | null;
}

interface Sums {
  prompts: Set<string>;
  compared: number;
  differing: number;
  steps: number;
  logits: number;
  flips: number;
  ties: number;
  widest: number | null;
  l2: number;
  kl: number;
  /** By protocol: texts, and those with a flip. */
  texts: Record<'free-running' | 'teacher-forced', { all: Set<string>; parted: Set<string> }>;
  measured: number;
  cached: number;
  uncached: number;
}

/** Compare the arms in every condition, in the order of the run; reads steps.arrow once, by batch. */
export async function comparisons(run: RunTables): Promise<Comparison[] | Missing> {
  const conditions = await readConditions(run);
  if (isMissing(conditions)) return conditions;
  if (!run.has('steps')) return { missing: 'No steps.arrow.', command: commands.steps };
  const sums = new Map(conditions.map(({ condition }) => [condition, blank()]));
  for await (const batch of run.batches('steps')) addBatch(new Columns('steps', batch), batch.numRows, sums);
  return conditions.map((condition) => finish(condition, sums.get(condition.condition) ?? blank()));
}

function blank(): Sums {
  const texts = () => ({ all: new Set<string>(), parted: new Set<string>() });
  return {
    ...{ prompts: new Set(), compared: 0, differing: 0, steps: 0, logits: 0, flips: 0, ties: 0, widest: null },
    ...{ l2: 0, kl: 0, measured: 0, cached: 0, uncached: 0 },
    texts: { 'free-running': texts(), 'teacher-forced': texts() },
  };
}

function addBatch(columns: Columns, rows: number, sums: ReadonlyMap<string, Sums>): void {
  const [condition, prompt, protocol] = (['condition', 'prompt', 'protocol'] as const).map((name) =>
    columns.texts(name),
  );
  const [step, logits, l2, kl, margin] = (
    ['step', 'logits_n_differ', 'logits_l2_centred', 'kl', 'margin_uncached'] as const
  ).map((name) => columns.required(name));
  const [flip, differs, tieCached, tieUncached] = (['flip', 'differs', 'tie_cached', 'tie_uncached'] as const).map(
    (name) => columns.booleans(name),
  );
  const [cached, uncached] = [columns.numbers('error_cached'), columns.numbers('error_uncached')];
  for (let row = 0; row < rows; row++) {
    const own = sums.get(condition(row));
    const kind = protocol(row);
    if (!own || (kind !== 'free-running' && kind !== 'teacher-forced')) continue;
    const texts = own.texts[kind];
    texts.all.add(prompt(row));
    if (flip(row) === true) texts.parted.add(prompt(row));
    if (kind !== 'teacher-forced' || step(row) < 1) continue;
    own.prompts.add(prompt(row));
    own.steps += 1;
    own.l2 += l2(row);
    own.kl += kl(row);
    if (logits(row) > 0) own.logits += 1;
    if (differs(row) !== null) own.compared += 1;
    if (differs(row) === true) own.differing += 1;
    if (flip(row) === true) {
      own.flips += 1;
      if (tieCached(row) || tieUncached(row)) own.ties += 1;
      own.widest = Math.max(own.widest ?? 0, margin(row));
    }
    const [ofCached, ofUncached] = [cached(row), uncached(row)];
    if (ofCached !== null && ofUncached !== null) {
      own.measured += 1;
      own.cached += ofCached;
      own.uncached += ofUncached;
    }
  }
}

function finish(condition: RunCondition, sums: Sums): Comparison {
  const { prompts, compared, differing, steps, logits, flips, ties, widest, l2, kl, texts, measured } = sums;
  // A study keeps the free-running steps of texts that part alone; where there are none, the forced tokens are the text's own.
  const [free, forced] = [texts['free-running'], texts['teacher-forced']];
  const all = new Set([...free.all, ...forced.all]);
  const parted = [...all].filter((prompt) => (free.all.has(prompt) ? free : forced).parted.has(prompt));
  return {
    ...{ condition, steps, logits, flips, ties, widestFlip: widest },
    prompts: prompts.size,
    ...{ compared, differing },
    l2: steps === 0 ? null : l2 / steps,
    kl: steps === 0 ? null : kl / steps,
    texts: all.size,
    parted: parted.length,
    errors: measured === 0 ? null : { cached: sums.cached / measured, uncached: sums.uncached / measured },
  };
}
