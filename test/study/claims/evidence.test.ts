import { describe, expect, it } from 'vitest';
import { bootstrapRatio } from '../../../src/numerics/bootstrap.ts';
import {
  decades,
  flippedPrompts,
  type PatchRow,
  recoveryByHorizon,
  type StepRow,
} from '../../../src/study/claims/evidence.ts';
import { measuredShare } from '../../../src/study/statistics/measured.ts';

const step = (prompt: string, changes: Partial<StepRow> = {}): StepRow => ({
  ...{ prompt, protocol: 'teacher-forced', step: 1, flip: false, tie_cached: false, tie_uncached: false },
  ...{ logits_l2_centred: 0, kl: 0 },
  ...changes,
});

const cell = (prompt: string, base: number, patched: number, changes: Partial<PatchRow> = {}): PatchRow => ({
  ...{ prompt, horizon: 0, history: 'recomputed', kernel: 'decode', vacuous: false, by_construction: false },
  ...{ distance_base: base, distance_patched: patched },
  ...changes,
});

describe('flipped prompts', () => {
  it('counts prompts, not steps; step 0 and free-running rows are no evidence', () => {
    const rows = [
      step('a', { flip: true }),
      step('a', { step: 2, flip: true, tie_cached: true }),
      step('b', { flip: true, tie_uncached: true }),
      step('c', { step: 0, flip: true }),
      step('d', { protocol: 'free-running', flip: true }),
    ];
    expect(flippedPrompts(rows, 10)).toMatchObject({ prompts: 10, flipped: 2, onlyTies: 1 });
    expect(flippedPrompts(rows, 10).share.value).toBe(0.2);
  });

  it('without a flip the upper bound is 1 − 0.05^(1/n), never 0', () => {
    expect(measuredShare(0, 59)).toMatchObject({ value: 0, lower: 0 });
    expect(measuredShare(0, 59).upper).toBeCloseTo(0.0495, 4);
  });
});

describe('decades', () => {
  const rows = (scale: number) =>
    ['a', 'b', 'c', 'd'].map((prompt, i) => step(prompt, { logits_l2_centred: scale * (i + 1), kl: scale ** 2 }));

  it('is the logarithm of a ratio of sums, exact where every prompt has the same ratio', () => {
    const found = decades(rows(1), rows(1e-3), 'logits_l2_centred');
    for (const end of ['value', 'lower', 'upper'] as const) expect(found?.[end]).toBeCloseTo(3, 9);
    expect(decades(rows(1), rows(1e-3), 'kl')?.value).toBeCloseTo(6, 9);
  });

  it('is null where single precision is bit-equal', () => {
    expect(decades(rows(1), rows(0), 'kl')).toBeNull();
  });

  it('uses only prompts that both runs have', () => {
    const more = [...rows(1), step('e', { logits_l2_centred: 1e9 })];
    expect(decades(more, rows(0.1), 'logits_l2_centred')?.value).toBeCloseTo(1, 9);
  });
});

describe('recovery', () => {
  it('is a ratio of sums by prompt, never a mean of ratios', () => {
    const rows = ['a', 'b', 'c'].flatMap((name) => [cell(`${name}1`, 10, 1), cell(`${name}2`, 1, 1)]);
    expect(recoveryByHorizon(rows).get(0)?.value).toBeCloseTo(1 - 2 / 11, 12);
  });

  const names = ['a', 'b', 'c', 'd', 'e', 'f'];

  it('needs six prompts with a cell that counts', () => {
    const rows = names.map((name) => cell(name, 4, 1));
    expect(recoveryByHorizon(rows).get(0)?.value).toBe(0.75);
    const vacuous = cell('f', 0, 0, { vacuous: true });
    expect(recoveryByHorizon([...rows.slice(0, 5), vacuous]).get(0)).toBeNull();
  });

  it('leaves out what is vacuous or exact by construction, horizon by horizon', () => {
    const found = recoveryByHorizon([
      ...names.map((name) => cell(name, 4, 0, { by_construction: true })),
      ...names.map((name) => cell(name, 4, 3, { horizon: 1 })),
      cell('f', 0, 0, { horizon: 1, vacuous: true }),
    ]);
    expect(found.get(0)).toBeNull();
    expect(found.get(1)?.value).toBeCloseTo(0.25, 12);
  });

  it('its interval is ordered and holds the value; rules compare its ends, so it takes many draws', () => {
    const rows = Array.from({ length: 20 }, (_, i) => cell(`p${i}`, 1 + (i % 5), (i % 3) / 2));
    const { value, lower, upper } = recoveryByHorizon(rows).get(0)!;
    const units = rows.map((row) => ({ top: row.distance_patched, bottom: row.distance_base }));
    const { low, high } = bootstrapRatio(units, { resamples: 10_000 })!;
    expect([lower, upper]).toEqual([1 - high, 1 - low]);
    expect(lower).toBeLessThan(value);
    expect(value).toBeLessThan(upper);
  });
});
