/** Runs of tokens that two texts share, in the same order in both. */

/** `length` tokens that are equal from `a` in one text and from `b` in the other. */
export interface CommonRun {
  a: number;
  b: number;
  length: number;
}

/**
 * The longest run of equal tokens, then the longest ones left of it and right of it, and so on, down to runs of `least`
 * tokens (Ratcliff and Obershelp's matching). Of equally long runs the one that begins first in the first text counts, then
 * in the second. Runs are in the order of the texts: none crosses another.
 */
export function commonRuns(a: readonly number[], b: readonly number[], least: number): CommonRun[] {
  const found: CommonRun[] = [];
  const open = [{ a: 0, aEnd: a.length, b: 0, bEnd: b.length }];
  for (let part = open.pop(); part; part = open.pop()) {
    const run = longestRun(a.slice(part.a, part.aEnd), b.slice(part.b, part.bEnd));
    if (run.length < Math.max(1, least)) continue;
    const at = { a: part.a + run.a, b: part.b + run.b, length: run.length };
    found.push(at);
    open.push({ ...part, aEnd: at.a, bEnd: at.b }, { ...part, a: at.a + at.length, b: at.b + at.length });
  }
  return found.sort((one, other) => one.a - other.a);
}

/** In time by the product of the lengths, in memory by the second. */
function longestRun(a: readonly number[], b: readonly number[]): CommonRun {
  let [length, aLast, bLast] = [0, -1, -1];
  /** Behind each token of `b`: the run that ends with it and with the token of `a` at hand. From the end, so that one row is enough. */
  const runs = new Int32Array(b.length + 1);
  for (let i = 0; i < a.length; i++) {
    for (let j = b.length - 1; j >= 0; j--) {
      const run = a[i] === b[j] ? runs[j] + 1 : 0;
      runs[j + 1] = run;
      // The same end in `a` again is an earlier place in `b`.
      if (run > length || (run === length && i === aLast)) [length, aLast, bLast] = [run, i, j];
    }
  }
  return { a: aLast - length + 1, b: bLast - length + 1, length };
}
