/** The result object of `study`. A shard has no outcome: its lists are empty, since verdicts are about the whole. */

import { join } from 'node:path';
import type { ConditionOutcome, StudyVerdict } from '../study/outcome/types.ts';
import { damaged } from '../study/run/finished.ts';
import type { StudyResult } from '../study/run/publish.ts';
import { type Result, results } from './contract.ts';
import { toMeasure } from './contract-parts.ts';

type Condition = Result<'study'>['conditions'][number];

/** What a study or one of its shards found, for programs. `run` is the run directory. */
export function studyResult({ name, shard, units, gates, explained, outcome }: StudyResult, run: string) {
  const failed = gates.filter(({ passed }) => !passed).map((gate) => `${gate.group} ${gate.name}`);
  return {
    run,
    conditions: (outcome?.conditions ?? []).map(conditionResult),
    verdicts: (outcome?.verdicts ?? []).map(verdictResult),
    ...{ name, shard, units },
    falsification: outcome?.falsification ?? [],
    profiles: outcome?.profiles ?? [],
    table: outcome?.table ?? [],
    machine: outcome?.machine ?? null,
    explained,
    gates: { passed: failed.length === 0, failed, results: gates },
  } satisfies Result<'study'>;
}

/**
 * What a finished run found, read again from its files: they may have been changed.
 * @throws InputError if they lack what a study finds
 */
export function finishedResult(found: StudyResult, run: string): Result<'study'> {
  try {
    const result = studyResult(found, run);
    // The keys stay in the order in which a new study prints them.
    if (results.study.safeParse(result).success) return result;
  } catch {
    // A field is not there at all.
  }
  throw damaged(join(run, 'outcomes.json'), 'is not what a study writes');
}

/** Figures that are sums of what the arms gave may not be finite; all others are null where they have no value. */
function conditionResult({ results, ...condition }: ConditionOutcome): Condition {
  if (results === null) return { ...condition, results: null };
  const { firstDivergence, layers, orderMatched, placebo } = results;
  const { margins, widest, suspectAbove } = firstDivergence;
  return {
    ...condition,
    results: {
      ...results,
      firstDivergence: {
        ...firstDivergence,
        margins: margins && {
          count: margins.count,
          ...{ min: word(margins.min), median: word(margins.median), max: word(margins.max) },
        },
        suspectAbove: word(suspectAbove),
        widest: widest.map((flip) => ({ ...flip, margin: word(flip.margin) })),
      },
      layers: layers?.map((layer) => ({ ...layer, rms: word(layer.rms) })) ?? null,
      orderMatched: orderMatched && {
        ...orderMatched,
        ...{ distance: word(orderMatched.distance), ordinary: word(orderMatched.ordinary) },
      },
      placebo: placebo && {
        ...placebo,
        drift: word(placebo.drift),
        // The last edge may be infinite, which is null in the files.
        bins: placebo.bins.map(([upper, count]) => [upper === null ? 'Infinity' : toMeasure(upper), count]),
      },
    },
  };
}

function verdictResult({ inputs, ...verdict }: StudyVerdict): Result<'study'>['verdicts'][number] {
  const shown = Object.entries(inputs).map(([name, value]) => [name, typeof value === 'number' ? word(value) : value]);
  return { ...verdict, inputs: Object.fromEntries(shown) };
}

/** Null stays null, also of a finished run that is read again: in its files a value that is no number is null. */
function word(value: number | null) {
  return value === null ? null : toMeasure(value);
}
