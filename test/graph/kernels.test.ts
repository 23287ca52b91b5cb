/** Kernel presets: what a name or a JSON file stands for, and what is refused with one clear line. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { InputError, UsageError } from '../../src/errors.ts';
import {
  isEmulated,
  kernelSignature,
  matchedKernels,
  operationClasses,
  parseKernels,
  resolveKernels,
} from '../../src/graph/kernels.ts';

const folder = mkdtempSync(join(tmpdir(), 'kvlens-kernels-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function file(name: string, content: unknown): string {
  const path = join(folder, name);
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
  return path;
}

const ort = { attention: 'per-head', prepack: true };

describe('names', () => {
  test('split-k cuts the four weight classes of decode steps and leaves prefill and attention alone', () => {
    const slice = { slices: 8, combine: 'storage' };
    expect(resolveKernels('split-k:8:storage')).toEqual({
      name: 'split-k:8:storage',
      prefill: ort,
      decode: { ...ort, classes: { qkv: slice, o: slice, mlp: slice, head: slice } },
      singleThread: true,
    });
  });

  test('split-kv and placebo', () => {
    expect(resolveKernels('split-kv:16').decode).toEqual({ ...ort, splitKv: 16 });
    const { prefill, decode, singleThread } = resolveKernels('placebo:0');
    expect({ prefill, singleThread }).toEqual({ prefill: ort, singleThread: true });
    expect(Object.entries(decode.classes ?? {})).toEqual(operationClasses.map((name) => [name, { permute: 0 }]));
  });

  test.each([
    ...['magic', 'split-k', 'split-k:8', 'split-k:1:fp32', 'split-k:8:fp16', 'split-k:08:fp32', 'split-k:8:fp32:x'],
    ...['split-k:-8:fp32', 'split-k:5000:fp32', 'split-kv:0', 'split-kv:x', 'split-kv:8:fp32', 'placebo:', 'ort:1'],
    ...['toString', '', 'split-kv:1e3'],
  ])('"%s" is refused and the names are listed', (name) => {
    expect(() => resolveKernels(name)).toThrow(UsageError);
    expect(() => resolveKernels(name)).toThrow(
      /unknown preset .*ort, ort-unpacked, folded, split-k:SLICES:fp32\|storage/,
    );
  });
});

describe('JSON', () => {
  test('what is left out is plain, and a file of plain kernels allows threads', () => {
    const path = file('plain.json', { name: 'mine', prefill: {}, decode: { attention: 'folded' } });
    const folded = { ...ort, attention: 'folded' };
    expect(resolveKernels(path)).toEqual({ name: 'mine', prefill: ort, decode: folded, singleThread: false });
    const sliced = file('sliced.json', { name: 'sliced', prefill: {}, decode: { classes: { head: { slices: 2 } } } });
    expect(resolveKernels(sliced).singleThread).toBe(true);
  });

  const decode = (kernel: object) => ({ name: 'x', prefill: {}, decode: kernel });
  test.each<[string, unknown, RegExp]>([
    ['no JSON', '{', /not valid JSON/],
    ['no object', [], /: the kernel preset: found \[\], expected an object$/],
    ['no decode kernel', { name: 'x', prefill: {} }, /: decode: found nothing, expected an object$/],
    ['an unknown key', decode({ slices: 8 }), /: decode\.slices: found 8, which is no field of a kernel preset$/],
    [
      'an unknown class',
      decode({ classes: { attention: {} } }),
      /: decode\.classes\.attention: found \{\}, which is no field of a kernel preset$/,
    ],
    [
      'one slice',
      decode({ classes: { o: { slices: 1 } } }),
      /: decode\.classes\.o\.slices: found 1, expected a number of at least 2$/,
    ],
    [
      'half a slice',
      decode({ classes: { o: { slices: 2.5 } } }),
      /: decode\.classes\.o\.slices: found 2\.5, expected a whole number$/,
    ],
    [
      'a combination of no slices',
      decode({ classes: { o: { combine: 'fp32' } } }),
      /classes\.o\.combine: found "fp32", expected slices beside it$/,
    ],
    [
      'rows tripled',
      decode({ classes: { o: { rows: 'tripled' } } }),
      /: decode\.classes\.o\.rows: found "tripled", expected "doubled"$/,
    ],
    ['chunks of nothing', decode({ splitKv: 0 }), /: decode\.splitKv: found 0, expected a number of at least 1$/],
    [
      'chunks beside slices',
      decode({ splitKv: 8, classes: { values: { slices: 2 } } }),
      /: decode\.splitKv: found 8, expected no slices or permute of the class values beside it/,
    ],
    ['a name with a colon', { name: 'a:b', prefill: {}, decode: {} }, /: name: found "a:b", expected letters, digits/],
    [
      'the name of a preset',
      { name: 'ort', prefill: {}, decode: { prepack: false } },
      /name: "ort" is a preset of its own/,
    ],
  ])('%s is refused; file and field are named', (name, content, says) => {
    const path = file(`${name.replaceAll(' ', '-')}.json`, content);
    expect(() => resolveKernels(path)).toThrow(InputError);
    expect(() => resolveKernels(path)).toThrow(says);
    expect(() => resolveKernels(path)).toThrow(path);
  });

  test('a file that is not there is one line', () => {
    expect(() => resolveKernels(join(folder, 'none.json'))).toThrow(/none\.json: cannot be read \(ENOENT\)/);
  });
});

test('what a run line and a remedy need to know', () => {
  const named = (name: string) => [isEmulated(resolveKernels(name)), matchedKernels(resolveKernels(name))];
  expect(named('ort')).toEqual([false, 'ort']);
  expect(named('ort-unpacked')).toEqual([false, 'ort-unpacked']);
  expect(named('split-k:2:fp32')).toEqual([true, 'ort']);
  expect(named('split-kv:2')).toEqual([true, 'ort']);
  expect(named('placebo:3')).toEqual([false, 'ort']);
  const own = (prefill: object, decode: object) => matchedKernels(parseKernels({ name: 'own', prefill, decode }, 'x'));
  expect(own({ prepack: false }, {})).toBe('ort-unpacked');
  const sliced = { classes: { o: { slices: 2 } } };
  expect(own(sliced, {})).toBeNull();
  expect(own(sliced, sliced)).toBe('own');
});

test('a signature tells kernels apart by what they compute, not by how they are written', () => {
  const of = (kernel: object) => kernelSignature(parseKernels({ name: 'x', prefill: {}, decode: kernel }, 'x').decode);
  expect(of({ classes: {} })).toBe(of({}));
  expect(of({ classes: { o: {} } })).toBe(of({}));
  expect(of({ classes: { o: { slices: 2 } } })).toBe(of({ classes: { o: { slices: 2, combine: 'fp32' } } }));
  const different = [
    ...[{}, { prepack: false }, { attention: 'folded' }, { splitKv: 4 }, { splitKv: 5 }],
    ...[
      { slices: 2 },
      { slices: 3 },
      { slices: 2, combine: 'storage' },
      { rows: 'doubled' },
      { permute: 0 },
      { permute: 1 },
    ].map((o) => ({ classes: { o } })),
    { classes: { mlp: { slices: 2 } } },
  ];
  expect(new Set(different.map(of)).size).toBe(different.length);
});
