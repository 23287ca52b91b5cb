/** The placebo's drift, pooled: how far sums in another order alone lean against a choice. */
import { binUpper } from '../unit/unit-summary.ts';

/** Counts by bin of `driftBin`. */
export class DriftHistogram {
  private readonly counts = new Map<number, number>();
  private total = 0;

  add(pairs: readonly (readonly [bin: number, count: number])[]): void {
    for (const [bin, count] of pairs) {
      this.counts.set(bin, (this.counts.get(bin) ?? 0) + count);
      this.total += count;
    }
  }

  get samples(): number {
    return this.total;
  }

  /** Upper edge of each bin that holds a value, and how many; ascending. */
  get bins(): [upper: number, count: number][] {
    return [...this.counts].sort(([a], [b]) => a - b).map(([bin, count]) => [binUpper(bin), count]);
  }

  /**
   * The 99.9 % quantile: upper edge of the first bin up to which 999 of 1,000 values lie, so that rounding to bins never makes a
   * margin suspect. Null without a value.
   */
  get extreme(): number | null {
    if (this.total === 0) return null;
    const wanted = this.total - Math.floor(this.total / 1000);
    let below = 0;
    for (const [upper, count] of this.bins) {
      below += count;
      if (below >= wanted) return upper;
    }
    return null;
  }
}
