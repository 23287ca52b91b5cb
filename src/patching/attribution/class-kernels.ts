/**
 * Decode kernels for some classes of operations and the prefill's order for the others, in steps of one row.
 *
 * A matmul of one row sums in another order than one of several rows, and all of several rows agree (RUNTIME: see gate null).
 * With its rows doubled, a class therefore computes the prefill's bits in a step of one row; the classes that are left as
 * the decode kernel has them are what differs.
 */
import { UsageError } from '../../errors.ts';
import { type ClassKernel, type GraphKernel, type KernelPreset, operationClasses } from '../../graph/kernels.ts';

/** A subset of the classes: bit i is `operationClasses[i]`. */
export type ClassSet = number;

/** All six. */
export const everyClass: ClassSet = 2 ** operationClasses.length - 1;

/** The set of one class, by its place in `operationClasses`. */
export function onlyClass(index: number): ClassSet {
  return 1 << index;
}

/**
 * The kernel whose classes in `members` are the preset's decode kernel and whose others are its prefill's with doubled rows.
 * Split KV belongs to the class `values`.
 * @throws UsageError where prefill and decode differ in what no class can have by itself.
 */
export function mixedKernel({ name, prefill, decode }: KernelPreset, members: ClassSet): GraphKernel {
  if (prefill.attention !== decode.attention || prefill.prepack !== decode.prepack) {
    throw new UsageError(
      `--kernels ${name}: prefill and decode differ in attention or prepack, which belong to no class of operations`,
      'attribution needs a preset that differs in classes or splitKv alone',
    );
  }
  const entries = operationClasses.map((operation, i): [string, ClassKernel] => {
    const isMember = (members & onlyClass(i)) !== 0;
    return [
      operation,
      isMember ? (decode.classes?.[operation] ?? {}) : { ...prefill.classes?.[operation], rows: 'doubled' },
    ];
  });
  const { attention, prepack } = decode;
  const chunk = (members & onlyClass(operationClasses.indexOf('values'))) !== 0 ? decode.splitKv : prefill.splitKv;
  const classes = Object.fromEntries(entries);
  return chunk === undefined ? { attention, prepack, classes } : { attention, prepack, classes, splitKv: chunk };
}
