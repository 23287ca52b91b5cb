/** The result object of `patch` for a clean/corrupted run. A failed harness gate leaves no number in it. */
import type { CleanCorruptedSummary } from '../patching/clean-corrupted/run.ts';
import type { CleanCorruptedRow } from '../patching/sweep/clean-corrupted.ts';
import type { Result } from './contract.ts';
import { toMeasure } from './contract-parts.ts';
import { nothingElse } from './patch-nothing.ts';

type Cell = Result<'patch'>['cells'][number];

/** What a run found, for programs. `run` is the run directory. */
export function cleanCorruptedResult(summary: CleanCorruptedSummary, run: string): Result<'patch'> {
  const { gates, spec, model, precision, kernels, found } = summary;
  const failed = gates.filter((gate) => !gate.passed).map(({ name }) => name);
  return {
    ...nothingElse(),
    run,
    cells: found ? found.grids.flatMap(({ rows }) => rows.map(cellResult)) : [],
    gates: { passed: failed.length === 0, failed, results: gates },
    ...{ spec: spec.name, model, precision, kernels, strategy: 'greedy', decodeRows: 1 },
    ...{ prompts: 2, steps: 0, patchedSteps: 0 },
    baselines: found && {
      ...{ metric: found.metric, clean: toMeasure(found.clean), corrupted: toMeasure(found.corrupted) },
      ...{ distance: toMeasure(found.base.distance), kl: toMeasure(found.base.kl), differing: found.differing },
    },
    spotChecks: { steps: 0, failed: 0 },
  };
}

function cellResult(row: CleanCorruptedRow): Cell {
  const returns = row.token_follows > 0;
  const flips = row.token_follows_base === 0;
  return {
    ...{ history: 'recomputed', kernel: 'prefill', patch: patchName(row) },
    ...{ recovery: orNull(row.recovery), exact: row.exact },
    ...{ hook: row.hook, layer: row.layer, firstLayer: row.first_layer, head: row.head },
    component: row.component === 'k' ? 'k' : row.component === 'v' ? 'v' : 'value',
    ...{ age: null, count: 1, unchanged: Number(row.n_changed === 0) },
    horizons: [
      {
        ...{ horizon: row.horizon, recovery: orNull(row.recovery), low: null, high: null },
        recoveryKl: orNull(row.recovery_kl),
        ...{ distanceBase: toMeasure(row.distance_base), distancePatched: toMeasure(row.distance_patched) },
        ...{ count: 1, exact: Number(row.exact), vacuous: Number(row.vacuous), harmful: Number(row.harmful) },
        byConstruction: Number(row.by_construction),
      },
    ],
    tokens: {
      ...{ flips: Number(flips), returned: Number(flips && returns) },
      ...{ follows: row.token_follows, followsBase: row.token_follows_base },
    },
    cleanCorrupted: {
      ...{ positions: [row.pos_start, row.pos_end], source: row.src_pos },
      metric: toMeasure(row.metric_patched ?? Number.NaN),
      metricRecovery: orNull(row.metric_recovery),
    },
  };
}

/** `blocks.3.attn.hook_z head 2 at 17`, `blocks.0.hook_mlp_out at 0–51` */
function patchName({ hook, head, pos_start, pos_end, src_pos }: CleanCorruptedRow): string {
  const positions = pos_end - pos_start === 1 ? `${pos_start}` : `${pos_start}–${pos_end - 1}`;
  const source = src_pos === null ? '' : ` reading ${src_pos}`;
  return `${hook}${head === null ? '' : ` head ${head}`} at ${positions}${source}`;
}

function orNull(value: number | null): ReturnType<typeof toMeasure> | null {
  return value === null ? null : toMeasure(value);
}
