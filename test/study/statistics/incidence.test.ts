import { describe, expect, it } from 'vitest';
import { cumulativeIncidence, type Wait } from '../../../src/study/statistics/incidence.ts';

const waits = (...ends: [number, Wait['end']][]): Wait[] => ends.map(([step, end]) => ({ step, end }));

describe('cumulative incidence', () => {
  it('is the plain share where nobody is censored', () => {
    const found = cumulativeIncidence(
      waits([2, 'event'], [2, 'competing'], [3, 'event'], [5, 'competing'], [5, 'competing']),
    );
    expect(found.at(-1)).toMatchObject({ step: 5 });
    expect(found.at(-1)!.event).toBeCloseTo(2 / 5, 12);
    expect(found.at(-1)!.competing).toBeCloseTo(3 / 5, 12);
  });

  it('is one minus Kaplan–Meier where no event competes', () => {
    const found = cumulativeIncidence(waits([1, 'event'], [2, 'censored'], [3, 'event'], [4, 'censored']));
    // S(3) = 3/4 · 1/2.
    expect(found.at(-1)!.event).toBeCloseTo(1 - (3 / 4) * (1 / 2), 12);
  });

  it('a worked example: events at 1 and 4, one competing at 2, one censored at 3', () => {
    const found = cumulativeIncidence(
      waits([1, 'event'], [2, 'competing'], [3, 'censored'], [4, 'event'], [6, 'censored']),
    );
    // F(1) = 1/5; S(1) = 4/5; competing 4/5 · 1/4; S(2) = 3/5; at 4 two are waiting: F += 3/5 · 1/2.
    expect(found.map(({ event }) => Number(event.toFixed(12)))).toEqual([0.2, 0.2, 0.5]);
    expect(found[1].competing).toBeCloseTo(0.2, 12);
    expect(found[2].atRisk).toBe(2);
  });

  it('counting texts that end as censored would overstate it', () => {
    const ends = waits([1, 'competing'], [1, 'competing'], [2, 'event'], [3, 'censored']);
    const asCensored = ends.map((wait): Wait => (wait.end === 'competing' ? { ...wait, end: 'censored' } : wait));
    expect(cumulativeIncidence(ends).at(-1)!.event).toBeCloseTo(1 / 4, 12);
    expect(cumulativeIncidence(asCensored).at(-1)!.event).toBeCloseTo(1 / 2, 12);
  });
});
