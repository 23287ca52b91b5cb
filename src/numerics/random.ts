/** Random numbers that a seed and a name determine, whatever else is drawn elsewhere. */
import { philox, uniform } from './philox.ts';

/** FNV-1a over UTF-16 code units: two 32-bit words that tell streams apart, not a digest. */
function words(name: string): [number, number] {
  const fnv = (offset: number) => {
    let hash = offset;
    for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193) >>> 0;
    return hash;
  };
  return [fnv(0x811c9dc5), fnv(0x9e3779b9)];
}

/** One stream of numbers: the same (seed, name) gives the same ones, in order. */
export class RandomStream {
  private readonly key: [number, number];
  private readonly name: [number, number];
  private readonly counter = new Uint32Array(4);
  private drawn = 0;

  /** @param seed a non-negative safe integer */
  constructor(seed: number, name: string) {
    this.key = [seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0];
    this.name = words(name);
  }

  /** Uniform in (0, 1). */
  uniform(): number {
    this.counter[0] = this.drawn >>> 0;
    this.counter[1] = Math.floor(this.drawn / 2 ** 32) >>> 0;
    this.counter[2] = this.name[0];
    this.counter[3] = this.name[1];
    this.drawn += 1;
    philox(this.counter, this.key);
    return uniform(this.counter[0], this.counter[1]);
  }

  /** One of 0 … count − 1. */
  integer(count: number): number {
    return Math.min(count - 1, Math.floor(this.uniform() * count));
  }

  /** Standard normal (Box and Muller 1958, one of the pair). */
  normal(): number {
    return Math.sqrt(-2 * Math.log(this.uniform())) * Math.cos(2 * Math.PI * this.uniform());
  }

  /** 0 … length − 1 in random order (Fisher and Yates). */
  permutation(length: number): number[] {
    const order = Array.from({ length }, (_, i) => i);
    for (let i = length - 1; i > 0; i--) {
      const j = this.integer(i + 1);
      [order[i], order[j]] = [order[j], order[i]];
    }
    return order;
  }
}
