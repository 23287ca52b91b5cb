/** What depends on positions alone: rotary tables and masks, computed once here and fed to every graph. */
import type { ModelConfig, RopeParameters } from '../checkpoint/types.ts';
import { UsageError } from '../errors.ts';
import { computeType, constantsType, type RoundingPolicy, typeAt } from '../graph/rounding.ts';
import { representable, roundTo } from '../numerics/half.ts';
import { allocate, type FloatArray } from './arrays.ts';

/** cos and sin, [position, d_head], both halves of a row equal. */
export interface RotaryTables {
  cos: FloatArray;
  sin: FloatArray;
}

/**
 * Inverse frequencies f_i = θ^(−2i/d_head), i < d_head / 2, in double.
 * Source: Su et al. 2021 (RoFormer), eq. 15; Hugging Face `modeling_rope_utils`, types `default` and `llama3`.
 */
export function inverseFrequencies(rope: RopeParameters, headDim: number): Float64Array {
  const plain = Float64Array.from({ length: headDim / 2 }, (_, i) => 1 / rope.theta ** ((2 * i) / headDim));
  if (rope.type === 'default') return plain;
  const { factor, lowFrequencyFactor: low, highFrequencyFactor: high, originalMaxPositions: original } = rope;
  // Wavelengths longer than original / low are stretched, shorter than original / high kept, in between interpolated.
  return plain.map((f) => {
    const turns = (original * f) / (2 * Math.PI);
    if (turns < low) return f / factor;
    if (turns > high) return f;
    const share = (turns - low) / (high - low);
    return ((1 - share) * f) / factor + share * f;
  });
}

/**
 * Tables for positions 0 … count − 1.
 *
 * With float32 constants: inv_freq is the float32 of the double power, the angle the float32 product, cos and sin
 * those of that angle rounded once to float32, then to the policy's `rotary_table` type. With float64 constants
 * everything is double.
 */
export function rotaryTables(config: ModelConfig, policy: RoundingPolicy, count: number): RotaryTables {
  const { headDim } = config;
  const half = headDim / 2;
  const frequencies = inverseFrequencies(config.rope, headDim);
  const constants = constantsType(policy);
  const table = typeAt(policy, 'rotary_table');
  const cos = allocate(computeType(policy), count * headDim);
  const sin = allocate(computeType(policy), count * headDim);
  const store = (value: number) => roundTo(table, roundTo(constants, value));
  for (let position = 0; position < count; position++) {
    for (let i = 0; i < half; i++) {
      const angle = roundTo(constants, position * roundTo(constants, frequencies[i]));
      const at = position * headDim + i;
      cos[at] = cos[at + half] = store(Math.cos(angle));
      sin[at] = sin[at + half] = store(Math.sin(angle));
    }
  }
  return { cos, sin };
}

/**
 * Tables that somebody else computed, in the type a policy's graphs take them in.
 * @throws UsageError where they do not fit the model, or hold numbers that the policy's `rotary_table` type does not.
 */
export function givenTables(tables: RotaryTables, { headDim }: ModelConfig, policy: RoundingPolicy): RotaryTables {
  const { cos, sin } = tables;
  if (cos.length !== sin.length || cos.length === 0 || cos.length % headDim !== 0) {
    const found = `cos of ${cos.length} and sin of ${sin.length} numbers`;
    throw new UsageError(`tables: found ${found}, expected rows of head_dim (${headDim}), as many in both`);
  }
  const type = typeAt(policy, 'rotary_table');
  const isForeign = (value: number) => !representable(type, value);
  const bad = cos.find(isForeign) ?? sin.find(isForeign);
  if (bad !== undefined) {
    throw new UsageError(`tables: found ${bad}, expected numbers of type ${type} (policy ${policy.name})`);
  }
  const copy = (table: FloatArray) =>
    computeType(policy) === 'f64' ? Float64Array.from(table) : Float32Array.from(table);
  return { cos: copy(cos), sin: copy(sin) };
}

/**
 * The rotary embedding of one row [head, d_head] at `position`, with every rounding of the graph: what it computes from the
 * same row, bit for bit.
 */
export function rotateRow(
  row: FloatArray,
  position: number,
  { config, policy }: { config: ModelConfig; policy: RoundingPolicy },
): FloatArray {
  const { headDim } = config;
  const half = headDim / 2;
  const tables = rotaryTables(config, policy, position + 1);
  const at = position * headDim;
  const type = typeAt(policy, 'rotary');
  const isDouble = computeType(policy) === 'f64';
  // In double arithmetic a rounding to 16 bits goes through float32, as the graph's does.
  const round = (value: number) => (isDouble && type === 'f64' ? value : roundTo(type, Math.fround(value)));
  const result = row.slice();
  for (let i = 0; i < row.length; i++) {
    const inHead = i % headDim;
    const turned = inHead < half ? -row[i + half] : row[i - half];
    const straight = round(row[i] * tables.cos[at + inHead]);
    const crossed = round(turned * tables.sin[at + inHead]);
    result[i] = round(straight + crossed);
  }
  return result;
}

/** True if the row at `position` sees the key at `key`: not later, and within the window (null: any distance). */
export function sees(window: number | null, position: number, key: number): boolean {
  return key <= position && (window === null || key > position - window);
}

/**
 * Additive causal mask [rows, padding + start + rows] of query rows start, start + 1, …: 0 where visible, −inf elsewhere. Row
 * i sees keys j ≤ i and, with a window W, j > i − W. Rows from 0 on see no padding (keys −padding … −1); rows of the padding
 * see each other, since the softmax of a row that sees nothing would be NaN.
 */
export function causalMask(
  compute: 'f32' | 'f64',
  start: number,
  rows: number,
  window: number | null = null,
  padding = 0,
): FloatArray {
  const length = padding + start + rows;
  const mask = allocate(compute, rows * length);
  for (let row = 0; row < rows; row++) {
    const first = row * length;
    const newest = start + row;
    mask.fill(-Infinity, first + padding + newest + 1, first + length);
    if (newest >= 0) mask.fill(-Infinity, first, first + padding + oldestVisible(newest, window));
  }
  return mask;
}

/** How a mask can be off by one key; every row of the pass is changed. */
export const maskChanges = ['hide-newest', 'hide-oldest', 'show-older'] as const;
export type MaskChange = (typeof maskChanges)[number];

/** What a planted fault changes about the positions of a pass (`faults.ts`). */
export interface WrongPositions {
  /** Added to the positions that rotary tables are read at. */
  offset?: number;
  mask?: MaskChange;
}

/** The first key that the row at `newest` sees. */
function oldestVisible(newest: number, window: number | null): number {
  return window === null ? 0 : Math.max(0, newest + 1 - window);
}

/** A copy of a causal mask with one key too few or too many in each row. Arguments as of `causalMask`; no row of the padding. */
export function changedMask(
  mask: FloatArray,
  start: number,
  rows: number,
  window: number | null,
  change: MaskChange,
  padding = 0,
): FloatArray {
  const changed = mask.slice();
  for (let row = 0; row < rows; row++) {
    const at = row * (padding + start + rows) + padding;
    const newest = start + row;
    const oldest = oldestVisible(newest, window);
    if (change === 'hide-newest') changed[at + newest] = -Infinity;
    else if (change === 'hide-oldest') changed[at + oldest] = -Infinity;
    else if (oldest > 0) changed[at + oldest - 1] = 0;
  }
  return changed;
}
