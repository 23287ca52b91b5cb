/**
 * Writes what kvlens's statistics say of random inputs, for check_statistics.py to compute anew: `dump-statistics.mts FILE [SEED]`.
 */
import { writeFileSync } from 'node:fs';
import { bootstrapRatio } from '../../src/numerics/bootstrap.ts';
import { normalDistribution } from '../../src/numerics/normal.ts';
import { quantile } from '../../src/numerics/quantile.ts';
import { RandomStream } from '../../src/numerics/random.ts';
import { rateInterval } from '../../src/numerics/rate-interval.ts';
import { DriftHistogram } from '../../src/study/statistics/drift-histogram.ts';
import { predictFlips } from '../../src/study/statistics/flip-prediction.ts';
import { cumulativeIncidence, type Wait } from '../../src/study/statistics/incidence.ts';
import { incidenceIntervals } from '../../src/study/statistics/incidence-intervals.ts';
import { exactMcNemar, holm, neededDiscordant } from '../../src/study/statistics/mcnemar.ts';
import { largestUnseen } from '../../src/study/statistics/measured.ts';
import { pairedDifferenceInterval } from '../../src/study/statistics/paired-difference.ts';
import { areaUnderCurve } from '../../src/study/statistics/ranking.ts';
import { signFlipTest } from '../../src/study/statistics/sign-flip.ts';
import { driftBin } from '../../src/study/unit/unit-summary.ts';

const [file, seed = '0'] = process.argv.slice(2);
if (file === undefined) throw new Error('expected FILE');
const stream = new RandomStream(Number(seed), 'statistics');
const times = <Value,>(count: number, make: (index: number) => Value) =>
  Array.from({ length: count }, (_, index) => make(index));
const below = (limit: number) => stream.integer(limit);

const normal = times(400, () => {
  const x = 16 * stream.uniform() - 12;
  return { x, value: normalDistribution(x) };
});
const quantiles = times(100, () => {
  const sample = times(1 + below(40), () => Math.round(8 * stream.normal()) / 2);
  const q = stream.uniform();
  return { sample, q, value: quantile(sample, q) };
});
const rates = times(200, () => {
  const n = 1 + below(3_000);
  const count = below(n + 1);
  return { count, n, ...rateInterval(count, n), unseen: largestUnseen(n) };
});
const pairs = times(200, (i) => {
  const scale = i % 2 === 0 ? 12 : 400;
  const discordant = { first: below(scale), second: below(scale) };
  const n = discordant.first + discordant.second + 1 + below(3 * scale);
  return { ...discordant, n, p: exactMcNemar(discordant), ...pairedDifferenceInterval(discordant, n) };
});
const families = times(60, () => {
  // Rounded, so that some are equal.
  const p = times(1 + below(12), () => Math.round(50 * stream.uniform() ** 3) / 50);
  return { p, adjusted: holm(p), needed: neededDiscordant(p.length) };
});
const ends = ['event', 'competing', 'censored'] as const;
const incidences = times(40, () => {
  const waits = times(5 + below(60), (): Wait => ({ step: 1 + below(20), end: ends[below(3)] }));
  return { waits, curve: cumulativeIncidence(waits) };
});
const incidenceBands = times(4, () => {
  const waits = times(150, (): Wait => ({ step: 1 + below(20), end: ends[below(3)] }));
  return { waits, step: 8, interval: incidenceIntervals(waits, [8]).at[0].event };
});
const rankings = times(60, () => {
  const scores = times(4 + below(60), () => Math.round(5 * stream.normal()) / 2);
  const positive = scores.map((score) => stream.uniform() < 1 / (1 + Math.exp(-score)));
  return { scores, positive, value: areaUnderCurve(scores, positive) };
});
const signFlips = times(60, () => {
  const differences = times(2 + below(10), () => below(9) - 4);
  return { differences, ...signFlipTest(differences) };
});
/** Whole differences by the hundred: their exact distribution is a convolution, elsewhere a binomial. */
const manyFlips = times(20, () => {
  const differences = times(50 + below(400), () => (stream.uniform() < 0.55 ? 1 : -1));
  return { differences, ...signFlipTest(differences) };
});

/** Prompts of unlike lengths whose rates differ: overdispersed counts over steps. */
const promptUnits = (count: number, mean: number) =>
  times(count, () => {
    const bottom = 20 + below(130);
    const rate = mean * Math.exp(stream.normal() - 0.5);
    let top = 0;
    for (let step = 0; step < bottom; step++) if (stream.uniform() < rate) top += 1;
    return { top, bottom };
  });
const bootstraps = times(6, () => {
  const units = promptUnits(80, 0.05);
  return { units, ...bootstrapRatio(units), wide: bootstrapRatio(units, { level: 0.9 }) };
});
/** How often 95 % and 90 % intervals of 100 prompts hold the truth: log-normal drift per step, a little or much unlike. */
const coverage = [0.5, 1].map((sigma) => {
  const [trials, held] = [2_000, { 95: 0, 90: 0 }];
  for (let trial = 0; trial < trials; trial++) {
    const units = times(100, () => {
      const bottom = 20 + below(130);
      // Its mean is 1.
      return { top: bottom * Math.exp(sigma * stream.normal() - sigma ** 2 / 2), bottom };
    });
    const [wide, narrow] = [bootstrapRatio(units), bootstrapRatio(units, { level: 0.9 })];
    if (wide && wide.low <= 1 && wide.high >= 1) held[95] += 1;
    if (narrow && narrow.low <= 1 && narrow.high >= 1) held[90] += 1;
  }
  return { sigma, trials, held };
});

const histograms = times(20, () => {
  const values = times(200 + below(6_000), () =>
    stream.uniform() < 0.1 ? -stream.uniform() : Math.exp(2 * stream.normal()),
  );
  const histogram = new DriftHistogram();
  // As units bring them: in pieces, each with its own pairs.
  for (let from = 0; from < values.length; from += 150) {
    const counts = new Map<number, number>();
    for (const value of values.slice(from, from + 150)) {
      counts.set(driftBin(value), (counts.get(driftBin(value)) ?? 0) + 1);
    }
    histogram.add([...counts]);
  }
  return { values, extreme: histogram.extreme };
});
const predictions = times(10, () => {
  const prompts = times(2 + below(12), () => {
    const margins = times(1 + below(40), () => (stream.uniform() < 0.02 ? 0 : 0.2 * stream.uniform()));
    const shifts = margins.map(() => 0.05 * stream.normal());
    return { margins, shifts, flipped: margins.map((margin, i) => shifts[i] > margin) };
  });
  return { prompts, prediction: predictFlips(prompts) };
});

writeFileSync(
  file,
  JSON.stringify({
    ...{ normal, quantiles, rates, pairs, families, incidences, incidenceBands, rankings, signFlips, manyFlips },
    ...{ bootstraps, coverage, histograms, predictions },
  }),
);
