/** Cells of one prompt summed up: what is vacuous or exact by construction is counted, and is no evidence. */
import { expect, test } from 'vitest';
import type { UnitRow } from '../../../src/store/row-values.ts';
import { sumCells } from '../../../src/study/unit/patch-unit.ts';

const row = (changes: Partial<UnitRow<'patches'>> = {}): UnitRow<'patches'> => ({
  ...{ spec: 'two-by-two', step: 1, horizon: 0, history: 'recomputed', kernel: 'decode', hook: '*.hook_cache_k' },
  ...{ layer: 0, head: null, component: 'both', pos_start: 0, pos_end: 4, distance_base: 4, distance_patched: 1 },
  ...{ position: 4, first_layer: 0, src_pos: null, n_changed: 8, kl_base: 1, kl_patched: 0.1 },
  ...{ token_returns: null, token_follows: 1, token_follows_base: 0, metric: null, metric_clean: null },
  ...{ metric_corrupted: null, metric_patched: null, metric_recovery: null },
  ...{ recovery: 0.75, recovery_kl: 0.9, exact: false, vacuous: false, harmful: false, by_construction: false },
  ...changes,
});
const kind = { spec: 'two-by-two', history: 'recomputed', kernel: 'decode', hook: '*.hook_cache_k', horizon: 0 };
const none = { cells: 0, base: 0, patched: 0, vacuous: 0, byConstruction: 0, harmful: 0, exact: 0 };

test('distances of cells of one kind add up', () => {
  expect(sumCells([row(), row({ step: 9, distance_base: 2, distance_patched: 2 })])).toEqual([
    { ...kind, ...none, cells: 2, base: 6, patched: 3 },
  ]);
});

test('a vacuous cell adds no distance', () => {
  const vacuous = row({ vacuous: true, exact: true, distance_base: 8, distance_patched: 8 });
  expect(sumCells([vacuous])).toEqual([{ ...kind, ...none, vacuous: 1, exact: 1 }]);
});

test('nor does one that is exact by construction', () => {
  const constructed = row({ by_construction: true, exact: true, distance_patched: 0 });
  expect(sumCells([constructed, row()])).toEqual([
    { ...kind, ...none, cells: 1, base: 4, patched: 1, byConstruction: 1, exact: 1 },
  ]);
});

test('a harmful cell counts: it is what the patch does', () => {
  expect(sumCells([row({ harmful: true, distance_base: 0, distance_patched: 3 })])).toEqual([
    { ...kind, ...none, cells: 1, patched: 3, harmful: 1 },
  ]);
});

test('cells that differ in spec, history, kernel, hook or horizon are of another kind', () => {
  const changes = [
    { spec: 'residual' },
    { history: 'cached' },
    { kernel: 'prefill' },
    { hook: 'none' },
    { horizon: 1 },
  ];
  expect(sumCells([row(), ...changes.map(row)])).toHaveLength(6);
});
