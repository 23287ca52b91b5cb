/** The 2×2 and the residual patch of one prompt of a study. */
import { promptInput } from '../../divergence/prompt-runner.ts';
import type { UncachedPlan } from '../../model/arms.ts';
import type { Fault } from '../../model/faults.ts';
import type { Strategy } from '../../model/sampling/index.ts';
import { type Checks, mergeChecks, noChecks } from '../../patching/arms/checks.ts';
import { patchRows } from '../../patching/run/patch-tables.ts';
import { patchPrompt } from '../../patching/run/prompt-patching.ts';
import type { UnitRow } from '../../store/row-values.ts';
import type { Prompt } from '../prompts.ts';
import type { UnitSettings } from './unit.ts';
import type { CellSums } from './unit-summary.ts';
import type { GroupBench } from './workbench.ts';

export interface PatchUnitOptions {
  settings: UnitSettings;
  strategy: Strategy;
  uncachedPlan: UncachedPlan;
  faults: readonly Fault[];
}

export interface PatchedUnit {
  rows: UnitRow<'patches'>[];
  sums: CellSums[];
  checks: Checks;
}

/** Patch one prompt by every spec of the study. */
export async function patchUnit(bench: GroupBench, options: PatchUnitOptions, prompt: Prompt): Promise<PatchedUnit> {
  const { executor, specs } = bench;
  const { settings, strategy, uncachedPlan, faults } = options;
  const { decodeRows, maxNewTokens, ignoreEos } = settings;
  const rows: UnitRow<'patches'>[] = [];
  let checks = noChecks();
  for (const { resolved, saved } of specs) {
    const found = await patchPrompt(
      { executor, resolved, saved, strategy, decodeRows, maxNewTokens, ignoreEos, uncachedPlan, faults },
      promptInput(prompt),
    );
    const { spec, cells } = resolved;
    for (const cell of found.cells) {
      rows.push(...patchRows(cell, cells[cell.cell], spec.name, prompt.tokens.length));
    }
    checks = mergeChecks(checks, found.checks);
  }
  return { rows, sums: sumCells(rows), checks };
}

/** Rows of one kind of cell at one horizon together, in the order in which they first appear. */
export function sumCells(rows: readonly UnitRow<'patches'>[]): CellSums[] {
  const sums = new Map<string, CellSums>();
  for (const row of rows) {
    const { spec, history, kernel, hook, horizon } = row;
    const key = [spec, history, kernel, hook, horizon].join('\n');
    const sum = sums.get(key) ?? {
      ...{ spec, history, kernel, hook, horizon, cells: 0, base: 0, patched: 0 },
      ...{ vacuous: 0, byConstruction: 0, harmful: 0, exact: 0 },
    };
    sums.set(key, sum);
    if (row.exact) sum.exact += 1;
    if (row.vacuous) sum.vacuous += 1;
    else if (row.by_construction) sum.byConstruction += 1;
    else {
      sum.cells += 1;
      sum.base += row.distance_base;
      sum.patched += row.distance_patched;
      if (row.harmful) sum.harmful += 1;
    }
  }
  return [...sums.values()];
}
