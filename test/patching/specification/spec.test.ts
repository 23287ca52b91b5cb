/** Specs: what ships is valid, and every error names the field, what was found and what was expected. */
import { afterAll, describe, expect, test } from 'vitest';
import { embeddedModels } from '../../../src/checkpoint/embedded.ts';
import { openCheckpoint } from '../../../src/checkpoint/open.ts';
import { InputError, UsageError } from '../../../src/errors.ts';
import { resolveKernels } from '../../../src/graph/kernels.ts';
import { resolveCleanCorrupted } from '../../../src/patching/clean-corrupted/resolve.ts';
import { positionsAt, resolveSpec } from '../../../src/patching/specification/resolve.ts';
import { parsePatchSpec } from '../../../src/patching/specification/spec.ts';
import { openPatchSpec, shippedSpecs } from '../../../src/patching/specification/spec-files.ts';
import { removeCheckpoint, writeTinyCheckpoint } from '../../tiny-checkpoint.ts';

const dir = writeTinyCheckpoint({ attention: 'gqa', layers: 3 });
afterAll(() => removeCheckpoint(dir));
const ort = resolveKernels('ort');
const arms = (fields: object) => ({ experiment: 'arms', name: 'mine', ...fields });
const patch = (fields: object) => arms({ patches: [fields] });
const twoPrompts = (fields: object) => ({
  ...{ experiment: 'clean-corrupted', name: 'two', clean: [1, 2], corrupted: 'a', grids: ['resid_pre'] },
  ...fields,
});

describe('what ships', () => {
  test.each(shippedSpecs())('%s is valid, bears its name and, of the arms, has cells', async (name) => {
    const spec = openPatchSpec(name);
    expect(spec.name).toBe(name);
    expect(spec.description).toBeDefined();
    if (spec.experiment === 'attribution') return;
    if (spec.experiment === 'clean-corrupted') {
      const { dir: embedded } = embeddedModels()[0];
      expect(resolveCleanCorrupted(spec, await openCheckpoint(embedded), ort).grids.length).toBeGreaterThan(0);
    } else expect(resolveSpec(spec, (await openCheckpoint(dir)).config, ort).cells.length).toBeGreaterThan(0);
  });

  test('the promised ones are there', () => {
    const promised = ['two-by-two', 'history', 'residual-all', 'residual-by-layer', 'kv-by-layer', 'kv-by-head'];
    expect(shippedSpecs()).toEqual(
      expect.arrayContaining([
        ...promised,
        ...['kv-by-position', 'kv-rows', 'patch-and-release', 'self-patch', 'names-swapped'],
      ]),
    );
  });
});

test.each<[string, unknown, RegExp]>([
  ['no object', 7, /^f\.json: the spec: found 7, expected an object$/],
  ['no experiment', { name: 'a' }, /: experiment: found nothing, expected "arms", "attribution", "clean-corrupted"$/],
  [
    'an unknown experiment',
    { experiment: 'legs' },
    /: experiment: found "legs", expected "arms", "attribution", "clean-corrupted"$/,
  ],
  [
    'a description that would steer a terminal',
    arms({ description: 'a \u001b[31m b' }),
    /: description: found "a .*expected a line of text without control characters$/,
  ],
  [
    'a description that would turn the line around',
    arms({ description: 'a \u202e b' }),
    /: description: .*expected a line of text without control characters$/,
  ],
  [
    'an attribution of steps that are patched together',
    arms({ steps: { from: 3 }, measure: { attribution: { parts: 'heads' } } }),
    /: measure\.attribution: .*expected no such field, as "steps" patches several together/,
  ],
  [
    'an attribution of the uncached arm',
    arms({ into: 'uncached', measure: { horizons: [0], attribution: { parts: 'heads' } } }),
    /: measure\.attribution: .*expected no such field, as "into" is "uncached"/,
  ],
  ['no name', { experiment: 'arms' }, /: name: found nothing, expected a text$/],
  ['a name with spaces', arms({ name: 'a b' }), /: name: found "a b", expected a name of lower-case letters/],
  ['an unknown field', arms({ nme: 1 }), /: nme: found 1, which is no field of a spec$/],
  ['an unknown field of a patch', patch({ hook: 'all', hed: 1 }), /: patches\[0\]\.hed: found 1, which is no field/],
  ['no history at all', arms({ history: [] }), /: history: found \[\], expected at least one entry$/],
  ['a history twice', arms({ history: ['cached', 'cached'] }), /: history: found .*, expected each entry once$/],
  ['an unknown kernel', arms({ kernel: ['warp'] }), /: kernel\[0\]: found "warp", expected "decode", "prefill"$/],
  ['prefixes of nothing', arms({ prefixes: true }), /: history: found nothing, expected "recomputed" in it/],
  ['patches that are no list', arms({ patches: {} }), /: patches: found \{\}, expected a list$/],
  ['neither hook nor cache', patch({}), /: patches\[0\]\.hook: found nothing, expected either "hook" or "cache"/],
  ['both hook and cache', patch({ hook: 'a', cache: 'k' }), /: patches\[0\]\.hook: found "a", expected either/],
  ['an unknown component', patch({ cache: 'q' }), /: patches\[0\]\.cache: found "q", expected "k", "v", "both"$/],
  [
    'a layer that is a word',
    patch({ cache: 'k', layers: ['all'] }),
    /: patches\[0\]\.layers\[0\]: found "all", expected a whole number/,
  ],
  ['a fraction of a layer', patch({ cache: 'k', layers: [0.5] }), /: patches\[0\]\.layers\[0\]: found 0\.5/],
  [
    'a range that is empty',
    patch({ cache: 'k', positions: [[3, 3]] }),
    /: patches\[0\]\.positions\[0\]: found \[3,3\], .*start < end/,
  ],
  [
    'an unknown position',
    patch({ cache: 'k', positions: ['first'] }),
    /: found "first", .* one of prompt, generated, last, history$/,
  ],
  ['no head', patch({ cache: 'k', heads: [] }), /: patches\[0\]\.heads: found \[\], expected at least one entry$/],
  [
    'V before rotary',
    patch({ cache: 'v', rotary: 'before' }),
    /: patches\[0\]\.rotary: found "before", expected "after"/,
  ],
  [
    'an unknown source',
    patch({ cache: 'k', from: 'mars' }),
    /: patches\[0\]\.from: found "mars", expected "cached", "uncached"/,
  ],
  [
    'a run without its folder',
    patch({ cache: 'k', from: 'run', arm: 'cached' }),
    /: patches\[0\]\.run: found nothing, expected the folder/,
  ],
  ['a run without its arm', patch({ cache: 'k', from: 'run', run: 'r' }), /: patches\[0\]\.arm: found nothing/],
  ['a folder without "run"', patch({ cache: 'k', run: 'r' }), /: patches\[0\]\.from: found nothing, expected "run"/],
  ['a grid of nothing', arms({ grid: ['layer'] }), /: patches: found nothing, expected at least one patch/],
  [
    'an unknown axis',
    arms({ ...patch({ cache: 'k' }), grid: ['tower'] }),
    /: grid\[0\]: found "tower", expected "layer", "hook"/,
  ],
  ['two kinds of steps', arms({ steps: { at: [1], every: 2 } }), /: steps: found .*, expected one of \{"at"\}/],
  ['no steps', arms({ steps: {} }), /: steps: found \{\}, expected one of/],
  ['step 0', arms({ steps: { at: [0] } }), /: steps\.at\[0\]: found 0, expected a number of at least 1$/],
  ['until without release', arms({ steps: { until: [3] } }), /: steps\.release: found nothing, expected true/],
  [
    'a negative horizon',
    arms({ measure: { horizons: [-1] } }),
    /: measure\.horizons\[0\]: found -1, expected a number of at least 0$/,
  ],
  [
    'a horizon of the uncached arm',
    arms({ into: 'uncached', measure: { horizons: [0, 1] } }),
    /: measure\.horizons: .* as "into" is "uncached"$/,
  ],
  ['an unknown measure', arms({ measure: { luck: 1 } }), /: measure\.luck: found 1, which is no field/],
  ['no clean prompt', twoPrompts({ clean: undefined }), /: clean: found nothing, expected a text, or a list of token/],
  ['an empty prompt', twoPrompts({ corrupted: '' }), /: corrupted: found "", expected a text, or a list of token ids$/],
  [
    'ids that are none',
    twoPrompts({ clean: [1, -2] }),
    /: clean: found \[1,-2\], expected a text, or a list of token ids/,
  ],
  ['no grid', twoPrompts({ grids: [] }), /: grids: found \[\], expected at least one entry$/],
  [
    'an unknown grid',
    twoPrompts({ grids: ['resid'] }),
    /: grids\[0\]: found "resid", expected one of resid_pre, resid_mid/,
  ],
  ['a grid twice', twoPrompts({ grids: ['mlp_out', 'mlp_out'] }), /: grids: found .*, expected each entry once$/],
  [
    'an unknown metric',
    twoPrompts({ metric: 'luck' }),
    /: metric: found "luck", expected "logitDistance", "klDivergence"/,
  ],
  [
    'one token of a pair',
    twoPrompts({ metric: { logitDiff: ['a'] } }),
    /: metric: found \{"logitDiff":\["a"\]\}, expected/,
  ],
  [
    'steps of two prompts',
    twoPrompts({ steps: { at: [1] } }),
    /: steps: found \{"at":\[1\]\}, which is no field of a spec$/,
  ],
  [
    'unknown parts',
    arms({ measure: { attribution: { parts: 'feet' } } }),
    /: measure\.attribution\.parts: found "feet", expected "components"/,
  ],
])('%s', (_, value, says) => {
  expect(() => parsePatchSpec(value, 'f.json')).toThrow(InputError);
  expect(() => parsePatchSpec(value, 'f.json')).toThrow(says);
});

test.each<[string, object, RegExp]>([
  [
    'a layer that is not there',
    { cache: 'k', layers: [3] },
    /^patches\[0\]\.layers: found 3, expected a layer from 0 to 2$/,
  ],
  ['a range beyond the layers', { cache: 'k', layers: [[1, 4]] }, /layers: found \[1,4\]/],
  [
    'a K/V head that is not there',
    { cache: 'k', heads: [2] },
    /^patches\[0\]\.heads: found 2, expected a K\/V head from 0 to 1$/,
  ],
  [
    'a head that is not there',
    { hook: '*.hook_z', heads: [4] },
    /^patches\[0\]\.heads: found 4, expected a head from 0 to 3$/,
  ],
  ['heads of a hook without heads', { hook: '*.hook_resid_post', heads: [0] }, /hook_resid_post has no heads/],
  ['a hook that is not there', { hook: '*.hook_soul' }, /^patches\[0\]\.hook: "\*\.hook_soul" matches no hook/],
  [
    'a layer the hooks have not',
    { hook: 'logits', layers: [0] },
    /^patches\[0\]\.layers: found \[0\], expected a layer of logits$/,
  ],
  [
    'a position beyond the context',
    { cache: 'k', positions: [64] },
    /^patches\[0\]\.positions: found 64, expected positions below 64/,
  ],
  [
    'cache rows of a run by hook',
    { hook: '*.hook_cache_k', from: 'run', run: 'r', arm: 'cached' },
    /expected "cache" instead/,
  ],
])('%s is a usage error', async (_, fields, says) => {
  const { config } = await openCheckpoint(dir);
  const spec = parsePatchSpec(patch(fields), 'f.json');
  expect(() => resolveSpec(spec, config, ort)).toThrow(UsageError);
  expect(() => resolveSpec(spec, config, ort)).toThrow(says);
});

test('a spec of two prompts is not one of the two arms', async () => {
  const { config } = await openCheckpoint(dir);
  const spec = parsePatchSpec(twoPrompts({}), 'f.json');
  expect(() => resolveSpec(spec, config, ort)).toThrow(/^two: experiment: found "clean-corrupted", expected "arms"$/);
});

test('positions: words, indices and half-open ranges, each once, below the end', () => {
  // p = 4 tokens of the prompt, n = 7: the history is 0 … 5, the newest row 6.
  expect(positionsAt(['prompt'], 4, 7, 7)).toEqual([0, 1, 2, 3]);
  expect(positionsAt(['generated'], 4, 7, 7)).toEqual([4, 5, 6]);
  expect(positionsAt(['generated'], 4, 7, 6)).toEqual([4, 5]);
  expect(positionsAt(['last'], 4, 7, 7)).toEqual([6]);
  expect(positionsAt(['history'], 4, 7, 7)).toEqual([0, 1, 2, 3, 4, 5]);
  expect(positionsAt([[2, 5], 3, 0, 9], 4, 7, 7)).toEqual([0, 2, 3, 4]);
  expect(positionsAt([9], 4, 7, 7)).toEqual([]);
});

test('grids are taken apart by every axis, and hooks keep to their layers', async () => {
  const { config } = await openCheckpoint(dir);
  const cells = (fields: object) => resolveSpec(parsePatchSpec(arms(fields), 'f'), config, ort).cells;
  const both = { patches: [{ cache: 'both' }] };
  expect(cells({ ...both, grid: ['layer'] })).toHaveLength(3);
  expect(cells({ ...both, grid: ['layer', 'head', 'component'] })).toHaveLength(3 * 2 * 2);
  expect(cells({ patches: [{ cache: 'k' }], grid: ['component'] }).map(({ label }) => label.component)).toEqual(['k']);
  expect(cells({ patches: [{ hook: '*.hook_z', layers: [[1, 3]] }], grid: ['layer', 'head'] })).toHaveLength(2 * 4);
  const labels = cells({ patches: [{ hook: '*.hook_resid_pre,*.hook_mlp_out' }], grid: ['layer', 'hook'] }).map(
    ({ label }) => label,
  );
  expect(labels).toHaveLength(6);
  expect(labels[3]).toMatchObject({ hook: 'blocks.1.hook_mlp_out', firstLayer: 1, layer: 1 });
  expect(cells({ history: ['cached', 'recomputed'], kernel: ['decode', 'prefill'] })).toHaveLength(4);
  expect(cells({ history: ['cached', 'recomputed'], prefixes: true })).toHaveLength(1 + 3);
});

test('hooks that a kernel has no patch point at are left out of globs, and refused by name', async () => {
  const { config } = await openCheckpoint(dir);
  const splitKv = resolveKernels('split-kv:16');
  const hooksOf = (hook: string) =>
    resolveSpec(parsePatchSpec(patch({ hook }), 'f'), config, splitKv).cells[0].targets[0].hooks.map(
      ({ name }) => name,
    );
  expect(hooksOf('*.attn.*')).not.toContain('blocks.0.attn.hook_pattern');
  expect(hooksOf('*.attn.*')).toContain('blocks.0.attn.hook_attn_scores');
  expect(() => hooksOf('*.hook_pattern')).toThrow(
    /^patches\[0\]\.hook: blocks\.0\.attn\.hook_pattern: a split-KV kernel/,
  );
});
