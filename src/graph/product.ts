/**
 * One matmul of an operation class, as the kernel of that class computes it: in one sum, or sliced, permuted, with doubled
 * rows. Settings act in that order on the operands: rows are doubled, K is permuted, then cut.
 *
 * The result is unrounded, or of the policy's type at the place where partial sums are stored in it; the caller rounds.
 */
import { UsageError } from '../errors.ts';
import { RandomStream } from '../numerics/random.ts';
import type { GraphBuilder, Value } from './builder.ts';
import type { ClassKernel, OperationClass } from './kernels.ts';
import { cacheLength, fullBlocks, padded } from './keys.ts';
import type { Place } from './rounding.ts';

/** Keys are permuted inside blocks, so that the order of the visible ones does not depend on how many there are. */
const permutedBlock = 64;

/** left [… , rows, K] · right [… , K, columns], where K has `depth` columns. */
export function product(
  g: GraphBuilder,
  operation: OperationClass,
  left: Value,
  right: Value,
  { depth, place }: { depth: number; place: Place },
): Value {
  const kernel = g.kernel.classes?.[operation] ?? {};
  return repeatedRows(g, operation, left, (rows) => {
    const [x, y] = permuted(g, operation, kernel, depth, rows, right);
    const { slices } = kernel;
    if (slices === undefined) return g.op('MatMul', [x, y]);
    if (slices > depth) {
      throw new UsageError(
        `kernels: ${operation} has ${depth} columns to sum over, expected at most ${depth} slices, found ${slices}`,
      );
    }
    const ends = Array.from({ length: slices + 1 }, (_, i) => Math.floor((i * depth) / slices));
    const parts = ends.slice(1).map((end, i) => {
      return g.op('MatMul', [part(g, x, -1, ends[i], end), part(g, y, -2, ends[i], end)]);
    });
    return chain(g, kernel, parts, place);
  });
}

/** pattern [batch, head, rows, cache] · v [batch, head, cache, d_head]. */
export function keyProduct(g: GraphBuilder, pattern: Value, v: Value, mask: Value): Value {
  const kernel = g.kernel.classes?.values ?? {};
  const { slices, permute } = kernel;
  return repeatedRows(g, 'values', pattern, (rows) => {
    if (slices === undefined && permute === undefined) return g.op('MatMul', [rows, v]);
    const length = cacheLength(g, mask);
    const [x, y, keys] = permute === undefined ? [rows, v, length] : permutedKeys(g, permute, rows, v, length);
    return slices === undefined ? g.op('MatMul', [x, y]) : slicedKeys(g, kernel, slices, x, y, keys);
  });
}

/** Where the class doubles rows: every row of the left operand twice, the first half of the result kept. */
export function repeatedRows(
  g: GraphBuilder,
  operation: OperationClass,
  left: Value,
  multiply: (left: Value) => Value,
): Value {
  if (g.kernel.classes?.[operation]?.rows === undefined) return multiply(left);
  const both = g.once(`${left.name} twice`, () => g.op('Concat', [left, left], { axis: -2 }, left.type));
  const found = multiply(both);
  return g.ops('Split', [found], 2, { axis: -2 }, found.type)[0];
}

/** Both operands with K in the order that (seed, class, K) draws. */
function permuted(
  g: GraphBuilder,
  operation: OperationClass,
  { permute }: ClassKernel,
  depth: number,
  left: Value,
  right: Value,
): [Value, Value] {
  if (permute === undefined) return [left, right];
  const order = permutation(g, permute, operation, depth);
  const take = (x: Value, axis: number) =>
    g.once(`${x.name} by ${order.name}`, () => g.op('Gather', [x, order], { axis }, x.type));
  return [take(left, -1), take(right, -2)];
}

function permutation(g: GraphBuilder, seed: number, operation: OperationClass, length: number): Value {
  const order = new RandomStream(seed, `permute ${operation} ${length}`).permutation(length);
  return g.integers(order, `permutation_${operation}_${length}_${seed}`);
}

/** Keys permuted inside aligned blocks, the last one filled up with zeros; with the number of keys there are then. */
function permutedKeys(g: GraphBuilder, seed: number, left: Value, right: Value, length: Value): [Value, Value, Value] {
  const { keys, missing } = fullBlocks(g, length, permutedBlock);
  const order = permutation(g, seed, 'values', permutedBlock);
  const { headDim } = g.config;
  const reshape = (x: Value, shape: number[]) => g.op('Reshape', [x, g.integers(shape)], {}, x.type);
  const take = (x: Value, axis: number) => g.op('Gather', [x, order], { axis }, x.type);
  const columns = reshape(padded(g, left, [0, 0, 0, 0, 0, 0, 0, missing]), [0, 0, 0, -1, permutedBlock]);
  const rows = reshape(padded(g, right, [0, 0, 0, 0, 0, 0, missing, 0]), [0, 0, -1, permutedBlock, headDim]);
  return [reshape(take(columns, 4), [0, 0, 0, -1]), reshape(take(rows, 3), [0, 0, -1, headDim]), keys];
}

/** Keys in `slices` parts of ⌈length / slices⌉, filled up with zeros: one batched matmul, its parts added in a chain. */
function slicedKeys(
  g: GraphBuilder,
  kernel: ClassKernel,
  slices: number,
  left: Value,
  right: Value,
  length: Value,
): Value {
  const { headDim } = g.config;
  // ⌈length / slices⌉ blocks of `slices` keys are as many keys as `slices` parts of ⌈length / slices⌉.
  const { missing } = fullBlocks(g, length, slices);
  const columns = padded(g, left, [0, 0, 0, 0, 0, 0, 0, missing]);
  const rows = padded(g, right, [0, 0, 0, 0, 0, 0, missing, 0]);
  const x = g.op('Reshape', [columns, g.integers([0, 0, 0, slices, -1])], {}, left.type);
  const y = g.op('Reshape', [rows, g.integers([0, 0, slices, -1, headDim])], {}, right.type);
  const sliceFirst = g.op('Transpose', [x], { perm: [0, 1, 3, 2, 4] }, x.type); // [batch, head, slice, rows, part]
  const partial = g.op('MatMul', [sliceFirst, y]); // [batch, head, slice, rows, d_head]
  const parts = Array.from({ length: slices }, (_, i) => g.op('Gather', [partial, g.index(i)], { axis: 2 }));
  return chain(g, kernel, parts, 'attention_out');
}

/** p₀ + p₁ + p₂ + …, in this order; `storage` rounds each part and each sum. */
function chain(g: GraphBuilder, { combine }: ClassKernel, parts: readonly Value[], place: Place): Value {
  const store = (x: Value) => (combine === 'storage' ? g.round(x, place) : x);
  return parts.map(store).reduce((sum, next) => store(g.op('Add', [sum, next])));
}

function part(g: GraphBuilder, x: Value, axis: number, from: number, to: number): Value {
  const make = () => g.op('Slice', [x, g.integers([from]), g.integers([to]), g.integers([axis])], {}, x.type);
  return g.once(`${x.name} [${axis}: ${from}, ${to}]`, make);
}
