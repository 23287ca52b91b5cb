/** Sweeps in threads, which only the build has: the same values in the same order, and errors come back. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { ensureBuilt } from '../../cli/kvlens.ts';
import { removeCheckpoint, writeTinyCheckpoint } from '../../tiny-checkpoint.ts';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const dir = writeTinyCheckpoint({ attention: 'gqa', layers: 3 });
afterAll(() => removeCheckpoint(dir));

/** Run a module against the build; what it prints, parsed. */
function inBuild(body: string): unknown {
  ensureBuilt();
  const script = `
    import { pathToFileURL } from 'node:url';
    const kvlens = await import(pathToFileURL(${JSON.stringify(join(root, 'dist', 'index.js'))}).href);
    const model = await kvlens.Model.open(${JSON.stringify(dir)});
    const clean = [1, 5, 9, 33, 2, 70, 12, 8, 3, 4];
    const corrupted = [1, 5, 44, 33, 2, 70, 13, 8, 3, 4];
    const { cache } = await model.runWithCache(clean);
    const print = (value) => process.stdout.write(JSON.stringify(value));
    ${body}
    await model.release();`;
  const output = execFileSync(process.execPath, ['--input-type=module', '-e', script], { timeout: 100_000 });
  return JSON.parse(output.toString());
}

test('two threads give the values of one, in its order, for every part of a sweep', () => {
  const result = inBuild(`
    const sweep = async (workers) => {
      const { parts } = await kvlens.getActPatchAttnHeadByPosEvery(model, corrupted, cache, kvlens.logitDiff(7, 11), { workers });
      return { values: parts.map(({ result }) => Array.from(result.values.data)), method: parts[0].result.method };
    };
    const all = (logits) => logits.get(0, 4, 7) - logits.get(0, 9, 11);
    const custom = async (workers) =>
      Array.from((await kvlens.getActPatchResidPre(model, corrupted, cache, all, { workers })).values.data);
    print({ one: await sweep(1), two: await sweep(2), three: await sweep(3), custom: [await custom(1), await custom(2)] });`);
  const { one, two, three, custom } = result as Record<'one' | 'two' | 'three', object> & { custom: number[][] };
  expect(two).toEqual(one);
  expect(three).toEqual(one);
  expect(one).toMatchObject({ method: { mode: 'batched', looped: 0 } });
  expect(custom[1]).toEqual(custom[0]);
});
