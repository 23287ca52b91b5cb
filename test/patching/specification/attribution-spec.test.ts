/** Specs of attributions: faults are named with their field, and what is left out has its default. */
import { expect, test } from 'vitest';
import { InputError } from '../../../src/errors.ts';
import { measurements, settingsOf } from '../../../src/patching/specification/attribution-spec.ts';
import { armsSpec, attributionSpec, parsePatchSpec } from '../../../src/patching/specification/spec.ts';
import { coverage } from '../../../src/patching/specification/spec-document.ts';
import { openPatchSpec, shippedSpecs } from '../../../src/patching/specification/spec-files.ts';

const spec = (fields: object) => ({ experiment: 'attribution', name: 'mine', ...fields });

test.each<[string, unknown, RegExp]>([
  ['nothing to measure', spec({}), /^f\.json: of: found nothing, expected a list$/],
  ['an empty list', spec({ of: [] }), /: of: found \[\], expected at least one entry$/],
  ['an unknown measurement', spec({ of: ['luck'] }), /: of\[0\]: found "luck", expected "classes", "places", /],
  ['one twice', spec({ of: ['places', 'places'] }), /: of: found .*, expected each entry once$/],
  ['a field of another experiment', spec({ of: ['classes'], patches: [] }), /: patches: found \[\], which is no field/],
  [
    'an unknown history',
    spec({ of: ['classes'], history: ['own'] }),
    /: history\[0\]: found "own", expected "recomputed", "cached"$/,
  ],
  [
    'a history without classes',
    spec({ of: ['places'], history: ['cached'] }),
    /: history: found \["cached"\], expected no such field, as "of" has no "classes"$/,
  ],
  [
    'seeds without a null',
    spec({ of: ['classes'], seeds: 3 }),
    /: seeds: found 3, expected no such field, as "of" has no "placebo" and no "random-ulp"$/,
  ],
  [
    'draws without layers',
    spec({ of: ['placebo'], draws: 3 }),
    /: draws: found 3, expected no such field, as "of" has no "amplification"$/,
  ],
  ['no seed', spec({ of: ['placebo'], seeds: 0 }), /: seeds: found 0, expected a number of at least 1$/],
  ['half a step', spec({ of: ['classes'], maxSteps: 1.5 }), /: maxSteps: found 1\.5, expected a whole number$/],
  ['no prompt', spec({ of: ['classes'], prompts: 0 }), /: prompts: found 0, expected a number of at least 1$/],
])('%s', (_, value, says) => {
  expect(() => parsePatchSpec(value, 'f.json')).toThrow(InputError);
  expect(() => parsePatchSpec(value, 'f.json')).toThrow(says);
});

test('defaults: both histories, five seeds, four draws, every step', () => {
  const found = attributionSpec(parsePatchSpec(spec({ of: ['classes'] }), 'f'));
  expect(settingsOf(found)).toEqual({
    ...{ histories: ['recomputed', 'cached'], seeds: [1, 2, 3, 4, 5], draws: 4, maxSteps: Number.POSITIVE_INFINITY },
  });
});

test('every measurement has a spec that ships, and says how many prompts it looks at', () => {
  const shipped = shippedSpecs()
    .map((name) => openPatchSpec(name))
    .filter((one) => one.experiment === 'attribution');
  expect([...new Set(shipped.flatMap(({ of }) => of))].sort()).toEqual([...measurements].sort());
  for (const one of shipped)
    expect(coverage(one), one.name).toMatch(/^\(\d+ prompts, (every step|their first \d+ steps)/);
});

test('a spec of another experiment is not taken for one', () => {
  expect(() => attributionSpec(openPatchSpec('two-by-two'))).toThrow(
    /^two-by-two: experiment: found "arms", expected "attribution"$/,
  );
  expect(() => armsSpec(openPatchSpec('classes'))).toThrow(
    /^classes: experiment: found "attribution", expected "arms"$/,
  );
});
