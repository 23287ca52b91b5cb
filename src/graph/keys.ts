/** The axis of keys, whose length only a run knows: its size, and the zeros that fill it up to whole blocks. */
import type { GraphBuilder, Value } from './builder.ts';

/** [pos, cache] as int64. */
export function maskSizes(g: GraphBuilder, mask: Value): Value {
  return g.once(`sizes of ${mask.name}`, () => g.op('Shape', [mask]));
}

/** [cache] as int64: how many keys there are. */
export function cacheLength(g: GraphBuilder, mask: Value): Value {
  return g.once(`length of ${mask.name}`, () => g.op('Gather', [maskSizes(g, mask), g.integers([1])], { axis: 0 }));
}

/** Keys in blocks; [1] as int64 each. */
export interface KeyBlocks {
  /** How many blocks there are, and how many keys they hold when they are full. */
  blocks: Value;
  keys: Value;
  /** How many keys the last block lacks. */
  missing: Value;
}

/** The blocks of `size` that hold `length` keys. */
export function fullBlocks(g: GraphBuilder, length: Value, size: number): KeyBlocks {
  const width = g.integers([size]);
  const named = (what: string, make: () => Value) => g.once(`${what} of ${length.name} in ${size}`, make);
  const blocks = named('blocks', () => g.op('Div', [g.op('Add', [length, g.integers([size - 1])]), width]));
  const keys = named('keys', () => g.op('Mul', [blocks, width]));
  const missing = named('missing', () => g.op('Sub', [keys, length]));
  return { blocks, keys, missing };
}

/**
 * x, filled up with `fill` (zeros if absent).
 * @param pads numbers before each axis, then after each; a value is one that only a run knows
 */
export function padded(g: GraphBuilder, x: Value, pads: readonly (number | Value)[], fill?: Value): Value {
  const parts: Value[] = [];
  let known: number[] = [];
  const flush = () => {
    if (known.length > 0) parts.push(g.integers(known));
    known = [];
  };
  for (const pad of pads) {
    if (typeof pad === 'number') known.push(pad);
    else {
      flush();
      parts.push(pad);
    }
  }
  flush();
  const counts = g.once(`pads ${parts.map(({ name }) => name).join()}`, () => g.op('Concat', parts, { axis: 0 }));
  return g.op('Pad', fill === undefined ? [x, counts] : [x, counts, fill], {}, x.type);
}
