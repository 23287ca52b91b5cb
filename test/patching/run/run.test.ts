/** A whole patch run: its files, its numbers, and going on after an interruption. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openCheckpoint } from '../../../src/checkpoint/open.ts';
import { centredDistance } from '../../../src/divergence/metrics/logits.ts';
import { InterruptedError } from '../../../src/errors.ts';
import { resolveKernels } from '../../../src/graph/kernels.ts';
import { resolvePolicy } from '../../../src/graph/rounding.ts';
import { roundTo } from '../../../src/numerics/half.ts';
import { type PatchOptions, patch } from '../../../src/patching/run/patch.ts';
import { type ArmsSpecInput, armsSpec, parsePatchSpec } from '../../../src/patching/specification/spec.ts';
import { openPatchSpec } from '../../../src/patching/specification/spec-files.ts';
import { openArrow } from '../../../src/store/reader.ts';
import { RunDirectory } from '../../../src/store/run-directory.ts';
import { type Column, tables } from '../../../src/store/schemas.ts';
import { column, run as diverge, prompts } from '../../divergence/run.ts';
import { removeCheckpoint, writeTinyCheckpoint } from '../../tiny-checkpoint.ts';

const model = writeTinyCheckpoint({ modelType: 'mistral', attention: 'gqa', layers: 3, seed: 4 });
const folder = mkdtempSync(join(tmpdir(), 'kvlens-patch-'));
process.env.KVLENS_CACHE = join(folder, 'cache');
afterAll(() => {
  removeCheckpoint(model);
  rmSync(folder, { recursive: true, force: true });
  delete process.env.KVLENS_CACHE;
});
const given = prompts([1, 17, 5, 88, 42, 42, 7], [1, 9, 33], [1, 60, 61, 62], [1, 2, 3, 4, 5, 6]);

async function run(name: string, spec: ArmsSpecInput | string, changes: Partial<PatchOptions> = {}) {
  const path = join(folder, name);
  const summary = await patch({
    checkpoint: await openCheckpoint(model),
    ...{ policy: resolvePolicy('fp16'), kernels: resolveKernels('ort'), strategy: { kind: 'greedy' }, prompts: given },
    ...{ maxNewTokens: 12, decodeRows: 1, threads: 1, workers: 1, ignoreEos: true, template: '{question}\n' },
    spec: typeof spec === 'string' ? openPatchSpec(spec) : parsePatchSpec(spec, 'test'),
    ...changes,
    run: RunDirectory.create({ out: path, command: 'patch', model: 'tiny', resume: true }),
  });
  return { path, summary };
}

async function read(path: string, name: string) {
  const file = await openArrow(join(path, `${name}.arrow`));
  const table = await file.table();
  await file.close();
  return table;
}

const manifest = (path: string) => JSON.parse(readFileSync(join(path, 'manifest.json'), 'utf8'));

describe('the files of a run', () => {
  let made: Awaited<ReturnType<typeof run>>;
  beforeAll(async () => {
    made = await run('two-by-two', { ...armsSpec(openPatchSpec('two-by-two')), steps: { every: 2 } });
  });

  test('are those of the contract, and the journal is gone', () => {
    const files = readdirSync(made.path).sort();
    expect(files).toEqual([
      'conditions.arrow',
      'controls.json',
      'manifest.json',
      'patches.arrow',
      'prompts.arrow',
      'vocab.arrow',
    ]);
  });

  test('patches.arrow has the columns of its schema and one row per cell, step and horizon', async () => {
    const table = await read(made.path, 'patches');
    const columns: Record<string, Column> = tables.patches;
    expect(table.schema.fields.map(({ name, nullable }) => [name, nullable])).toEqual(
      Object.entries(columns).map(([name, { nullable }]) => [name, nullable]),
    );
    const keys = ['prompt', 'step', 'horizon', 'history', 'kernel', 'hook'].map((name) => column(table, name));
    const rows = keys[0].map((_, i) => keys.map((values) => values[i]).join(' '));
    expect(new Set(rows).size).toBe(rows.length);
    expect(manifest(made.path).provenance.rows['patches.arrow']).toBe(rows.length);
    // Decode steps 1 … 11, every second one; the horizons that the prompt's length leaves.
    const perPrompt = [1, 3, 5, 7, 9, 11].reduce(
      (sum, step) => sum + [0, 1, 5, 20].filter((h) => step + h <= 11).length,
      0,
    );
    expect(rows.length).toBe(given.length * 4 * perPrompt);
  });

  test('R of the run is one ratio of the sums in the file', async () => {
    const table = await read(made.path, 'patches');
    const get = (name: string) => column(table, name);
    const [history, kernel, horizon, base, patched] = [
      'history',
      'kernel',
      'horizon',
      'distance_base',
      'distance_patched',
    ].map(get);
    for (const cell of made.summary.cells) {
      for (const found of cell.horizons) {
        let [top, bottom] = [0, 0];
        history.forEach((_, i) => {
          if (history[i] !== cell.history || kernel[i] !== cell.kernel || horizon[i] !== found.horizon) return;
          top += Number(patched[i]);
          bottom += Number(base[i]);
        });
        const kl = (name: string) =>
          get(name).reduce<number>(
            (sum, value, i) =>
              history[i] === cell.history && kernel[i] === cell.kernel && horizon[i] === found.horizon
                ? sum + Number(value)
                : sum,
            0,
          );
        if (kl('kl_base') > 0) expect(found.recoveryKl).toBeCloseTo(1 - kl('kl_patched') / kl('kl_base'), 12);
        if (bottom === 0) expect(found.recovery).toBeNull();
        else expect(found.recovery).toBeCloseTo(1 - top / bottom, 12);
      }
    }
    const full = made.summary.cells.find((cell) => cell.history === 'recomputed' && cell.kernel === 'prefill');
    expect(full?.horizons[0].exact).toBe(full?.horizons[0].count);
  });

  test('the manifest holds the spec, and controls.json the exactness checks among the gates', () => {
    expect(manifest(made.path).identity.spec).toMatchObject({ name: 'two-by-two', steps: { every: 2 } });
    const { gates } = JSON.parse(readFileSync(join(made.path, 'controls.json'), 'utf8'));
    const names = gates.map(({ name }: { name: string }) => name);
    expect(names).toEqual(expect.arrayContaining(['no-op', 'full-patch', 'patch-self', 'patch-full']));
    expect(gates.every(({ passed }: { passed: boolean }) => passed)).toBe(true);
  });
});

test('interrupted after some prompts and gone on with, a run has the bytes of one that was not', async () => {
  const spec = { ...armsSpec(openPatchSpec('kv-by-layer')), steps: { every: 3 } };
  const whole = await run('whole', spec);
  const interruption = new AbortController();
  const onProgress: PatchOptions['onProgress'] = ({ stage, done }) => {
    if (stage === 'prompts' && done === 2) interruption.abort();
  };
  const stopped = run('resumed', spec, { signal: interruption.signal, onProgress });
  await expect(stopped).rejects.toThrow(InterruptedError);
  const path = join(folder, 'resumed');
  expect(manifest(path).provenance.finishedPrompts).toBe(2);
  expect(existsSync(join(path, 'journal.jsonl'))).toBe(true);

  const seen: number[] = [];
  await run('resumed', spec, { onProgress: ({ stage, done }) => void (stage === 'prompts' && seen.push(done)) });
  expect(seen).toEqual([2, 3, 4]);
  expect(readdirSync(path).sort()).toEqual(readdirSync(whole.path).sort());
  for (const file of readdirSync(path)) {
    if (file === 'manifest.json') continue;
    expect(readFileSync(join(path, file)).equals(readFileSync(join(whole.path, file))), file).toBe(true);
  }
  expect(manifest(path).identity).toEqual(manifest(whole.path).identity);
});

test('an interrupted run is not gone on with under other settings', async () => {
  const interruption = new AbortController();
  const spec = armsSpec(openPatchSpec('residual-all'));
  const first = run('other', spec, {
    signal: interruption.signal,
    onProgress: ({ done }) => void (done === 1 && interruption.abort()),
  });
  await expect(first).rejects.toThrow(InterruptedError);
  await expect(run('other', spec, { decodeRows: 2 })).rejects.toThrow(/another run's: decodeRows was 1, is 2/);
});

test('asked to stop when the last prompt is done, patch and diverge are complete', async () => {
  const stopAtTheEnd = () => {
    const controller = new AbortController();
    return {
      signal: controller.signal,
      onProgress: ({ stage, done, total }: { stage: string; done: number; total: number }) => {
        if (stage === 'prompts' && done === total) controller.abort();
      },
    };
  };
  const { path, summary } = await run('late-stop', 'history', { prompts: given.slice(0, 2), ...stopAtTheEnd() });
  expect(summary.prompts).toBe(2);
  expect(existsSync(join(path, 'journal.jsonl'))).toBe(false);
  const diverged = await diverge(model, { prompts: given.slice(0, 2), maxNewTokens: 4, ...stopAtTheEnd() });
  expect(diverged.summary.prompts).toBe(2);
  diverged.remove();
});

test('a spec that selects nothing at any step says so', async () => {
  await expect(run('nothing', { experiment: 'arms', name: 'late', steps: { at: [99] } })).rejects.toThrow(
    /^late: steps \{"at":\[99\]\}, horizons \[0,1,5,20\] and the positions of its patches select nothing in 44 decode steps$/,
  );
  await expect(
    run('nothing-2', { experiment: 'arms', name: 'early', patches: [{ hook: 'logits', positions: ['prompt'] }] }),
  ).rejects.toThrow(/^early: .* select nothing/);
});

describe('values of another run', () => {
  test('the uncached rows that diverge saved do what the uncached arm itself does', async () => {
    const saved = await diverge(model, {
      ...{ prompts: given, maxNewTokens: 12, hooks: 'core', saveActivations: true, mode: 'teacher-forced' },
    });
    const steps = { at: [4, 9] };
    for (const [name, fields] of Object.entries({
      residual: { hook: 'blocks.1.hook_resid_post' },
      cache: { cache: 'both' as const, positions: ['generated' as const] },
    })) {
      const from = { from: 'run' as const, run: saved.path, arm: 'uncached' as const };
      const taken = await run(`taken-${name}`, { experiment: 'arms', name, steps, patches: [{ ...fields, ...from }] });
      const own = await run(`own-${name}`, { experiment: 'arms', name, steps, patches: [fields] });
      const distances = async (path: string) => column(await read(path, 'patches'), 'distance_patched');
      expect(await distances(taken.path)).toEqual(await distances(own.path));
      expect(JSON.stringify(manifest(taken.path).identity)).not.toContain(saved.path);
      expect(manifest(taken.path).provenance.spec.patches[0].run).toBe(saved.path);
    }
    saved.remove();
  });

  test('K before the rotary embedding is rotated as the graph does', async () => {
    const saved = await diverge(model, {
      ...{ prompts: given, maxNewTokens: 12, hooks: '*.attn.hook_k,*.attn.hook_rot_k', saveActivations: true },
    });
    const patchOf = (rotary: 'after' | 'before') => ({
      ...{ cache: 'k' as const, positions: ['generated' as const], rotary },
      ...{ from: 'run' as const, run: saved.path, arm: 'uncached' as const },
    });
    const [before, after] = await Promise.all(
      (['before', 'after'] as const).map((rotary) =>
        run(`rotary-${rotary}`, { experiment: 'arms', name: 'k', steps: { every: 1 }, patches: [patchOf(rotary)] }),
      ),
    );
    const table = async (path: string) => column(await read(path, 'patches'), 'distance_patched');
    expect(await table(before.path)).toEqual(await table(after.path));
    saved.remove();
  });

  test('numbers of a wider type are rounded to what the policy stores at the hook', async () => {
    const continued = given.slice(0, 2).map((prompt) => ({ ...prompt, continuation: [3, 14, 15, 92] }));
    const common = { prompts: continued, hooks: 'logits', saveActivations: true, mode: 'teacher-forced' as const };
    const [wide, narrow] = [
      await diverge(model, { ...common, precision: 'fp32' }),
      await diverge(model, { ...common, precision: 'fp16' }),
    ];
    const patches = [{ hook: 'logits', from: 'run' as const, run: wide.path, arm: 'uncached' as const }];
    const spec: ArmsSpecInput = { experiment: 'arms', name: 'wide', steps: { every: 1 }, patches };
    const { path } = await run('wide', { ...spec, measure: { horizons: [0] } }, { prompts: continued });
    const table = await read(path, 'patches');
    const logitsOf = async (saved: typeof wide) => {
      const file = await read(saved.path, 'activations/logits');
      const keys = ['prompt', 'arm', 'step'].map((name) => column(file, name));
      const rows = column(file, 'value').map((value) => Float32Array.from(value as Iterable<number>));
      return new Map(rows.map((row, i) => [keys.map((values) => values[i]).join(' '), row]));
    };
    const [wideLogits, narrowLogits] = [await logitsOf(wide), await logitsOf(narrow)];
    const [ids, steps, distances] = ['prompt', 'step', 'distance_patched'].map((name) => column(table, name));
    expect(distances.length).toBe(6);
    distances.forEach((distance, i) => {
      const key = `${ids[i]} uncached ${steps[i]}`;
      const rounded = wideLogits.get(key)!.map((value) => roundTo('f16', value));
      expect(rounded).not.toEqual(wideLogits.get(key));
      expect(distance).toBe(centredDistance(rounded, narrowLogits.get(key)!));
    });
    wide.remove();
    narrow.remove();
  });

  test('a run of other weights is refused, though every shape fits', async () => {
    const twin = writeTinyCheckpoint({ modelType: 'mistral', attention: 'gqa', layers: 3, seed: 5 });
    const continued = given.slice(0, 1).map((prompt) => ({ ...prompt, continuation: [3, 14] }));
    const common = { prompts: continued, hooks: 'logits', saveActivations: true, mode: 'teacher-forced' as const };
    const other = await diverge(twin, common);
    const patches = [{ hook: 'logits', from: 'run' as const, run: other.path, arm: 'uncached' as const }];
    await expect(
      run('twin', { experiment: 'arms', name: 'twin', steps: { at: [1] }, patches }, { prompts: continued }),
    ).rejects.toThrow(/its activations are those of .* \(weights [0-9a-f]{12}…\), expected /);
    other.remove();
    removeCheckpoint(twin);
  });

  test('what does not fit is refused in one line', async () => {
    const from = (run: string) => ({ from: 'run' as const, run, arm: 'uncached' as const });
    const spec = (fields: object) =>
      ({ experiment: 'arms' as const, name: 'x', steps: { at: [1] }, patches: [fields] }) as ArmsSpecInput;
    await expect(run('r1', spec({ hook: 'logits', ...from(join(folder, 'nowhere')) }))).rejects.toThrow(
      /nowhere: has no activations\/logits\.arrow$/,
    );
    const other = await diverge(model, {
      ...{ prompts: given, maxNewTokens: 3, hooks: 'logits', saveActivations: true, mode: 'teacher-forced' },
    });
    const late = { ...spec({ hook: 'logits', ...from(other.path) }), steps: { at: [9] } };
    await expect(run('r2', late)).rejects.toThrow(/has no logits of the uncached arm for prompt "p0", position 15/);
    await expect(
      run('r3', spec({ hook: 'logits', ...from(other.path) }), { prompts: prompts([1, 17, 5, 88, 42, 42, 9]) }),
    ).rejects.toThrow(/prompt "p0", position 7: found token \d+, expected \d+, the token of this run/);
    other.remove();
  });
});
