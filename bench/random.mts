/** Seeded random numbers, fast enough to fill checkpoints of real size. */

/** State of Chris Doty-Humphrey's sfc32: four words, period at least 2^32, typically 2^127. */
export class Random {
  private a: number;
  private b: number;
  private c: number;
  private counter = 1;

  /** @param stream numbers of other streams of the same seed are independent */
  constructor(seed: number, stream = '') {
    this.a = seed | 0;
    this.b = hash(stream);
    this.c = stream.length;
    for (let i = 0; i < 16; i++) this.word();
  }

  /** 32 random bits, as a signed integer. */
  word(): number {
    const word = (this.a + this.b + this.counter) | 0;
    this.counter = (this.counter + 1) | 0;
    this.a = this.b ^ (this.b >>> 9);
    this.b = (this.c + (this.c << 3)) | 0;
    this.c = (((this.c << 21) | (this.c >>> 11)) + word) | 0;
    return word;
  }

  /** A whole number of 0 … below − 1. */
  integer(below: number): number {
    return Math.floor(((this.word() >>> 0) / 2 ** 32) * below);
  }

  /** A standard normal number (Box and Muller 1958). */
  normal(): number {
    const uniform = () => ((this.word() >>> 0) + 0.5) / 2 ** 32;
    return Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
  }

  /** Fill `out` with entries of a table of 65,536, two per word; an odd last element takes a word of its own. */
  pick<T extends Uint16Array | Float32Array>(table: T, out: T): void {
    // The state in local variables: several times faster than `word()`.
    let { a, b, c, counter } = this;
    for (let i = 0; i < out.length; i += 2) {
      const word = (a + b + counter) | 0;
      counter = (counter + 1) | 0;
      a = b ^ (b >>> 9);
      b = (c + (c << 3)) | 0;
      c = (((c << 21) | (c >>> 11)) + word) | 0;
      out[i] = table[word & 0xffff];
      out[i + 1] = table[word >>> 16];
    }
    Object.assign(this, { a, b, c, counter });
  }
}

/** FNV-1a. */
function hash(text: string): number {
  let found = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) found = Math.imul(found ^ text.charCodeAt(i), 0x01000193);
  return found;
}
