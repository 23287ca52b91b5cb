/**
 * Faults planted in the cached arm: what a bug in a decoder's state looks like, as data. They exist to see that kvlens finds a
 * bug of each kind; the uncached arm, the gates and every control run without them.
 *
 * Rows are changed in the cache when they become history: after the last pass that wrote them, before the first that reads
 * them. What a pass reads of its own rows is never changed.
 */
import { z } from 'zod';
import { readJsonFile } from '../checkpoint/json-file.ts';
import type { ModelConfig } from '../checkpoint/types.ts';
import { InputError } from '../errors.ts';
import { type RoundingPolicy, typeAt } from '../graph/rounding.ts';
import { roundTo } from '../numerics/half.ts';
import { contains, type StorageType } from '../numerics/types.ts';
import type { FloatArray } from './arrays.ts';
import type { KVCache } from './kv-cache.ts';
import { type MaskChange, maskChanges, type WrongPositions } from './positions.ts';

const index = z.int().nonnegative();
const component = z.enum(['k', 'v', 'both']);

/** One fault. Layers, heads (K/V heads), rows (positions) and steps count from 0; step 0 is the prefill, which has no faults. */
export const faultSchema = z.discriminatedUnion('kind', [
  /** A row of one head times a number, rounded to the type the cache stores. */
  z.strictObject({
    kind: z.literal('scale-row'),
    component,
    layer: index,
    head: index,
    row: index,
    factor: z.number(),
  }),
  /** A row that was not written: it holds what an earlier row holds, or zeros; of one head or all. */
  z.strictObject({
    kind: z.literal('stale-row'),
    component,
    layer: index,
    row: index,
    head: index.optional(),
    holds: index.optional(),
  }),
  /** One step runs at another position: its queries and keys are rotated as if it were `offset` later. */
  z.strictObject({ kind: z.literal('position'), step: index.min(1), offset: z.int() }),
  /** The mask of one step, or of every decode step, is off by one key. */
  z.strictObject({ kind: z.literal('mask'), step: index.min(1).optional(), change: z.enum(maskChanges) }),
  /** The cache stores its rows in a narrower type. */
  z.strictObject({ kind: z.literal('store'), component, type: z.enum(['f16', 'bf16']) }),
]);
export const faultsSchema = z.array(faultSchema).min(1);

/** One planted fault, as stored in JSON. */
export type Fault = z.infer<typeof faultSchema>;
type Component = z.infer<typeof component>;
type RowFault = Extract<Fault, { kind: 'scale-row' | 'stale-row' }>;

/** The model the faults are planted in. */
export interface FaultTarget {
  config: ModelConfig;
  policy: RoundingPolicy;
}

/** Read a file of faults, a JSON list. @throws InputError naming the file and the field. */
export function readFaults(file: string, target: FaultTarget): Fault[] {
  return parseFaults(readJsonFile(file), file, target);
}

/** Check a parsed JSON value against a model; `source` is named in the error. @throws InputError */
export function parseFaults(value: unknown, source: string, target: FaultTarget): Fault[] {
  const result = faultsSchema.safeParse(value);
  if (!result.success) {
    const [issue] = result.error.issues;
    const place = issue.path.join('.') || 'faults';
    throw new InputError(
      `${source}: ${place}: ${issue.message.replaceAll('\n', ' ')}`,
      'a list such as [{"kind": "scale-row", "component": "k", "layer": 3, "head": 1, "row": 9, "factor": 1.00390625}]',
    );
  }
  result.data.forEach((fault, i) => {
    checkFault(fault, `${source}: ${i}`, target);
  });
  return result.data;
}

function checkFault(fault: Fault, place: string, { config, policy }: FaultTarget): void {
  const below = (field: string, found: number | undefined, size: number, what: string) => {
    if (found === undefined || found < size) return;
    throw new InputError(`${place}.${field}: found ${found}, expected 0 … ${size - 1}: ${what}`);
  };
  if (fault.kind === 'scale-row' || fault.kind === 'stale-row') {
    below('layer', fault.layer, config.layers, 'the blocks of this model');
    below('head', fault.head, config.kvHeads, 'its K/V heads');
    below('row', fault.row, config.maxPositions, 'its positions');
  }
  if (fault.kind === 'scale-row' && fault.factor === 1)
    throw new InputError(`${place}.factor: found 1, expected another number: it changes nothing`);
  if (fault.kind === 'stale-row') below('holds', fault.holds, fault.row, 'an earlier row');
  if (fault.kind === 'position' && fault.offset === 0)
    throw new InputError(`${place}.offset: found 0, expected another number: it changes nothing`);
  if (
    fault.kind === 'mask' &&
    fault.change === 'show-older' &&
    config.slidingWindows.every((window) => window === null)
  )
    throw new InputError(`${place}.change: found show-older, but no layer of this model has a sliding window`);
  const stored = typeAt(policy, 'kv');
  if (fault.kind === 'store' && contains(fault.type, stored)) {
    throw new InputError(
      `${place}.type: found ${fault.type}, expected a type that does not hold every ${stored}: precision ${policy.name} stores K/V rows as ${stored}`,
    );
  }
}

const maskWords: Record<MaskChange, string> = {
  'hide-newest': 'hides the newest key',
  'hide-oldest': 'hides the oldest key',
  'show-older': 'shows the key before the window',
};

/** A fault in words. */
export function describeFault(fault: Fault): string {
  switch (fault.kind) {
    case 'scale-row':
      return `${rowWords(fault)} scaled by ${fault.factor}`;
    case 'stale-row':
      return `${rowWords(fault)} stale (${fault.holds === undefined ? 'zeros' : `holds row ${fault.holds}`})`;
    case 'position':
      return `position off by ${fault.offset} at step ${fault.step}`;
    case 'mask':
      return `mask ${maskWords[fault.change]} ${fault.step === undefined ? 'at every step' : `at step ${fault.step}`}`;
    case 'store':
      return `${componentWords(fault.component)} stored as ${fault.type}`;
  }
}

function rowWords(fault: RowFault): string {
  const head = fault.head === undefined ? '' : `, head ${fault.head}`;
  return `${componentWords(fault.component)} row ${fault.row} of block ${fault.layer}${head}`;
}

function componentWords(which: Component): string {
  return which === 'both' ? 'K and V' : which.toUpperCase();
}

/** The faults of one arm, and which rows of its cache have them already. */
export class PlantedFaults {
  private readonly faults: readonly Fault[];
  private readonly stored: StorageType;
  private readonly headDim: number;
  /** Rows [0, changed) are as the faults leave them. */
  private changed: number;

  /** @param changed rows before this one are as the faults leave them */
  constructor(faults: readonly Fault[], { config, policy }: FaultTarget, changed = 0) {
    this.faults = faults;
    this.changed = changed;
    this.stored = typeAt(policy, 'kv');
    this.headDim = config.headDim;
  }

  /** The same faults for an arm that goes on with a copy of the cache. */
  fork(target: FaultTarget): PlantedFaults {
    return new PlantedFaults(this.faults, target, this.changed);
  }

  /** Change the rows that a pass from row `start` on reads for the first time as history. */
  beforeRead(cache: KVCache, layers: readonly number[], start: number): void {
    const isFresh = (row: number) => row >= this.changed && row < start;
    for (const fault of this.faults) {
      if (fault.kind === 'store') this.narrow(fault, cache, layers, start);
      else if ((fault.kind === 'scale-row' || fault.kind === 'stale-row') && isFresh(fault.row)) {
        if (layers.includes(fault.layer)) this.changeRow(fault, cache);
      }
    }
    // Rows from `start` on are written anew.
    this.changed = start;
  }

  /** What is wrong with the positions of a step, or null. */
  positionsAt(step: number): WrongPositions | null {
    const wrong: WrongPositions = {};
    for (const fault of this.faults) {
      if (fault.kind === 'position' && fault.step === step) wrong.offset = (wrong.offset ?? 0) + fault.offset;
      if (fault.kind === 'mask' && step > 0 && (fault.step ?? step) === step) wrong.mask = fault.change;
    }
    return wrong.offset === undefined && wrong.mask === undefined ? null : wrong;
  }

  private changeRow(fault: RowFault, cache: KVCache): void {
    for (const rows of arraysOf(cache, fault.layer, fault.row + 1, fault.component)) {
      const from = fault.row * cache.rowSize + (fault.head ?? 0) * this.headDim;
      const to = fault.head === undefined ? from + cache.rowSize : from + this.headDim;
      const row = rows.subarray(from, to);
      if (fault.kind === 'scale-row')
        row.forEach((value, i) => {
          row[i] = roundTo(this.stored, value * fault.factor);
        });
      else if (fault.holds === undefined) row.fill(0);
      else
        rows.copyWithin(
          from,
          from - (fault.row - fault.holds) * cache.rowSize,
          to - (fault.row - fault.holds) * cache.rowSize,
        );
    }
  }

  private narrow(
    fault: Extract<Fault, { kind: 'store' }>,
    cache: KVCache,
    layers: readonly number[],
    start: number,
  ): void {
    for (const layer of layers) {
      for (const rows of arraysOf(cache, layer, start, fault.component)) {
        for (let i = this.changed * cache.rowSize; i < rows.length; i++) rows[i] = roundTo(fault.type, rows[i]);
      }
    }
  }
}

function arraysOf(cache: KVCache, layer: number, rows: number, which: Component): FloatArray[] {
  const { keys, values } = cache.view(layer, rows);
  if (which === 'both') return [keys, values];
  return [which === 'k' ? keys : values];
}
