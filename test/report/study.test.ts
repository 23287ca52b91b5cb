/** A study in the terminal: what it says of made-up units, in 80 columns, whatever names hold. */
import { stripVTControlCharacters } from 'node:util';
import { describe, expect, test } from 'vitest';
import { kernelPresets } from '../../src/graph/kernels.ts';
import { policies } from '../../src/graph/rounding.ts';
import { renderStudy } from '../../src/report/terminal/index.ts';
import { displayWidth } from '../../src/report/terminal/layout.ts';
import type { Condition } from '../../src/study/definition/condition.ts';
import type { StudyGate, StudyResult } from '../../src/study/run/publish.ts';
import { driftBin, type UnitSummary } from '../../src/study/unit/unit-summary.ts';
import { answers, condition, llama, mistral, outcome as outcomeOf, sampled, unit } from '../study/unit-fixture.ts';

const options = { columns: 80, color: false, unicode: true, run: 'runs/s-1' };

const gate = (group: string, passed = true): StudyGate => ({
  ...{ name: 'prefix', class: 'identification', passed, status: passed ? 'passed' : 'failed', group },
  ...{ measured: '3 elements differ', required: '0 elements differ', scope: 'prompt 1' },
});

function result(conditions: Condition[], units: UnitSummary[], changes: Partial<StudyResult> = {}): StudyResult {
  const outcome = outcomeOf(conditions, units);
  return { name: 'tiny', shard: null, units: units.length, gates: [gate('g')], explained: [], outcome, ...changes };
}

const text = (found: StudyResult, more: object = {}) => renderStudy(found, { ...options, ...more });

describe('a study', () => {
  const greedy = condition(0);
  const split = condition(1, { kernels: { ...kernelPresets.ort, name: 'other' } });
  const fp32 = condition(2, { policy: policies.fp32, model: mistral });
  const diverged = unit(greedy, 1, {
    divergedAt: 4,
    flips: [{ step: 4, margin: 0.5, tie: false, boundary: false }],
    answers: answers({ cached: false, uncached: true }),
  });
  const units = [unit(greedy, 0), diverged, unit(split, 0), unit(split, 1), unit(fp32, 0)];
  const shown = text(result([greedy, split, fp32], units));

  test('says how many texts diverge, who is right alone, and how many flips there are', () => {
    expect(shown).toMatch(/study tiny {2}3 conditions, 5 units/);
    expect(shown).toMatch(/tiny-llama greedy .* 1\/2 \[.*%\] +1 \/ 20/);
    expect(shown).toMatch(/0 : 1/);
  });

  test('says which suspects nothing explains, and why', () => {
    const suspect = (i: number, drifts: [number, number][] | null) =>
      unit(greedy, i, {
        divergedAt: 4,
        flips: [{ step: 4, margin: 0.5, tie: false, boundary: false }],
        placebo: drifts && { correct: [], divergedAt: [], drift: drifts },
      });
    const quiet: [number, number][] = [[driftBin(0.001), 2_000]];
    const found = (...made: UnitSummary[]) => text(result([greedy], made)).replaceAll(/\s+/g, ' ');
    const all = found(suspect(0, [...quiet, [driftBin(0.9), 1]]), suspect(1, quiet), suspect(2, null));
    expect(all).toContain('3 wider than');
    expect(all).toContain(
      '; 1 not explained: no placebo of their own; 1 not explained: their own placebo leans as far',
    );
    expect(found(suspect(0, quiet))).not.toContain('not explained');
  });

  test('says of verdicts what decided them, also where the study begins with the control', () => {
    const unkeyed = condition(3, { ...sampled(), coupling: 'independent' });
    const found = text(
      result(
        [fp32, greedy, unkeyed].map((at, index) => ({ ...at, index })),
        [
          unit({ ...fp32, index: 0 }, 0),
          unit({ ...greedy, index: 1 }, 0),
          unit({ ...greedy, index: 1 }, 1),
          unit({ ...unkeyed, index: 2 }, 0),
        ],
      ),
    );
    expect(found).toMatch(/^fp16 · ort, what decided$/m);
    expect(found).toMatch(/C1 every text diverges: .* Of 2 texts 0 diverge/);
    expect(found).toMatch(/^ {2}fp16 · ort · unkeyed {2,}[✗✓○]/m);
  });

  test('gives the first setting in full, the others a line each', () => {
    expect(shown).toMatch(/^fp16 · ort /m);
    expect(shown).toMatch(/^ {2}fp16 · other +0\/2 +0 : 0 +0 \/ 20$/m);
    expect(shown).toMatch(/^ {2}fp32 · ort +0\/1 /m);
  });

  test('ends with a verdict for every claim of each half precision, and where the files are', () => {
    const lines = shown.split('\n');
    expect(lines.at(-1)).toBe('  look           runs/s-1');
    const verdicts = lines.filter((line) => /^ {2}fp16 · (ort|other) {2,}[✗✓○]/.test(line));
    expect(verdicts).toHaveLength(2);
    for (const claim of ['C1', 'C2', 'C3', 'C4', 'C5']) expect(verdicts.join()).toContain(claim);
    expect(shown).toMatch(
      /[✗✓○] C1 every text diverges: (contradicted|supported|not identifiable)\. Of 2 texts 1 diverge/,
    );
    expect(shown).not.toMatch(/^ {2}fp32 · ort {2,}[✗✓○]/m);
  });

  test('fits 80 columns, and is ASCII where nothing else can be shown', () => {
    for (const line of shown.split('\n')) expect(displayWidth(line)).toBeLessThanOrEqual(80);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: ASCII is what is asked for
    expect(text(result([greedy, split, fp32], units), { unicode: false })).toMatch(/^[\x00-\x7f]*$/);
  });

  test('shows no number of a group whose harness gate failed', () => {
    const voided = outcomeOf([greedy, split], [unit(split, 0)], { 0: ['repeat'] });
    const lines = text({ ...result([greedy], [unit(greedy, 0)]), outcome: voided }).split('\n');
    expect(lines.find((line) => line.includes('tiny-llama greedy'))).toMatch(/void .*repeat/);
  });
});

test('names cannot steer the terminal', () => {
  const evil = condition(0, { model: { ...llama, name: 'a\u001b[2Jb\u202e' }, name: 'x\u0007' });
  const shown = text(
    result([evil], [unit(evil, 0)], {
      gates: [gate('g\u001b[31m', false)],
      explained: [
        { condition: 'c\u001b]0;x', prompt: 'p\n\u0008', step: 3, cause: 'state-bug', verdict: 'step-replayed' },
      ],
    }),
  );
  expect(stripVTControlCharacters(shown)).toBe(shown);
  expect(shown).not.toMatch(/[\p{Format}]|[^\P{Control}\n]/u);
  expect(shown).toContain('state-bug (rule step-replayed)');
  expect(shown).toContain('✗');
});

test('planted faults are said', () => {
  const at = condition(0);
  expect(text(result([at], [unit(at, 0, { planted: true })]))).toContain('PLANTED FAULTS in 1 unit');
});

test('a shard says how to go on, and no verdict', () => {
  const at = condition(0);
  const shown = text({ ...result([at], [unit(at, 0)]), outcome: null, shard: { index: 2, of: 4 } });
  expect(shown).toContain('shard 2 of 4, 1 unit');
  expect(shown).toContain('--merge');
  expect(shown).not.toContain('C1');
});
