import { describe, expect, it } from 'vitest';
import { type C4Evidence, type C4Model, judgeC4 } from '../../../src/study/claims/c4.ts';
import type { Estimate } from '../../../src/study/claims/claim.ts';

const between = (lower: number, upper: number): Estimate => ({ value: (lower + upper) / 2, lower, upper });
const model = (name: string, changes: Partial<C4Model>): C4Model => ({
  ...{ name, scope: 'test', failedGates: [], architecture: 'other', sharpness: null, unevenness: null },
  ...changes,
});
const grouped = (sharpness: Estimate | null, name = 'mistral') =>
  model(name, { architecture: 'grouped-query', sharpness });
const gemma = (unevenness: Estimate | null) => model('gemma', { architecture: 'gemma', unevenness });

const findings = (changes: Partial<C4Evidence>) => {
  const evidence = { scope: 'test', models: [], voided: [], contrasts: [], folded: true, ...changes };
  return Object.fromEntries(judgeC4(evidence).map(({ part, verdict }) => [part, verdict]));
};
const pattern = (models: C4Model[], voided: string[] = []) => findings({ models, voided }).pattern;
const [sharp, even] = [grouped(between(2.1, 5)), gemma(between(1, 1.9))];

describe('C4 pattern', () => {
  it('is supported by a sharp first layer in every grouped-query model and an even profile in Gemma', () => {
    expect(pattern([sharp, even])).toBe('supported');
    expect(pattern([sharp, grouped(between(3, 9), 'qwen'), even])).toBe('supported');
  });

  it.each([
    ['S straddles 2', [grouped(between(1.9, 5)), even], 'not identifiable'],
    ['S ends at 2', [grouped(between(2, 5)), even], 'not identifiable'],
    ['S below 2', [grouped(between(0.5, 1.99)), even], 'contradicted'],
    ['S below 2 in one of two', [sharp, grouped(between(0.5, 1.9), 'qwen'), even], 'contradicted'],
    ['U straddles 2', [sharp, gemma(between(1.5, 2.1))], 'not identifiable'],
    ['U above 2', [sharp, gemma(between(2.01, 3))], 'contradicted'],
    ['a median of 0', [grouped(null), even], 'not identifiable'],
    ['no Gemma', [sharp], 'not identifiable'],
    ['no grouped-query model', [even], 'not identifiable'],
    ['no model', [], 'not identifiable'],
  ] as const)('%s: %s', (_, models, expected) => {
    expect(pattern([...models])).toBe(expected);
  });

  it('says nothing of multi-head attention, and judges each model it speaks of', () => {
    const found = findings({ models: [model('llama', { sharpness: between(0, 1) }), sharp, even] });
    expect(found).toMatchObject({
      ...{ pattern: 'supported', 'sharp at the first layer: mistral': 'supported', 'uniform: gemma': 'supported' },
    });
    expect(Object.keys(found).some((part) => part.includes('llama'))).toBe(false);
  });

  it('is not supported where a model has no numbers, or a gate it rests on failed', () => {
    expect(pattern([sharp, even], ['qwen'])).toBe('not identifiable');
    expect(pattern([{ ...sharp, failedGates: ['prefix'] }, even])).toBe('not identifiable');
    expect(pattern([sharp, { ...gemma(between(3, 4)), failedGates: ['finite'] }])).toBe('not identifiable');
  });
});

describe('C4 attribution to GQA', () => {
  const attribution = (shared: C4Model, expanded: C4Model) =>
    findings({ contrasts: [{ name: 'mistral', shared, expanded }] })['attribution to GQA'];
  const expanded = (sharpness: Estimate | null) => model('mistral (expanded KV)', { sharpness });

  it('needs a contrast within one model', () => {
    expect(findings({ models: [sharp, even] })['attribution to GQA']).toBe('not identifiable');
  });

  it('is supported if sharing makes the first layer sharp and expanding takes it away', () => {
    expect(attribution(sharp, expanded(between(0.8, 1.9)))).toBe('supported');
    expect(attribution(sharp, expanded(between(0.8, 2.1)))).toBe('not identifiable');
  });

  it('is contradicted if the first layer is sharp without shared heads, or not sharp with them', () => {
    expect(attribution(grouped(null), expanded(between(2.1, 4)))).toBe('contradicted');
    expect(attribution(grouped(between(1, 1.5)), expanded(between(1, 1.5)))).toBe('contradicted');
  });

  it('is open where folding leaves no error to compare', () => {
    expect(attribution(grouped(null), expanded(null))).toBe('not identifiable');
    expect(attribution(grouped(null), expanded(between(1, 1.5)))).toBe('not identifiable');
  });
});
