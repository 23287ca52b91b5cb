/** How a permuted arm of a study sums. */
import { type GraphKernel, type KernelPreset, type OperationClass, operationClasses } from '../../graph/kernels.ts';

/**
 * The uncached arm's kernel with these classes summed as the decode kernel sums them – as many slices, combined in the same type –
 * but in the order that `seed` draws. So the placebo is matched: it makes rounding errors of the size that the cached arm's kernel
 * makes, without a cache. Chunks of keys (split-kv) leave no order to draw: there the class is the prefill's, permuted.
 */
export function placeboKernel(
  { prefill, decode }: KernelPreset,
  classes: readonly OperationClass[],
  seed: number,
): GraphKernel {
  const permuted = operationClasses.filter((name) => classes.includes(name));
  const changed = permuted.map((name) => {
    const { slices, combine } = decode.classes?.[name] ?? {};
    const sums = {
      ...(slices === undefined ? {} : { slices }),
      ...(combine === undefined ? {} : { combine }),
    };
    return [name, { ...prefill.classes?.[name], ...sums, permute: seed }];
  });
  return { ...prefill, classes: { ...prefill.classes, ...Object.fromEntries(changed) } };
}
