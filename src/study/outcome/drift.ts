/** How far the arms lie apart: logits, layers, patched cells, and each arm from a reference. */
import { mapped, measuredRatio } from '../statistics/measured.ts';
import type { CellSums, LayerSums, StepSums } from '../unit/unit-summary.ts';
import type { PromptRecord } from './record.ts';
import type {
  ArmErrors,
  CellRecovery,
  Drift,
  HonestSteps,
  LayerDrift,
  LayerPart,
  OrderMatchedOutcome,
  TemperatureDrift,
} from './types.ts';

/** Mean distances of the logits per step. */
export function driftOf(prompts: readonly PromptRecord[]): Drift {
  const mean = (of: (sums: StepSums) => number) =>
    measuredRatio(prompts.map(({ sums }) => ({ top: of(sums), bottom: sums.steps })));
  return {
    l2: mean(({ l2Centred }) => l2Centred),
    kl: mean(({ kl }) => kl),
    js: mean(({ js }) => js),
    tv: mean(({ tv }) => tv),
  };
}

/** Each arm against the run's oracle, and against the unrounded checkpoint in single and in double precision. */
export function references(prompts: readonly PromptRecord[]) {
  const oracle = ({ errorCached: cached, errorUncached: uncached }: StepSums) =>
    cached === null || uncached === null ? null : { cached, uncached };
  return {
    oracle: armErrors(prompts, oracle),
    single: armErrors(prompts, ({ single }) => single),
    double: armErrors(prompts, ({ double }) => double),
  };
}

function armErrors(
  prompts: readonly PromptRecord[],
  of: (sums: StepSums) => { cached: number; uncached: number } | null,
): ArmErrors | null {
  const found = prompts.flatMap(({ sums }) => {
    const error = of(sums);
    return error === null ? [] : [{ ...error, steps: sums.steps }];
  });
  if (found.length === 0) return null;
  const ratio = measuredRatio(found.map(({ cached, uncached }) => ({ top: cached, bottom: uncached })));
  return {
    prompts: found.length,
    steps: found.reduce((sum, { steps }) => sum + steps, 0),
    cached: measuredRatio(found.map(({ cached, steps }) => ({ top: cached, bottom: steps }))),
    uncached: measuredRatio(found.map(({ uncached, steps }) => ({ top: uncached, bottom: steps }))),
    ratio,
    closer: closer(ratio),
  };
}

function closer(ratio: ArmErrors['ratio']): ArmErrors['closer'] {
  if (ratio === null || ratio.lower === null || ratio.upper === null) return null;
  if (ratio.upper < 1) return 'cached';
  return ratio.lower > 1 ? 'uncached' : 'neither';
}

/** Drift of the residual stream layer by layer, over the profiled prompts; null where there is none. */
export function layerDrift(prompts: readonly PromptRecord[]): LayerDrift[] | null {
  const byLayer = groupedBy(
    prompts.flatMap(({ layers }) => layers ?? []),
    ({ layer }) => layer,
  );
  if (byLayer.size === 0) return null;
  return [...byLayer].sort(([a], [b]) => a - b).map(([layer, rows]) => oneLayer(layer, rows));
}

const parts = ['added', 'viaHistory', 'viaResidual'] as const;

function oneLayer(layer: number, rows: readonly LayerSums[]): LayerDrift {
  const total = (of: (row: LayerSums) => number) => rows.reduce((sum, row) => sum + of(row), 0);
  const steps = total((row) => row.steps);
  const rms = Math.sqrt(total(({ relL2Squared }) => relL2Squared) / steps);
  const measured = rows.filter((row) => parts.every((part) => row[part] !== null));
  const sums = parts.map((part) => measured.reduce((sum, row) => sum + (row[part] ?? 0), 0));
  const together = sums.reduce((a, b) => a + b, 0);
  const part = (name: (typeof parts)[number]): LayerPart | null =>
    measured.length === 0
      ? null
      : {
          mean: measuredRatio(measured.map((row) => ({ top: row[name] ?? 0, bottom: row.steps }))),
          share: together > 0 ? sums[parts.indexOf(name)] / together : null,
        };
  return {
    ...{ layer, prompts: rows.length, steps },
    equalShare: steps > 0 ? total(({ equal }) => equal) / steps : 1,
    rms: Number.isFinite(rms) ? rms : null,
    mean: measuredRatio(rows.map((row) => ({ top: row.relL2, bottom: row.steps }))),
    ...{ added: part('added'), viaHistory: part('viaHistory'), viaResidual: part('viaResidual') },
  };
}

/** Recovery of every kind of cell, in the order of spec, history, kernel, hook and horizon. */
export function cellRecovery(prompts: readonly PromptRecord[]): CellRecovery[] {
  const key = ({ spec, history, kernel, hook, horizon }: CellSums) =>
    JSON.stringify([spec, history, kernel, hook, String(horizon).padStart(9, '0')]);
  const byKind = groupedBy(
    prompts.flatMap(({ cells }) => cells ?? []),
    key,
  );
  return [...byKind]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, rows]) => {
      const [{ spec, history, kernel, hook, horizon }] = rows;
      const total = (name: 'cells' | 'vacuous' | 'byConstruction' | 'harmful' | 'exact') =>
        rows.reduce((sum, row) => sum + row[name], 0);
      // A prompt whose cells are all left out says nothing, and is not drawn.
      const counted = rows.filter(({ cells }) => cells > 0);
      const remaining = measuredRatio(counted.map(({ patched, base }) => ({ top: patched, bottom: base })));
      return {
        ...{ spec, history, kernel, hook, horizon, prompts: counted.length, cells: total('cells') },
        ...{ vacuous: total('vacuous'), byConstruction: total('byConstruction') },
        ...{ harmful: total('harmful'), exact: total('exact') },
        recovery: mapped(remaining, (share) => 1 - share),
      };
    });
}

/** Order-matched decoding, and ordinary decoding of the same prompts; null where it was not run. */
export function orderMatchedOutcome(prompts: readonly PromptRecord[]): OrderMatchedOutcome | null {
  const found = prompts.flatMap(({ orderMatched, sums }) => (orderMatched === null ? [] : [{ orderMatched, sums }]));
  const steps = found.reduce((sum, { orderMatched }) => sum + orderMatched.steps, 0);
  if (steps === 0) return null;
  const ordinarySteps = found.reduce((sum, { sums }) => sum + sums.steps, 0);
  return {
    ...{ prompts: found.length, steps },
    differingElements: found.reduce((sum, { orderMatched }) => sum + orderMatched.differingElements, 0),
    distance: found.reduce((sum, { orderMatched }) => sum + orderMatched.distance, 0) / steps,
    ordinary: ordinarySteps > 0 ? found.reduce((sum, { sums }) => sum + sums.l2Centred, 0) / ordinarySteps : 0,
  };
}

/** Mean TV, and the upper bound of a flip rate, at each temperature of the sweep. */
export function temperatureDrift(prompts: readonly PromptRecord[]): TemperatureDrift[] {
  const byTemperature = groupedBy(
    prompts.flatMap(({ temperatures, sums: { steps } }) => temperatures.map((sums) => ({ ...sums, steps }))),
    ({ temperature }) => temperature,
  );
  return [...byTemperature]
    .sort(([a], [b]) => a - b)
    .map(([temperature, rows]) => ({
      temperature,
      tv: measuredRatio(rows.map(({ tv, steps }) => ({ top: tv, bottom: steps }))),
      upper: measuredRatio(rows.map(({ upper, steps }) => ({ top: upper, bottom: steps }))),
    }));
}

/** Steps of the uncached arm that were recomputed in full; where all were, the prefill's counts, too. */
export function honestSteps(prompts: readonly PromptRecord[]): HonestSteps {
  const total = (of: (prompt: PromptRecord) => number) => prompts.reduce((sum, prompt) => sum + of(prompt), 0);
  return {
    checked: total(({ uncached }) => uncached.checked),
    failed: total(({ uncached }) => uncached.failed),
    recomputed: total(({ uncached }) => (uncached.recomputed ? 1 : 0)),
    steps: total(({ uncached, sums }) => (uncached.recomputed ? sums.steps + 1 : uncached.checked)),
  };
}

function groupedBy<Row, Key>(rows: readonly Row[], key: (row: Row) => Key): Map<Key, Row[]> {
  const groups = new Map<Key, Row[]>();
  for (const row of rows) {
    const group = groups.get(key(row));
    if (group) group.push(row);
    else groups.set(key(row), [row]);
  }
  return groups;
}
