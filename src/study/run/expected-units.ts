/** Which units a study has to make, and whether a journal has them all. */
import { harnessHolds } from '../../divergence/gates/index.ts';
import type { UnitJournal } from './unit-journal.ts';
import type { Shard, WorkUnits } from './work-units.ts';

/** Units of a shard, in order; none under graphs that failed a harness gate. Gates that are not known yet may hold. */
export function* expectedUnits(
  groupOf: readonly number[],
  units: WorkUnits,
  shard: Shard | null,
  { gates }: Pick<UnitJournal, 'gates'>,
): Generator<number> {
  for (const unit of units.of(shard)) {
    const measured = gates.get(groupOf[units.at(unit).condition]);
    if (measured === undefined || harnessHolds(measured.gates)) yield unit;
  }
}

/** What a journal has of it: how many units of how many; whole, if the gates of every group are there too. */
export function progressOf(
  { groups, groupOf }: { groups: readonly unknown[]; groupOf: readonly number[] },
  units: WorkUnits,
  shard: Shard | null,
  journal: UnitJournal,
): { done: number; total: number; whole: boolean } {
  let [done, total] = [0, 0];
  for (const unit of expectedUnits(groupOf, units, shard, journal)) {
    total += 1;
    if (journal.has(unit)) done += 1;
  }
  return { done, total, whole: done === total && journal.gates.size === groups.length };
}
