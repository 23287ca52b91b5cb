/** The work units of a study in their order: conditions, and in each the prompts. A unit's place never depends on shards. */
import { UsageError } from '../../errors.ts';

/** Which part of the units a run makes: those whose place leaves this remainder, counted from 1. */
export interface Shard {
  index: number;
  of: number;
}

/** @param text `i/n` @throws UsageError */
export function parseShard(text: string): Shard {
  const [, index, of] = /^(\d{1,6})\/(\d{1,6})$/.exec(text) ?? [];
  const shard = { index: Number(index), of: Number(of) };
  if (shard.index >= 1 && shard.index <= shard.of) return shard;
  throw new UsageError(`--shard: found ${JSON.stringify(text)}, expected i/n with 1 ≤ i ≤ n, for example 1/4`);
}

/** True for what `parseShard` returns, also after it has been JSON. */
export function isShard(value: unknown): value is Shard {
  if (typeof value !== 'object' || value === null || !('index' in value) || !('of' in value)) return false;
  const { index, of } = value;
  if (typeof index !== 'number' || typeof of !== 'number') return false;
  return Number.isSafeInteger(index) && Number.isSafeInteger(of) && index >= 1 && index <= of;
}

/** True if a shard makes this unit; without one, every unit is made. */
export function isOfShard(unit: number, shard: Shard | null): boolean {
  return shard === null || unit % shard.of === shard.index - 1;
}

/** Numbers the units of a study. */
export class WorkUnits {
  /** First unit of each condition, and the number of units. */
  private readonly starts: number[] = [0];

  /** @param prompts of each condition: how many */
  constructor(prompts: readonly number[]) {
    for (const count of prompts) this.starts.push(this.count + count);
  }

  get count(): number {
    return this.starts[this.starts.length - 1];
  }

  /** Condition and prompt of a unit, each by its place. */
  at(unit: number): { condition: number; prompt: number } {
    let [low, high] = [0, this.starts.length - 1];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (this.starts[middle] <= unit) low = middle;
      else high = middle;
    }
    return { condition: low, prompt: unit - this.starts[low] };
  }

  /** Units of a shard, in order. */
  *of(shard: Shard | null): Generator<number> {
    for (let unit = 0; unit < this.count; unit++) if (isOfShard(unit, shard)) yield unit;
  }

  /** How many units a shard has. */
  countOf(shard: Shard | null): number {
    if (shard === null) return this.count;
    return Math.max(0, Math.ceil((this.count - shard.index + 1) / shard.of));
  }
}
