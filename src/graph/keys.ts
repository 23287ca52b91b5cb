/** The axis of keys, whose length only a run knows: its size, and the zeros that fill it up to whole blocks. */
import type { GraphBuilder, Value } from './builder.ts';

/** The keys of one layer's attention; what is computed about them is computed once. */
export class KeyAxis {
  private readonly g: GraphBuilder;
  private readonly mask: Value;
  private readonly missing = new Map<number, Value>();
  private readonly pads = new Map<string, Value>();

  /** @param mask [pos, cache] */
  constructor(g: GraphBuilder, mask: Value) {
    this.g = g;
    this.mask = mask;
  }

  /** [pos, cache] as [2] int64. */
  get maskSizes(): Value {
    return this.g.once(`sizes of ${this.mask.name}`, () => this.g.op('Shape', [this.mask]));
  }

  /** [1] as int64: how many keys there are. */
  get length(): Value {
    const { g, mask } = this;
    return g.once(`length of ${mask.name}`, () => g.op('Gather', [this.maskSizes, g.integers([1])], { axis: 0 }));
  }

  /**
   * x [·, ·, ·, ·], filled up along `axis` to whole blocks of `size` keys.
   * @param fill zeros if absent
   */
  padded(x: Value, axis: 2 | 3, size: number, fill?: Value): Value {
    const { g } = this;
    const missing = this.missingFrom(size);
    const slot = `${axis} ${size}`;
    const make = () => {
      const before = g.integers(new Array<number>(4 + axis).fill(0));
      const after = axis === 3 ? [] : [g.integers([0])];
      return g.op('Concat', [before, missing, ...after], { axis: 0 });
    };
    const pads = this.pads.get(slot) ?? make();
    this.pads.set(slot, pads);
    return g.op('Pad', fill === undefined ? [x, pads] : [x, pads, fill], {}, x.type);
  }

  /** How many keys the last block of `size` lacks: ⌈length / size⌉ · size − length. */
  private missingFrom(size: number): Value {
    const { g, length } = this;
    const make = () => {
      const width = g.integers([size]);
      const blocks = g.op('Div', [g.op('Add', [length, g.integers([size - 1])]), width]);
      return g.op('Sub', [g.op('Mul', [blocks, width]), length]);
    };
    const missing = this.missing.get(size) ?? make();
    this.missing.set(size, missing);
    return missing;
  }
}
