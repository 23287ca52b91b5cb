/** One condition of a study: a model that decodes under one strategy, precision and kernel preset. Plain data. */
import type { CheckpointReference } from '../../checkpoint/expand-kv.ts';
import type { KernelPreset } from '../../graph/kernels.ts';
import type { RoundingPolicy } from '../../graph/rounding.ts';
import type { Strategy } from '../../model/sampling/index.ts';

/** How the arms' random numbers are coupled: the same keys in both, or each its own. Greedy decoding draws none. */
export type Coupling = 'keyed' | 'independent';

/** A model of a study as its outcomes see it. */
export interface StudyModel {
  /** Unique in the study. */
  name: string;
  family: string;
  /** Query heads and K/V heads. */
  heads: number;
  kvHeads: number;
  layers: number;
}

export interface Condition {
  /** Place in the study. */
  index: number;
  /** `model/precision/kernels/strategy`, unique in the study. */
  name: string;
  model: StudyModel;
  policy: RoundingPolicy;
  kernels: KernelPreset;
  /** Of the strategy, with what makes it another one: `greedy`, `t0.7-p0.9`, `t1.0-k50-inverse-cdf`, `t1.0-k50-unkeyed`. */
  strategyName: string;
  strategy: Strategy;
  coupling: Coupling;
  /** Rows of left padding of the cached arm. */
  padding: number;
}

/** Where a condition's model is. */
export type ModelReferences = ReadonlyMap<string, CheckpointReference>;
