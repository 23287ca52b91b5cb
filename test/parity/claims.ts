/** What must hold between kvlens and the library, for the committed expected values and for fresh ones alike. */
import { type Expected, type HalfRun, halfRuns } from './expected.ts';
import { compareFloat32, compareFloat64, compareLogits, tableDistances } from './hooks.ts';
import { compareLocally, type LocalResult } from './local.ts';
import { allowedFlips } from './roundings.ts';

/** Largest relative difference: of every hook in float64, given the library's rotary tables; of logits in float32. */
export const bounds = { float64: 1e-10, float32: 1e-5 };

/** A full-precision comparison; `faults` says what is beyond its bound. */
export interface FullPrecision {
  hooks: number;
  float64: number;
  /** With our exact tables instead of the library's. */
  withExactTables: number;
  float32: number;
  /** float32 tables against exact ones at the positions that were run. */
  tables: { library: number; ours: number };
  faults: string[];
}

export async function checkFullPrecision(expected: Expected): Promise<FullPrecision> {
  const { worst, missing } = await compareFloat64(expected, 'library');
  const exact = await compareFloat64(expected, 'exact');
  const float32 = await compareFloat32(expected);
  const withExactTables = Math.max(...exact.worst.values());
  const faults = [...worst].flatMap(([hook, found]) =>
    found <= bounds.float64 ? [] : [`${hook}: ${found.toExponential(1)}, expected at most ${bounds.float64}`],
  );
  for (const hook of missing) faults.push(`${hook}: compared with nothing`);
  if (!(float32 <= bounds.float32)) faults.push(`float32 logits: ${float32}, expected at most ${bounds.float32}`);
  // Tables that are rounded to float32 are seen by this comparison, so it would see any other fault of that size.
  if (!(withExactTables > bounds.float64)) faults.push(`exact tables: ${withExactTables}, expected to be noticed`);
  const float64 = Math.max(...worst.values());
  return { hooks: worst.size, float64, withExactTables, float32, tables: await tableDistances(expected), faults };
}

/** A comparison in half precision. */
export interface HalfPrecision extends LocalResult {
  run: HalfRun;
  /** Whole runs, each implementation going on with its own values: relative L2 of the logits, share of equal ones. */
  logits: { distance: number; equal: number };
  faults: string[];
}

export async function checkHalfPrecision(expected: Expected, run: HalfRun): Promise<HalfPrecision> {
  const local = await compareLocally(expected, run);
  const faults = local.unmatched.map((name) => `${name}: only one of both rounds here`);
  for (const [place, { flips, law, largest, beyond, elements }] of local.places) {
    const allowed = allowedFlips(place, law);
    if (!(flips <= allowed)) faults.push(`${place}: ${flips} of ${elements} differ, expected at most ${allowed}`);
    if (!(largest <= 1)) faults.push(`${place}: a difference of ${largest} ulp, expected at most 1`);
    if (beyond > 0) faults.push(`${place}: ${beyond} cancelled elements differ by more than float32 leaves open`);
  }
  return { run, ...local, logits: await compareLogits(expected, run), faults };
}

/** The half-precision runs that the library can make of a model. */
export function runsOf(expected: Expected): HalfRun[] {
  return halfRuns.filter((run) => expected.has(run));
}
