/** What benches compute from repeated measurements. */

export function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Linear between known points; proportional to x before the first and beyond the last. */
export function interpolate(points: ReadonlyMap<number, number>, x: number): number {
  const sorted = [...points].sort(([a], [b]) => a - b);
  const exact = points.get(x);
  if (exact !== undefined) return exact;
  const next = sorted.findIndex(([at]) => at > x);
  if (next <= 0) {
    const [at, value] = sorted[next < 0 ? sorted.length - 1 : 0];
    return (value * x) / at;
  }
  const [[x0, y0], [x1, y1]] = [sorted[next - 1], sorted[next]];
  return y0 + ((y1 - y0) * (x - x0)) / (x1 - x0);
}
