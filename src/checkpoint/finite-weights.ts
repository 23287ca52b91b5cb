/** Weights that are not numbers: told at once where reading them all costs nothing, left to the finite gate otherwise. */
import { InputError } from '../errors.ts';
import type { Checkpoint } from './types.ts';

/** Checkpoints up to this size are read in full; larger ones would take seconds to minutes. */
const largestChecked = 64 * 2 ** 20;

/** @throws InputError naming the first tensor of a small checkpoint that holds NaN or an infinity. */
export function checkFiniteWeights({ tensors, readTensor }: Checkpoint): void {
  let bytes = 0;
  for (const tensor of tensors.values()) bytes += tensor.bytes;
  if (bytes > largestChecked) return;
  for (const { name, file } of tensors.values()) {
    const values = readTensor(name);
    const at = values.findIndex((value) => !Number.isFinite(value));
    if (at < 0) continue;
    throw new InputError(
      `${file}: tensor ${name} holds ${values[at]} at element ${at}, expected finite numbers`,
      'the checkpoint is damaged, or training diverged: download or export it again',
    );
  }
}
