/** Distances of logits against hand-computed distributions and the textbook formulas in float64. */
import { describe, expect, test } from 'vitest';
import {
  centredDistance,
  compareLogits,
  divergences,
  oracleErrors,
  topLogit,
  totalVariation,
} from '../../../src/divergence/metrics/logits.ts';
import { argmax } from '../../../src/model/sampling/index.ts';
import { randomNumbers } from './random-numbers.ts';

const { NaN: nan, POSITIVE_INFINITY: inf } = Number;
const { log } = Math;
const row = (...values: number[]) => Float64Array.from(values);

/** log softmax, by the log of the sum. */
function logProbabilities(logits: Float64Array): number[] {
  const max = Math.max(...logits);
  const scale = max + log(logits.reduce((sum, z) => sum + Math.exp(z - max), 0));
  return Array.from(logits, (z) => z - scale);
}

/** KL(p ‖ q), JS and TV as they are defined, p of the uncached and q of the cached logits. */
function textbook(cached: Float64Array, uncached: Float64Array) {
  const logQ = logProbabilities(cached);
  const logP = logProbabilities(uncached);
  const p = logP.map(Math.exp);
  const q = logQ.map(Math.exp);
  const logM = p.map((value, j) => log((value + q[j]) / 2));
  const sum = (term: (j: number) => number) => p.reduce((total, _, j) => total + term(j), 0);
  return {
    kl: sum((j) => p[j] * (logP[j] - logQ[j])),
    js: sum((j) => p[j] * (logP[j] - logM[j]) + q[j] * (logQ[j] - logM[j])) / 2,
    tv: sum((j) => Math.abs(p[j] - q[j])) / 2,
  };
}

/** Rows of 64 logits whose difference has the given size; multiples of 2^-40, so that 64 can be added exactly. */
function randomPair(seed: number, size: number): [Float64Array, Float64Array] {
  const random = randomNumbers(seed);
  const grid = (value: number) => Math.round(value * 2 ** 40) / 2 ** 40;
  const uncached = Float64Array.from({ length: 64 }, () => grid(12 * random() - 6));
  return [uncached.map((z) => grid(z + size * (2 * random() - 1))), uncached];
}

function near(expected: number, relative: number) {
  return expect.toSatisfy(
    (found: number) => Math.abs(found - expected) <= relative * Math.abs(expected),
    `${expected}`,
  );
}

describe('distributions', () => {
  // p = (3/4, 1/4), q = (1/2, 1/2), m = (5/8, 3/8)
  const kl = (3 / 4) * log(3 / 2) + (1 / 4) * log(1 / 2);
  const js = ((3 / 4) * log(6 / 5) + (1 / 4) * log(2 / 3) + (1 / 2) * log(4 / 5) + (1 / 2) * log(4 / 3)) / 2;
  const reverse = (1 / 2) * log(2 / 3) + (1 / 2) * log(2);
  test.each([
    ['(1/2, 1/2) from (3/4, 1/4)', row(0, 0), row(log(3), 0), { kl, js, tv: 1 / 4 }],
    ['the other way round: only KL changes', row(log(3), 0), row(0, 0), { kl: reverse, js, tv: 1 / 4 }],
    [
      'a permutation of (1, 2, 4)/7',
      row(log(2), log(4), 0),
      row(0, log(2), log(4)),
      { kl: (4 * log(4) - 3 * log(2)) / 7, js: undefined, tv: 3 / 7 },
    ],
  ])('%s', (_, cached, uncached, expected) => {
    const found = divergences(cached, uncached);
    expect(found.kl).toBeCloseTo(expected.kl, 14);
    expect(found.tv).toBeCloseTo(expected.tv, 14);
    expect(found.js).toBeCloseTo(expected.js ?? textbook(cached, uncached).js, 14);
  });

  test.each([0.1, 1, 5, 20])('random rows %d apart give what the textbook formulas give', (size) => {
    for (let seed = 1; seed <= 20; seed++) {
      const [cached, uncached] = randomPair(seed, size);
      const { kl, js, tv } = textbook(cached, uncached);
      expect(divergences(cached, uncached)).toEqual({ kl: near(kl, 1e-11), js: near(js, 1e-11), tv: near(tv, 1e-12) });
    }
  });

  test.each([1e-3, 1e-5, 1e-7])('rows %d apart keep their digits: KL is half, JS an eighth of the variance', (size) => {
    for (let seed = 1; seed <= 5; seed++) {
      const [cached, uncached] = randomPair(seed, size);
      const p = logProbabilities(uncached).map(Math.exp);
      const d = Array.from(cached, (z, j) => z - uncached[j]);
      const mean = d.reduce((sum, value, j) => sum + p[j] * value, 0);
      const variance = d.reduce((sum, value, j) => sum + p[j] * (value - mean) ** 2, 0);
      const tv = d.reduce((sum, value, j) => sum + p[j] * Math.abs(value - mean), 0) / 2;
      const found = divergences(cached, uncached);
      expect(found).toEqual({ kl: near(variance / 2, size), js: near(variance / 8, size), tv: near(tv, size) });
      expect(found.kl).toBeGreaterThan(0);
    }
  });

  test('both branches of every series meet at their switch', () => {
    for (const d of [0.999e-3, 1.001e-3]) {
      const [cached, uncached] = [row(d, 0, 0), row(0, 0, 0)];
      const { kl, js } = textbook(cached, uncached);
      expect(divergences(cached, uncached)).toMatchObject({ kl: near(kl, 1e-8), js: near(js, 1e-8) });
    }
  });

  test('KL and JS are never negative, JS at most log 2, TV at most 1', () => {
    for (let seed = 1; seed <= 300; seed++) {
      const [cached, uncached] = randomPair(seed, 10 ** ((seed % 28) - 25));
      const { kl, js, tv } = divergences(cached, uncached);
      expect(Math.min(kl, js, tv)).toBeGreaterThanOrEqual(0);
      expect(js).toBeLessThanOrEqual(log(2));
      expect(tv).toBeLessThanOrEqual(1);
    }
  });

  test('all are exactly 0 for equal rows, and KL is above 0 if one logit moves by one part in 2^40', () => {
    const [, uncached] = randomPair(1, 0);
    const zero = { nDiffer: 0, maxAbs: 0, relL2: 0, l2Centred: 0, kl: 0, js: 0, tv: 0 };
    expect(compareLogits(uncached.slice(), uncached, 'f64')).toMatchObject(zero);
    const cached = uncached.slice();
    cached[5] += 2 ** -40;
    const found = compareLogits(cached, uncached, 'f64');
    expect(found.nDiffer).toBe(1);
    for (const distance of [found.kl, found.js, found.tv]) expect(distance).toBeGreaterThan(0);
  });
});

describe('a constant added to logits', () => {
  const [cached, uncached] = randomPair(3, 0.5);
  const plus64 = (logits: Float64Array) => logits.map((z) => z + 64);

  test('of both arms changes no distance but the relative L2 of the raw logits', () => {
    const before = compareLogits(cached, uncached, 'f64');
    const after = compareLogits(plus64(cached), plus64(uncached), 'f64');
    expect(after.relL2).toBeLessThan(before.relL2);
    expect({ ...after, relL2: before.relL2 }).toEqual(before);
  });

  test('of one arm changes no probability and not the centred distance', () => {
    const before = compareLogits(cached, uncached, 'f64');
    const { kl, js, tv, l2Centred, maxAbs } = compareLogits(plus64(cached), uncached, 'f64');
    expect([kl, js, tv, l2Centred]).toEqual(
      [before.kl, before.js, before.tv, before.l2Centred].map((value) => near(value, 1e-11)),
    );
    expect(maxAbs).toBeGreaterThan(63);
  });

  test('is no divergence by itself', () => {
    const { kl, js, tv, l2Centred } = compareLogits(plus64(uncached), uncached, 'f64');
    for (const distance of [kl, js, tv, l2Centred]) expect(distance).toBeLessThan(1e-12);
  });
});

describe('huge logits', () => {
  test.each([
    ['at the end of binary16', row(65504, 65472), row(65472, 65504), { kl: 32, tv: 1, js: log(2) }],
    ['a top that is certain in one arm', row(0, 0), row(600, 0), { kl: log(2), tv: 1 / 2 }],
    ['a top that is certain in the other arm', row(600, 0), row(0, 0), { kl: 300 - log(2), tv: 1 / 2 }],
  ])('%s overflow nowhere', (_, cached, uncached, expected) => {
    const found = divergences(cached, uncached);
    for (const [name, value] of Object.entries(expected))
      expect(found[name as keyof typeof found]).toBeCloseTo(value, 9);
  });

  // e^d overflows above 709: the choice of one arm has a probability the other cannot hold.
  test.each([
    ['at the end of float32', row(3e38, 3e38 - 1e30), row(3e38, -3e38), { kl: 0, js: 0, tv: 0 }],
    ['that trade places', row(0, 1000), row(0, -1000), { kl: 1000, js: log(2), tv: 1 }],
    ['where a small one grows by 800', row(0, 100), row(0, -700), { kl: 100, js: log(2), tv: 1 }],
  ])('%s keep a finite KL', (_, cached, uncached, { kl, js, tv }) => {
    const found = divergences(cached, uncached);
    expect([found.kl, found.js, found.tv]).toEqual([kl, js, tv].map((value) => near(value, 1e-9)));
  });
});

describe('non-finite logits', () => {
  test.each([
    ['NaN in the cached arm', row(1, nan, 3), row(1, 2, 3)],
    ['NaN in the uncached arm', row(1, 2, 3), row(1, nan, 3)],
    ['Infinity in one arm', row(1, inf, 3), row(1, 2, 3)],
  ])('%s makes every distance NaN, never 0', (_, cached, uncached) => {
    const { nDiffer, maxAbs, relL2, l2Centred, kl, js, tv } = compareLogits(cached, uncached, 'f32');
    expect(nDiffer).toBe(1);
    expect([maxAbs, relL2, l2Centred, kl, js, tv]).toEqual([nan, nan, nan, nan, nan, nan]);
  });

  test('a logit of −Infinity has probability 0 in a row that is compared with itself', () => {
    const logits = row(1, -inf, 3);
    expect(compareLogits(logits.slice(), logits, 'f32')).toMatchObject({ nDiffer: 0, kl: 0, js: 0, tv: 0 });
  });

  test('a token both arms exclude by −Infinity changes no probability metric of the others', () => {
    const found = divergences(row(0, -inf, 0), row(log(3), -inf, 0));
    const without = divergences(row(0, 0), row(log(3), 0));
    expect([found.kl, found.js, found.tv]).toEqual(
      [without.kl, without.js, without.tv].map((value) => near(value, 1e-12)),
    );
  });

  test('a token only the cached arm excludes makes KL infinite, JS and TV stay finite', () => {
    // p = (1/2, 1/2), q = (1, 0), m = (3/4, 1/4)
    const { kl, js, tv } = divergences(row(0, -inf), row(0, 0));
    expect([kl, tv]).toEqual([inf, 1 / 2]);
    expect(js).toBeCloseTo(((1 / 2) * log(2 / 3) + (1 / 2) * log(2) + log(4 / 3)) / 2, 12);
  });
});

describe('the top logit', () => {
  test.each([
    ['its lead over the second', row(1, 5, 3), { token: 1, margin: 2, tie: false }],
    ['a second that comes after it', row(5, 1, 4.5), { token: 0, margin: 0.5, tie: false }],
    ['a second that comes before it', row(4, 1, 6), { token: 2, margin: 2, tie: false }],
    ['of an exact tie the lowest index', row(1, 7, 3, 7), { token: 1, margin: 0, tie: true }],
    ['of three equal ones the first', row(7, 7, 7), { token: 0, margin: 0, tie: true }],
    ['a tie below the top is none', row(7, 3, 3), { token: 0, margin: 4, tie: false }],
    ['+0 and −0 tie', row(-0, 0, -1), { token: 0, margin: 0, tie: true }],
    ['one ulp is no tie', row(1, 1 + 2 ** -52), { token: 1, margin: 2 ** -52, tie: false }],
    ['one logit leads by infinity', row(3), { token: 0, margin: inf, tie: false }],
    ['excluded tokens leave an infinite lead', row(-inf, 2, -inf), { token: 1, margin: inf, tie: false }],
    ['NaN after the top is never it', row(1, nan, 3), { token: 2, margin: 2, tie: false }],
  ])('%s', (_, logits, expected) => {
    const { margin, ...found } = topLogit(logits);
    expect({ ...found, margin: margin + 0 }).toEqual(expected); // the difference of +0 and −0 may be −0
    expect(found.token).toBe(argmax(logits));
  });

  test('NaN in the first place is never it, as in the choice of tokens', () => {
    expect(argmax(row(nan, 1, 3))).toBe(2);
    expect(topLogit(row(nan, 1, 3)).token).toBe(2);
  });

  test('two overflowed logits are an exact tie', () => {
    expect(topLogit(row(inf, 1, inf))).toMatchObject({ token: 0, tie: true });
  });
});

describe('L2', () => {
  test('of the difference of mean-centred logits', () => {
    expect(centredDistance(row(1, 2, 3), row(1, 2, 3))).toBe(0);
    expect(centredDistance(row(4, 0), row(0, 0))).toBe(Math.sqrt(8)); // (2, −2)
    expect(centredDistance(row(5, 5, 5), row(2, 2, 2))).toBe(0);
    expect(centredDistance(row(3, 0, 0), row(0, 0, 0))).toBeCloseTo(Math.sqrt(6), 15); // (2, −1, −1)
  });

  test('relative L2 and the largest difference are those of the raw logits', () => {
    expect(compareLogits(row(3, 5), row(3, 4), 'f32')).toMatchObject({ relL2: 1 / 5, maxAbs: 1, nDiffer: 1 });
  });

  test('total variation of two given distributions is half the sum of differences', () => {
    expect(totalVariation(row(0.5, 0.25, 0.25), row(0.25, 0.25, 0.5))).toBe(0.25);
    expect(totalVariation(row(1, 0), row(0, 1))).toBe(1);
  });
});

describe('errors to the oracle', () => {
  test.each([
    [
      'equal errors point the same way',
      row(1, -1),
      row(1, -1),
      { cached: Math.SQRT2, uncached: Math.SQRT2, cosine: 1 },
    ],
    ['opposite errors point against each other', row(2, -2), row(-1, 1), { cosine: -1 }],
    ['errors at a right angle', row(1, -1, 0, 0), row(0, 0, 2, -2), { uncached: 2 * Math.SQRT2, cosine: 0 }],
    ['a constant is no error', row(3, 3), row(1, -1), { cached: 0, uncached: Math.SQRT2, cosine: null }],
  ])('%s', (_, cached, uncached, expected) => {
    // The oracle's own values do not matter: only what is added to them.
    const oracle = cached.map((_, j) => 8 * j - 4);
    const on = (error: Float64Array) => error.map((value, j) => value + oracle[j]);
    const found = oracleErrors(on(cached), on(uncached), oracle);
    for (const [name, value] of Object.entries(expected)) {
      const measured = found[name as keyof typeof found];
      if (value === null) expect(measured).toBeNull();
      else expect(measured).toBeCloseTo(value, 14);
    }
  });

  test('random errors give the textbook cosine', () => {
    const [oracle] = randomPair(1, 1);
    const [cached] = randomPair(2, 1);
    const [uncached] = randomPair(3, 1);
    const centred = (logits: Float64Array) => {
      const error = Array.from(logits, (z, j) => z - oracle[j]);
      const mean = error.reduce((a, b) => a + b) / error.length;
      return error.map((value) => value - mean);
    };
    const dot = (a: number[], b: number[]) => a.reduce((sum, value, j) => sum + value * b[j], 0);
    const [c, u] = [centred(cached), centred(uncached)];
    const norms = { cached: Math.sqrt(dot(c, c)), uncached: Math.sqrt(dot(u, u)) };
    expect(oracleErrors(cached, uncached, oracle)).toEqual({
      cached: near(norms.cached, 1e-12),
      uncached: near(norms.uncached, 1e-12),
      cosine: near(dot(c, u) / (norms.cached * norms.uncached), 1e-11),
    });
  });
});
