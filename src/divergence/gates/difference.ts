/**
 * Compare two captured runs hook by hook, rows matched by absolute position.
 *
 * Bits count, except that +0 and −0 are counted apart (selecting a −0 through `Where` yields +0). Policies that compute
 * in float64 are held to a relative L2 per row instead, because the runtime's float64 Softmax is not row-invariant.
 */
import { type Axis, definitionOf } from '../../graph/hooks.ts';
import type { RoundingPolicy } from '../../graph/rounding.ts';
import type { FloatArray } from '../../model/arrays.ts';
import type { Activation, Activations } from '../../model/executor.ts';
import { count, type GateContext, type Observation } from './gate.ts';

/** Activations of rows start … n − 1 of a sequence of n tokens (cache hooks: rows 0 … n − 1). */
export interface Captured {
  start: number;
  n: number;
  activations: Activations;
}

/** Absolute positions from … to − 1. */
export interface Rows {
  from: number;
  to: number;
}

/** Largest relative L2 per row that counts as equal: 0 (bits) except in float64. */
export function rowTolerance(policy: RoundingPolicy): number {
  return policy.compute === 'float64' ? 1e-12 : 0;
}

/** `bit-identical`, or the tolerance in words. */
export function equalityRule(policy: RoundingPolicy): string {
  return policy.compute === 'float64' ? 'relative L2 ≤ 1e-12 per row (float64)' : '0 elements differ';
}

/** Adds up comparisons and remembers the first that failed. */
export class Tally {
  elements = 0;
  differ = 0;
  signedZero = 0;
  /** Largest relative L2 of a row. */
  worst = 0;
  /** The first hook that is not equal. */
  first: { hook: string; where: string; differ: number; elements: number } | null = null;
  private readonly tolerance: number;

  constructor(tolerance = 0) {
    this.tolerance = tolerance;
  }

  get equal(): boolean {
    return this.first === null;
  }

  /** Compare two arrays of rows of `rowLength`. */
  add(hook: string, where: string, left: FloatArray, right: FloatArray, rowLength: number): void {
    if (left.length !== right.length) throw new Error(`${hook}: ${left.length} elements against ${right.length}`);
    const { differ, signedZero } = countDifferences(left, right);
    this.elements += left.length;
    this.differ += differ;
    this.signedZero += signedZero;
    if (differ === 0) return;
    const worst = worstRow(left, right, rowLength);
    this.worst = Math.max(this.worst, worst);
    if (this.tolerance > 0 && worst <= this.tolerance) return;
    this.first ??= { hook, where, differ, elements: left.length };
  }

  describe(): string {
    const zeros = this.signedZero > 0 ? `, ${count(this.signedZero)} signed zeros apart` : '';
    const total = `${count(this.differ)} of ${count(this.elements)} elements differ${zeros}`;
    const drift = this.differ > 0 ? `, worst row ${this.worst.toExponential(1)}` : '';
    if (!this.first) return total + drift;
    const { hook, where, differ, elements } = this.first;
    return `${total}${drift}; first ${hook}, ${where}: ${count(differ)} of ${count(elements)}`;
  }
}

/** The observation of a gate that adds up comparisons. */
export function tallied(
  tally: Tally,
  scope: string,
  observe: (context: GateContext, tally: Tally) => Promise<void>,
): Observation {
  return {
    observe: (context) => observe(context, tally),
    conclude: () => ({ passed: tally.equal, measured: tally.describe(), scope }),
  };
}

/** Compare every hook of `hooks` on these rows of two runs. */
export function compareRuns(
  tally: Tally,
  hooks: Iterable<string>,
  left: Captured,
  right: Captured,
  rows: Rows,
  where = `n = ${left.n}`,
): void {
  for (const name of hooks) {
    const axes = axesOf(name);
    const a = rowsOf(name, axes, left, rows);
    const b = rowsOf(name, axes, right, rows);
    const last = axes.at(-1) === 'key' ? rows.to : captured(left, name).dims.at(-1)!;
    tally.add(name, where, a, b, last);
  }
}

/** The rows of one hook at these absolute positions, row-major; keys beyond `rows.to` are left out. */
export function hookRows(run: Captured, hook: string, rows: Rows): FloatArray {
  return rowsOf(hook, axesOf(hook), run, rows);
}

function captured(run: Captured, hook: string): Activation {
  const activation = run.activations.get(hook);
  if (!activation) throw new Error(`${hook} was not captured at n = ${run.n}`);
  return activation;
}

function axesOf(hook: string): readonly Axis[] {
  const found = definitionOf(hook);
  if (!found) throw new Error(`${hook} is not a hook`);
  return found.axes;
}

function rowsOf(hook: string, axes: readonly Axis[], run: Captured, { from, to }: Rows): FloatArray {
  const { data, dims } = captured(run, hook);
  const rowAxis = axes.findIndex((axis) => axis === 'pos' || axis === 'query' || axis === 'cache');
  const [first, last] = axes[rowAxis] === 'cache' ? [0, to] : [from - run.start, to - run.start];
  if (first < 0 || last > dims[rowAxis]) throw new Error(`${hook}: rows ${from} … ${to - 1} were not run`);
  const outer = product(dims.slice(0, rowAxis));
  const keys = axes.at(-1) === 'key' ? dims.at(-1)! : 0;
  const inner = product(dims.slice(rowAxis + 1));
  if (outer === 1 && keys <= to) return data.subarray(first * inner, last * inner);
  const kept = keys > 0 ? to : inner;
  const result = data.slice(0, outer * (last - first) * kept);
  let at = 0;
  for (let block = 0; block < outer; block++) {
    for (let row = first; row < last; row++, at += kept) {
      const start = (block * dims[rowAxis] + row) * inner;
      result.set(data.subarray(start, start + kept), at);
    }
  }
  return result;
}

function product(sizes: readonly number[]): number {
  return sizes.reduce((total, size) => total * size, 1);
}

/** Elements whose bits differ, and the pairs of unlike zeros among equal values. */
function countDifferences(left: FloatArray, right: FloatArray): { differ: number; signedZero: number } {
  const a = new Int32Array(left.buffer, left.byteOffset, left.byteLength / 4);
  const b = new Int32Array(right.buffer, right.byteOffset, right.byteLength / 4);
  const words = left.BYTES_PER_ELEMENT / 4;
  let differ = 0;
  let signedZero = 0;
  for (let word = 0; word < a.length; word += words) {
    if (a[word] === b[word] && (words === 1 || a[word + 1] === b[word + 1])) continue;
    const i = word / words;
    if (left[i] === 0 && right[i] === 0) signedZero++;
    else differ++;
  }
  return { differ, signedZero };
}

/** Largest ‖a − b‖ / ‖b‖ over rows. */
function worstRow(left: FloatArray, right: FloatArray, rowLength: number): number {
  let worst = 0;
  for (let start = 0; start < left.length; start += rowLength) {
    let error = 0;
    let norm = 0;
    for (let i = start; i < start + rowLength; i++) {
      if (left[i] === right[i]) {
        if (Number.isFinite(right[i])) norm += right[i] ** 2;
        continue;
      }
      error += (left[i] - right[i]) ** 2;
      norm += right[i] ** 2;
    }
    if (error > 0) worst = Math.max(worst, Math.sqrt(error / norm));
    else if (Number.isNaN(error)) worst = Number.POSITIVE_INFINITY;
  }
  return worst;
}
