/** How large a checkpoint is. */
import type { Checkpoint } from './types.ts';

/** Numbers in the tensors a model reads; tied ones count once. */
export function parameterCount({ tensors }: Pick<Checkpoint, 'tensors'>): number {
  let parameters = 0;
  for (const { shape } of tensors.values()) parameters += shape.reduce((a, b) => a * b, 1);
  return parameters;
}
