/** A run layer by layer writes the bytes that a resident run writes. */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { embeddedModels } from '../../src/checkpoint/embedded.ts';
import type { Prompt } from '../../src/study/prompts.ts';
import { contents, run, type TestOptions, type TestRun } from './run.ts';

const runs: TestRun[] = [];
afterAll(() => {
  for (const { remove } of runs) remove();
});

/** Prompts of `length` tokens with `steps` forced ones after them. */
function forcedPrompts(vocabulary: number, ...shapes: [length: number, steps: number][]): Prompt[] {
  return shapes.map(([length, steps], index) => {
    const token = (i: number) => 1 + ((i * 37 + index * 11 + 5) % (vocabulary - 1));
    return {
      ...{ id: `p${index}`, index, text: null, gold: null },
      tokens: Array.from({ length }, (_, i) => token(i)),
      continuation: Array.from({ length: steps }, (_, i) => token(length + i)),
    };
  });
}

async function both(dir: string, options: TestOptions) {
  const [resident, byLayer] = [
    await run(dir, { ...options, execution: 'resident' }),
    await run(dir, { ...options, execution: 'by-layer' }),
  ];
  runs.push(resident, byLayer);
  return { resident, byLayer };
}

const digest = ({ path }: TestRun, file: string) =>
  createHash('sha256')
    .update(contents(join(path, file)))
    .digest('hex');

const tables = ['steps', 'layers', 'prompts', 'conditions', 'vocab'];

describe.each(embeddedModels())('$name', ({ dir }) => {
  test.each([
    ['fp16', 1],
    ['fp32', 1],
    ['bf16', 2],
    ['fp64', 1],
    ['fp16-sdpa', 1],
  ])(
    '%s, %i decode rows: every table has the same bytes, every gate the same figures',
    async (precision, decodeRows) => {
      const { resident, byLayer } = await both(dir, {
        ...{ precision, decodeRows, hooks: 'core', saveActivations: true },
        prompts: forcedPrompts(512, [40, 12], [3, 5]),
      });
      for (const table of tables)
        expect([table, digest(byLayer, `${table}.arrow`)]).toEqual([table, digest(resident, `${table}.arrow`)]);
      for (const kind of ['resid_post', 'attn.rot_k', 'logits'])
        expect(digest(byLayer, `activations/${kind}.arrow`)).toBe(digest(resident, `activations/${kind}.arrow`));
      const { gates: _, ...found } = byLayer.summary;
      const { gates: __, ...expected } = resident.summary;
      expect(found).toEqual(expected);
      // Which place is the first to hold a subnormal depends on the order of the passes; how many do, does not.
      const counts = (measured: string) => measured.replaceAll(/ \(first [^()]+\([^()]*\)\)/g, '');
      const figures = (of: TestRun) =>
        of.summary.gates.map(({ name, status, measured }) => ({ name, status, measured: counts(measured) }));
      const first = new Set(['repeat', 'no-op', 'full-patch', 'observer']);
      expect(figures(byLayer).filter(({ name }) => !first.has(name))).toEqual(
        figures(resident).filter(({ name }) => !first.has(name)),
      );
      expect(byLayer.summary.gates.filter(({ passed }) => !passed)).toEqual([]);
    },
  );
});
