/** What a null says: how far its runs drift at each step, and what that is beside the drift that was observed. */
import { quantile } from '../../numerics/quantile.ts';

/** Centred L2 of the logits at each decode step, one row per seed. */
export type DistancesBySeed = readonly (readonly number[])[];

/** The distances of all seeds and steps together. */
export interface NullSummary {
  seeds: number;
  steps: number;
  mean: number;
  /** Quantiles of the pooled distances. */
  quantiles: { q50: number; q90: number; q95: number; q999: number };
  max: number;
  /** Share of the pooled distances that are 0. */
  zero: number;
  /** Quantiles over seeds of each seed's mean: what one whole run of the null drifts on average. */
  seedMeans: { q05: number; q50: number; q95: number };
}

/** Summarise a null over seeds and steps. */
export function summariseNull(distances: DistancesBySeed): NullSummary {
  const pooled = distances.flat();
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const seedMeans = distances.filter((row) => row.length > 0).map(mean);
  const at = (q: number) => quantile(pooled, q);
  return {
    seeds: distances.length,
    steps: distances[0]?.length ?? 0,
    mean: mean(pooled),
    quantiles: { q50: at(0.5), q90: at(0.9), q95: at(0.95), q999: at(0.999) },
    max: pooled.reduce((most, value) => Math.max(most, value), 0),
    zero: pooled.filter((value) => value === 0).length / pooled.length,
    seedMeans: { q05: quantile(seedMeans, 0.05), q50: quantile(seedMeans, 0.5), q95: quantile(seedMeans, 0.95) },
  };
}
