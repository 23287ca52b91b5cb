/** How well a score ranks what happens above what does not. */

/**
 * Area under the receiver operating characteristic: the chance that a random positive scores higher than a random negative,
 * ties counting half. Null without one of each. Source: Mann and Whitney 1947; Hanley and McNeil 1982.
 */
export function areaUnderCurve(scores: readonly number[], positive: readonly boolean[]): number | null {
  const order = scores.map((_, i) => i).sort((a, b) => scores[a] - scores[b]);
  const positives = positive.filter(Boolean).length;
  const negatives = positive.length - positives;
  if (positives === 0 || negatives === 0) return null;
  let rankSum = 0;
  for (let from = 0; from < order.length; ) {
    let to = from + 1;
    while (to < order.length && scores[order[to]] === scores[order[from]]) to += 1;
    // Ties share the mean of ranks from + 1 … to.
    const rank = (from + 1 + to) / 2;
    for (let i = from; i < to; i++) if (positive[order[i]]) rankSum += rank;
    from = to;
  }
  return (rankSum - (positives * (positives + 1)) / 2) / (positives * negatives);
}
