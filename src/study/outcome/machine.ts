/** What a run on this kind of machine can and cannot say. */
import { isEmulated } from '../../graph/kernels.ts';
import { formats } from '../../numerics/types.ts';
import type { Condition } from '../definition/condition.ts';
import { isHalf } from './precisions.ts';

const names = { f16: 'fp16', bf16: 'bf16', f32: 'fp32', f64: 'fp64' } as const satisfies Record<
  keyof typeof formats,
  string
>;

/** The sentence that stands beside every table of a study. */
export function machineSentence(conditions: readonly Pick<Condition, 'policy' | 'kernels'>[]): string {
  const half = new Set(conditions.filter(({ policy }) => isHalf(policy)).map(({ policy }) => names[policy.default]));
  const emulated = new Set(conditions.filter(({ kernels }) => isEmulated(kernels)).map(({ kernels }) => kernels.name));
  const storage = [...half].map((type) => `${type} storage with per-operation rounding and fp32 accumulation`);
  return [
    `Measured on a CPU: ${storage.join(', ') || 'no half precision'}.`,
    ...(emulated.size > 0 ? [`${[...emulated].join(', ')}: a GPU's kernel emulated in the graph.`] : []),
    'It tests the logic of the claims; it is no GPU’s native figure, and one small model per architecture identifies no effect of the architecture.',
  ].join(' ');
}
