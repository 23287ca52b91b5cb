/** The factors of a study, and the conditions that are every combination of them. */
import type { ModelConfig } from '../../checkpoint/types.ts';
import type { KernelPreset } from '../../graph/kernels.ts';
import type { RoundingPolicy } from '../../graph/rounding.ts';
import type { Condition } from './condition.ts';
import type { StudyStrategy } from './strategies.ts';

/** Plain data: a run's manifest holds them. */
export interface Factors {
  models: readonly { name: string; config: ModelConfig }[];
  policies: readonly RoundingPolicy[];
  kernels: readonly KernelPreset[];
  padding: readonly number[];
  strategies: readonly StudyStrategy[];
}

/** Conditions that share graphs: a model, a policy and a kernel preset. Gates are measured once for each. */
export interface Group {
  index: number;
  /** `model/precision/kernels` */
  name: string;
  model: string;
  policy: RoundingPolicy;
  kernels: KernelPreset;
}

export interface CrossedFactors {
  groups: readonly Group[];
  conditions: readonly Condition[];
  /** Group of each condition. */
  groupOf: readonly number[];
}

/**
 * Models, precisions, kernels, padding, strategies, in that order of nesting, so that conditions which share graphs follow one
 * another.
 */
export function crossFactors({ models, policies, kernels, padding, strategies }: Factors): CrossedFactors {
  const groups: Group[] = [];
  const conditions: Condition[] = [];
  const groupOf: number[] = [];
  for (const { name: model, config } of models) {
    const { modelType: family, heads, kvHeads, layers } = config;
    for (const policy of policies) {
      for (const preset of kernels) {
        const name = [model, policy.name, preset.name].join('/');
        const group = { index: groups.length, name, model, policy, kernels: preset };
        groups.push(group);
        for (const rows of padding) {
          for (const { name: strategyName, strategy, coupling } of strategies) {
            const padded = rows === 0 ? [] : [`padding-${rows}`];
            conditions.push({
              index: conditions.length,
              name: [name, strategyName, ...padded].join('/'),
              model: { name: model, family, heads, kvHeads, layers },
              ...{ policy, kernels: preset, strategyName, strategy, coupling, padding: rows },
            });
            groupOf.push(group.index);
          }
        }
      }
    }
  }
  return { groups, conditions, groupOf };
}
