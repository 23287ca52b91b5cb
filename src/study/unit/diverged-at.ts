/** Where two texts part. */

/** The first step whose tokens differ, or the last one of a text that ended although the other went on alike. */
export function divergedAt(cached: readonly number[], uncached: readonly number[]): number | null {
  const common = Math.min(cached.length, uncached.length);
  for (let step = 0; step < common; step++) if (cached[step] !== uncached[step]) return step;
  return cached.length === uncached.length ? null : common - 1;
}
