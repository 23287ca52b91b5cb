/** What a run on this kind of machine can and cannot say. */
import { isEmulated } from '../../graph/kernels.ts';
import type { StorageType } from '../../numerics/types.ts';
import type { Condition } from '../definition/condition.ts';
import { isHalf } from './precisions.ts';

const names: Record<StorageType, string> = { f16: 'fp16', bf16: 'bf16', f32: 'fp32', f64: 'fp64' };

/** The sentence that stands beside every table of a study. */
export function machineSentence(conditions: readonly Pick<Condition, 'policy' | 'kernels'>[]): string {
  const half = new Set(conditions.filter(({ policy }) => isHalf(policy)).map(({ policy }) => names[policy.default]));
  const emulated = new Set(conditions.filter(({ kernels }) => isEmulated(kernels)).map(({ kernels }) => kernels.name));
  const storage = [...half].join(' and ');
  return [
    storage === ''
      ? 'Measured on a CPU, without half precision.'
      : `Measured on a CPU: ${storage} storage with per-operation rounding and fp32 accumulation.`,
    ...(emulated.size > 0 ? [`Kernels of a GPU are emulated in the graph: ${[...emulated].join(', ')}.`] : []),
    'This tests the logic of the claims and is no GPU’s native figure; one model per architecture identifies no effect of the architecture.',
  ].join(' ');
}
