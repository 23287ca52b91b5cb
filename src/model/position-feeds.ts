/** What a pass is fed that depends on positions alone: rotary rows and masks, made once and shared by the layers. */

import type { ModelConfig } from '../checkpoint/types.ts';
import { UsageError } from '../errors.ts';
import { inputNames } from '../graph/build.ts';
import { computeType, type RoundingPolicy } from '../graph/rounding.ts';
import { allocate, type FloatArray, floatData, floatTensor } from './arrays.ts';
import type { Rows } from './executor.ts';
import type { Tensor } from './onnxruntime.ts';
import { causalMask, changedMask, givenTables, type RotaryTables, rotaryTables } from './positions.ts';
import type { Feeds } from './session.ts';

/** Makes the feeds of one model under one policy. */
export class PositionFeeds {
  private readonly config: ModelConfig;
  private readonly policy: RoundingPolicy;
  private tables: RotaryTables | undefined;
  private readonly masks = new Map<string, Tensor>();

  /** @param tables to feed instead of those of the configuration */
  constructor(config: ModelConfig, policy: RoundingPolicy, tables?: RotaryTables) {
    this.config = config;
    this.policy = policy;
    if (tables) this.tables = givenTables(tables, config, policy);
  }

  /** What depends on positions alone: rotary rows and the mask of these rows, in a layer of this window. */
  feeds({ start, count, padding = 0, wrong }: Rows, slidingWindow: number | null): Feeds {
    const { headDim, maxPositions } = this.config;
    this.tables ??= rotaryTables(this.config, this.policy, maxPositions);
    const rows = this.tables.cos.length / headDim;
    // Padding is rotated as position 0: no row of the sequence sees it.
    const pads = Math.min(count, Math.max(0, -start));
    const first = start + pads + (wrong?.offset ?? 0);
    const end = first + count - pads;
    if (first < 0 || end > rows) {
      const position = first < 0 ? first : end - 1;
      const planted = wrong?.offset ? ` (a planted fault's offset ${wrong.offset})` : '';
      throw new UsageError(
        `position ${position}${planted}: rotary tables have ${rows} rows, expected one per position`,
      );
    }
    const window = (table: FloatArray) => {
      const own = table.subarray(first * headDim, end * headDim);
      if (pads === 0) return own;
      const padded = allocate(computeType(this.policy), count * headDim);
      for (let row = 0; row < pads; row++) padded.set(table.subarray(0, headDim), row * headDim);
      padded.set(own, pads * headDim);
      return padded;
    };
    const dims = [1, count, 1, headDim];
    const right = this.mask(start, count, slidingWindow, padding);
    const mask = wrong?.mask
      ? floatTensor(changedMask(floatData(right), start, count, slidingWindow, wrong.mask, padding), right.dims)
      : right;
    return {
      [inputNames.cos]: floatTensor(window(this.tables.cos), dims),
      [inputNames.sin]: floatTensor(window(this.tables.sin), dims),
      [inputNames.mask(slidingWindow)]: mask,
    };
  }

  /** Masks of the current step are shared by its layers. */
  private mask(start: number, count: number, window: number | null, padding: number): Tensor {
    const key = `${start}+${count} ${window} ${padding}`;
    const known = this.masks.get(key);
    if (known) return known;
    if (this.masks.size >= 8) this.masks.clear();
    const compute = computeType(this.policy);
    const dims = [count, padding + start + count];
    const mask = floatTensor(causalMask(compute, start, count, window, padding), dims);
    this.masks.set(key, mask);
    return mask;
  }
}
