/** What the sessions of a placebo's kernels take while they stay loaded between prompts. */
import type { ModelConfig } from '../../checkpoint/types.ts';
import { type OperationClass, stageClasses } from '../../graph/kernels.ts';
import { computeType, type RoundingPolicy } from '../../graph/rounding.ts';
import { stageParameters } from '../../model/memory.ts';

/**
 * Bytes of weights of the permuted stages, once per seed; stages without a permuted class share the sessions of the uncached
 * arm. An estimate from shapes: the runtime has kept 4 to 6 bytes per parameter in float32.
 */
export function placeboBytes(
  config: ModelConfig,
  policy: RoundingPolicy,
  classes: readonly OperationClass[],
  seeds: number,
): number {
  const isPermuted = (stage: readonly OperationClass[]) => stage.some((name) => classes.includes(name));
  const stages = stageParameters(config).filter((_, i) =>
    isPermuted(i < config.layers ? stageClasses.block : stageClasses.unembed),
  );
  const size = computeType(policy) === 'f64' ? 8 : 4;
  return seeds * size * stages.reduce((sum, parameters) => sum + parameters, 0);
}
