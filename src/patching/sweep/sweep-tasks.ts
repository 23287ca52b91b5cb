/** How the cells of a sweep are put together, and which of them are computed both ways. */
import { createHash } from 'node:crypto';
import type { BaseRun } from './base-run.ts';
import { cellKey } from './cells.ts';
import { type Job, startRow } from './resume.ts';

/** A cell whose patch changes something, and its place in the request. */
export interface Pending extends Job {
  index: number;
  /** Its value was known before. */
  given: boolean;
}

/** A task holds rows of all its cells up to this number, and logits up to that one: what is run, and sent, at a time. */
const rowsPerTask = 4096;
const logitsPerTask = 2 ** 25;

/** Cells that start at the same row, in parts, the longest runs first. */
export function tasksOf(pending: readonly Pending[], { tokens, executor }: BaseRun, reads: number): Pending[][] {
  const { length } = tokens;
  const byStart = new Map<number, Pending[]>();
  for (const job of pending) {
    const start = startRow(job, length);
    const known = byStart.get(start);
    if (known) known.push(job);
    else byStart.set(start, [job]);
  }
  return [...byStart]
    .toSorted(([a], [b]) => a - b)
    .flatMap(([start, jobs]) => {
      const byLogits = logitsPerTask / (reads * executor.config.vocabSize);
      const size = Math.max(1, Math.floor(Math.min(rowsPerTask / (length - start), byLogits)));
      return Array.from({ length: Math.ceil(jobs.length / size) }, (_, i) => jobs.slice(i * size, (i + 1) * size));
    });
}

/** Cells without a value. */
export function wanted(jobs: readonly Pending[]): Pending[] {
  return jobs.filter(({ given }) => !given);
}

/**
 * At least `least` cells, one of each hook kind among them, that depend on nothing but the seed and what the cells are.
 * @param purpose keeps several choices of one seed apart
 */
export function seeded(jobs: readonly Pending[], seed: number, purpose: string, least: number): Pending[] {
  const rank = ({ cell }: Pending) =>
    createHash('sha256')
      .update(`${seed} ${purpose} ${cellKey(cell)}`)
      .digest()
      .readUIntBE(0, 6);
  const ranked = jobs.map((job) => ({ job, rank: rank(job) })).toSorted((a, b) => a.rank - b.rank);
  const order = ranked.map(({ job }) => job);
  const kinds = new Set<string>();
  const firsts = order.filter(({ cell }) => {
    const { kind } = cell.hook.definition;
    return kinds.size < kinds.add(kind).size;
  });
  return [...new Set([...firsts, ...order])].slice(0, Math.max(least, firsts.length));
}
