/** Equal passes, counted. */
export class PassCounts {
  private readonly counts = new Map<string, { rows: number; past: number; count: number }>();

  add(rows: number, past: number, times = 1): void {
    const key = `${rows} ${past}`;
    const known = this.counts.get(key);
    if (known) known.count += times;
    else this.counts.set(key, { rows, past, count: times });
  }

  /** In the order they first ran. */
  list(): { rows: number; past: number; count: number }[] {
    return [...this.counts.values()];
  }
}
