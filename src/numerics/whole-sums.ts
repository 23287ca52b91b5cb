/** Sums of independent whole numbers: their distribution, exactly, by convolution. */

/** chance[i] is the probability of least + i. */
export interface WholeDistribution {
  least: number;
  chance: Float64Array;
}

/** Probabilities below this are cut off at both ends: less than doubles can add to anything. */
const negligible = 1e-300;

/** The distribution that gives each of these whole numbers the same chance. */
export function evenly(values: readonly number[]): WholeDistribution {
  const least = values.reduce((a, b) => Math.min(a, b), Infinity);
  const most = values.reduce((a, b) => Math.max(a, b), -Infinity);
  const counts = new Float64Array(most - least + 1);
  for (const value of values) counts[value - least] += 1;
  return { least, chance: counts.map((count) => count / values.length) };
}

/** The distribution of the sum of one number of each; of none it is 0. */
export function sumOf(parts: Iterable<WholeDistribution>): WholeDistribution {
  let sum: WholeDistribution = { least: 0, chance: Float64Array.of(1) };
  for (const part of parts) sum = trimmed(convolved(sum, part));
  return sum;
}

function convolved(a: WholeDistribution, b: WholeDistribution): WholeDistribution {
  const chance = new Float64Array(a.chance.length + b.chance.length - 1);
  for (const [j, weight] of b.chance.entries()) {
    if (weight === 0) continue;
    for (let i = 0; i < a.chance.length; i++) chance[i + j] += a.chance[i] * weight;
  }
  return { least: a.least + b.least, chance };
}

function trimmed({ least, chance }: WholeDistribution): WholeDistribution {
  const from = chance.findIndex((each) => each > negligible);
  const to = chance.findLastIndex((each) => each > negligible);
  return { least: least + from, chance: chance.subarray(from, to + 1) };
}
