/** Sliced sums against arithmetic by hand, on numbers whose float32 sums are exact in any order: only the roundings show. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import type { Checkpoint } from '../../src/checkpoint/types.ts';
import { GraphBuilder } from '../../src/graph/builder.ts';
import { type ClassKernel, type GraphKernel, resolveKernels } from '../../src/graph/kernels.ts';
import { keyProduct, product } from '../../src/graph/product.ts';
import { type RoundingPolicy, resolvePolicy } from '../../src/graph/rounding.ts';
import { floatData, floatTensor } from '../../src/model/arrays.ts';
import { GraphSession } from '../../src/model/session.ts';
import { roundTo } from '../../src/numerics/half.ts';
import { RandomStream } from '../../src/numerics/random.ts';
import { removeCheckpoint, writeTinyCheckpoint } from '../tiny-checkpoint.ts';

const dir = writeTinyCheckpoint();
let checkpoint: Checkpoint;
beforeAll(async () => {
  checkpoint = await openCheckpoint(dir);
});
afterAll(() => removeCheckpoint(dir));

/** Multiples of 1/16 up to 2 in size: products are multiples of 1/256, exact in float32 and not in 16 bits. */
function numbers(count: number, name: string): Float32Array {
  const stream = new RandomStream(1, name);
  return Float32Array.from({ length: count }, () => (stream.integer(65) - 32) / 16);
}

interface Shape {
  rows: number;
  depth: number;
  columns: number;
}

/** Σ_k left[r, k] right[k, c] over each part of K, combined as the kernel says; `type` is what is stored. */
function byHand(left: Float32Array, right: Float32Array, shape: Shape, ends: number[], store: (x: number) => number) {
  const { rows, depth, columns } = shape;
  return Float32Array.from({ length: rows * columns }, (_, at) => {
    const [row, column] = [Math.floor(at / columns), at % columns];
    const partial = ends.slice(1).map((end, i) => {
      let sum = 0;
      for (let k = ends[i]; k < end; k++) sum += left[row * depth + k] * right[k * columns + column];
      return store(Math.fround(sum));
    });
    return partial.reduce((sum, next) => store(Math.fround(sum + next)));
  });
}

function builder(policy: RoundingPolicy, classes: GraphKernel['classes']): GraphBuilder {
  const kernel: GraphKernel = { ...resolveKernels('ort').decode, classes };
  return new GraphBuilder({ checkpoint, policy, kernel, hooks: new Set(), patchPoints: new Set() });
}

async function run(g: GraphBuilder, feeds: Parameters<GraphSession['run']>[0]): Promise<number[]> {
  const session = await GraphSession.open(g.finish('product'), { threads: 1, prepack: true, weightsRoot: dir });
  const { result } = await session.run(feeds, ['result']);
  await session.release();
  return [...floatData(result)];
}

describe.each(['fp16', 'bf16', 'fp32'])('%s', (precision) => {
  const policy = resolvePolicy(precision);
  const type = policy.default;
  const settings: ClassKernel[] = [
    { slices: 8, combine: 'storage' },
    { slices: 8, combine: 'fp32' },
    { slices: 3, combine: 'storage' },
    { slices: 40, combine: 'storage' },
    { slices: 3, combine: 'storage', rows: 'doubled' },
  ];

  test.each(settings)('a product of a weight class, %j', async (kernel) => {
    const shape = { rows: 2, depth: 40, columns: 9 };
    const [left, right] = [numbers(80, 'left'), numbers(360, 'right')];
    const g = builder(policy, { mlp: kernel });
    const x = g.input('x', [1, 'rows', 40], type);
    const y = g.input('y', [40, 9], type);
    const sum = g.round(product(g, 'mlp', x, y, { depth: 40, place: 'linear' }), 'linear');
    g.expose('result', sum, [1, 'rows', 9]);
    const found = await run(g, { x: floatTensor(left, [1, 2, 40]), y: floatTensor(right, [40, 9]) });
    const slices = kernel.slices ?? 1;
    const ends = Array.from({ length: slices + 1 }, (_, i) => Math.floor((i * 40) / slices));
    const store = (value: number) => (kernel.combine === 'storage' ? roundTo(type, value) : value);
    const expected = byHand(left, right, shape, ends, store).map((value) => roundTo(type, value));
    expect(found).toEqual([...expected]);
    // The numbers tell roundings apart: storing partial sums changes some results in 16 bits, and none in 32.
    const once = byHand(left, right, shape, [0, 40], Math.fround).map((value) => roundTo(type, value));
    const differs = expected.some((value, i) => value !== once[i]);
    expect(differs).toBe(kernel.combine === 'storage' && type !== 'f32');
  });

  test.each([1, 2, 5, 8, 9, 20])('pattern · v over %s keys in slices of ⌈n / 4⌉', async (keys) => {
    const { headDim } = checkpoint.config;
    const [left, right] = [numbers(3 * keys, 'pattern'), numbers(keys * headDim, 'v')];
    const g = builder(policy, { values: { slices: 4, combine: 'storage' } });
    const x = g.input('x', [1, 1, 'rows', 'cache'], type);
    const y = g.input('y', [1, 1, 'cache', headDim], type);
    const mask = g.input('mask', ['rows', 'cache']);
    g.expose('result', g.round(keyProduct(g, x, y, mask), 'attention_out'), [1, 1, 'rows', headDim]);
    const found = await run(g, {
      x: floatTensor(left, [1, 1, 3, keys]),
      y: floatTensor(right, [1, 1, keys, headDim]),
      mask: floatTensor(new Float32Array(3 * keys), [3, keys]),
    });
    const width = Math.ceil(keys / 4);
    const ends = Array.from({ length: 5 }, (_, i) => Math.min(keys, i * width));
    const shape = { rows: 3, depth: keys, columns: headDim };
    expect(found).toEqual([...byHand(left, right, shape, ends, (value) => roundTo(type, value))]);
  });
});

test('more slices than there are columns are refused by name', () => {
  const g = builder(resolvePolicy('fp16'), { o: { slices: 41 } });
  const [x, y] = [g.input('x', [1, 'rows', 40]), g.input('y', [40, 9])];
  expect(() => product(g, 'o', x, y, { depth: 40, place: 'linear' })).toThrow(
    /o has 40 columns to sum over, expected at most 40 slices, found 41/,
  );
});
