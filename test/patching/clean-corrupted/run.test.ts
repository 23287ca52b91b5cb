/** A whole clean/corrupted run: its files, its numbers, and going on after an interruption. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { embeddedModels } from '../../../src/checkpoint/embedded.ts';
import { openCheckpoint } from '../../../src/checkpoint/open.ts';
import { InputError, InterruptedError, UsageError } from '../../../src/errors.ts';
import { resolveKernels } from '../../../src/graph/kernels.ts';
import { resolvePolicy } from '../../../src/graph/rounding.ts';
import { Model } from '../../../src/model/model.ts';
import { resolveCleanCorrupted } from '../../../src/patching/clean-corrupted/resolve.ts';
import { type CleanCorruptedRunOptions, patchCleanCorrupted } from '../../../src/patching/clean-corrupted/run.ts';
import { sweepRecord } from '../../../src/patching/clean-corrupted/sweep-record.ts';
import type { CleanCorruptedSpec } from '../../../src/patching/specification/clean-corrupted.ts';
import { parsePatchSpec } from '../../../src/patching/specification/spec.ts';
import { genericActivationPatch } from '../../../src/patching/sweep/act-patch.ts';
import { klDivergence, logitDiff } from '../../../src/patching/sweep/metrics.ts';
import type { SweepMethod } from '../../../src/patching/sweep/sweep.ts';
import { targetsOf } from '../../../src/patching/sweep/targets.ts';
import { openArrow } from '../../../src/store/reader.ts';
import { RunDirectory } from '../../../src/store/run-directory.ts';
import { type Column, tables } from '../../../src/store/schemas.ts';
import { column } from '../../divergence/run.ts';
import { removeCheckpoint, writeTinyCheckpoint } from '../../tiny-checkpoint.ts';

const dir = writeTinyCheckpoint({ modelType: 'mistral', attention: 'gqa', layers: 3, seed: 4 });
const folder = mkdtempSync(join(tmpdir(), 'kvlens-clean-'));
process.env.KVLENS_CACHE = join(folder, 'cache');
afterAll(() => {
  removeCheckpoint(dir);
  rmSync(folder, { recursive: true, force: true });
  delete process.env.KVLENS_CACHE;
});
const ort = resolveKernels('ort');
const clean = [1, 5, 9, 33, 2, 70, 12, 8, 3, 4, 17, 21];
const corrupted = [1, 5, 44, 33, 2, 71, 12, 8, 3, 4, 17, 21];

function specOf(fields: object = {}): CleanCorruptedSpec {
  const spec = parsePatchSpec(
    {
      ...{ experiment: 'clean-corrupted', name: 'two', clean, corrupted, metric: { logitDiff: [7, 11] } },
      ...{ grids: ['block_every', 'attn_head_k_by_pos', 'attn_head_pattern_dest_src_pos'], ...fields },
    },
    'test',
  );
  if (spec.experiment !== 'clean-corrupted') throw new Error('another experiment');
  return spec;
}

async function run(name: string, fields: object = {}, changes: Partial<CleanCorruptedRunOptions> = {}) {
  const path = join(folder, name);
  const summary = await patchCleanCorrupted({
    ...{ checkpoint: await openCheckpoint(dir), policy: resolvePolicy('fp16'), kernels: ort, threads: 1, workers: 1 },
    spec: specOf(fields),
    ...changes,
    run: RunDirectory.create({ out: path, command: 'patch', model: 'tiny', resume: true }),
  });
  return { path, summary };
}

async function rows(path: string) {
  const file = await openArrow(join(path, 'patches.arrow'));
  const table = await file.table();
  await file.close();
  return table;
}

const json = (path: string, name: string) => JSON.parse(readFileSync(join(path, name), 'utf8'));

describe('a run', () => {
  let made: Awaited<ReturnType<typeof run>>;
  let model: Model;
  beforeAll(async () => {
    made = await run('whole', {}, { files: () => [['figures/two.svg', '<svg/>\n']] });
    model = await Model.open(dir);
  });
  afterAll(() => model.release());

  test('leaves the files of a patch run and the given figures, and no journal', () => {
    const files = ['conditions', 'patches', 'prompts', 'vocab'].map((name) => `${name}.arrow`);
    expect(readdirSync(made.path).sort()).toEqual([...files, 'controls.json', 'figures', 'manifest.json'].sort());
    expect(readFileSync(join(made.path, 'figures', 'two.svg'), 'utf8')).toBe('<svg/>\n');
    const { identity, provenance } = json(made.path, 'manifest.json');
    expect(identity.spec).toEqual(specOf());
    expect(provenance.files).toContain('figures/two.svg');
    const cells = 3 * 3 * 12 + 3 * 12 * 2 + 3 * 4 * 12 * 12;
    expect(provenance).toMatchObject({ finishedCells: cells, rows: { 'patches.arrow': cells, 'prompts.arrow': 2 } });
  });

  test('has the columns of patches.arrow, and every gate and the sweep in controls.json', async () => {
    const table = await rows(made.path);
    expect(table.schema.fields.map(({ name }) => name)).toEqual(Object.keys(tables.patches));
    for (const [name, { nullable }] of Object.entries<Column>(tables.patches)) {
      if (!nullable) expect(table.getChild(name)?.nullCount, name).toBe(0);
    }
    expect(new Set(column(table, 'prompt'))).toEqual(new Set(['corrupted']));
    const { gates } = json(made.path, 'controls.json');
    expect(gates).toHaveLength(13);
    expect(gates.every((gate: { passed: boolean }) => gate.passed)).toBe(true);
    expect(gates.at(-1)).toMatchObject({
      ...{ name: 'sweep', status: 'passed', required: '0 elements differ' },
      measured: expect.stringMatching(/^0 of \d+ cells differ; cells resume side by side/),
    });
  });

  test('says of every cell what the API says, and what the runs by themselves give', async () => {
    const table = await rows(made.path);
    const { cache, logits } = await model.runWithCache(clean);
    const metric = logitDiff(7, 11);
    const values: number[] = [];
    const kls: number[] = [];
    for (const target of targetsOf(specOf().grids)) {
      const result = await genericActivationPatch(model, corrupted, cache, metric, target);
      values.push(...result.values.data);
      const kl = await genericActivationPatch(model, corrupted, cache, klDivergence(logits!), target);
      kls.push(...kl.values.data);
      expect(made.summary.found).toMatchObject({ clean: result.clean, corrupted: result.corrupted });
    }
    expect(column(table, 'metric_patched')).toEqual(values);
    expect(column(table, 'kl_patched')).toEqual(kls);
    const [from, to] = [Number(column(table, 'metric_corrupted')[0]), Number(column(table, 'metric_clean')[0])];
    expect(column(table, 'metric_recovery')).toEqual(values.map((value) => (value - from) / (to - from)));
    const changed = column(table, 'n_changed').map(Number);
    expect(column(table, 'vacuous')).toEqual(changed.map((elements) => elements === 0));
    // Rows of the residual stream before the first token that differs are equal; of the others all 64 numbers may change.
    expect(changed.slice(0, 3)).toEqual([0, 0, 64]);
    expect(new Set(column(table, 'src_pos').slice(-144))).toEqual(new Set(clean.map((_, i) => i)));
  });

  test('with another metric measures that, with the same distances', async () => {
    const { path, summary } = await run('by-distance', { metric: 'logitDistance' });
    const [one, two] = [await rows(made.path), await rows(path)];
    expect(column(two, 'distance_patched')).toEqual(column(one, 'distance_patched'));
    expect(column(two, 'metric_patched')).toEqual(column(two, 'distance_patched'));
    expect(summary.found).toMatchObject({ metric: 'logit-distance', clean: 0 });
    const gap = column(two, 'metric_recovery').map((value, i) =>
      Math.abs(Number(value) - Number(column(two, 'recovery')[i])),
    );
    expect(Math.max(...gap)).toBeLessThan(1e-12);
  });

  test('interrupted keeps what is finished, and goes on to the bytes of one run', async () => {
    for (const [name, after] of [
      ['early', 30],
      ['late', 1700],
    ] as const) {
      const controller = new AbortController();
      const onProgress: CleanCorruptedRunOptions['onProgress'] = ({ stage, done }) => {
        if (stage === 'cells' && done > after) controller.abort();
      };
      const stopped = run(name, {}, { signal: controller.signal, onProgress });
      await expect(stopped).rejects.toThrow(InterruptedError);
      await expect(stopped).rejects.toThrow(
        /^interrupted after \d+ of 1908 cells; they are in .*, and --resume --out /,
      );
      const path = join(folder, name);
      expect(existsSync(join(path, 'journal.jsonl'))).toBe(true);
      const kept = column(await rows(path), 'metric_patched');
      expect(kept.length).toBeGreaterThan(after);
      expect(kept.length).toBeLessThan(1908);
      expect(json(path, 'manifest.json').provenance.finishedCells).toBe(kept.length);
      expect(json(path, 'controls.json').gates.at(-1)).toMatchObject({ name: 'sweep', status: 'not-applicable' });
      const seen: number[] = [];
      await run(
        name,
        {},
        { onProgress: ({ from }) => seen.push(from), files: () => [['figures/two.svg', '<svg/>\n']] },
      );
      expect(seen.at(-1)).toBe(kept.length);
      expect(readdirSync(path).sort()).toEqual(readdirSync(made.path).sort());
      for (const file of readdirSync(path)) {
        if (file === 'manifest.json' || file === 'figures') continue;
        expect(readFileSync(join(path, file)).equals(readFileSync(join(made.path, file))), file).toBe(true);
      }
      expect(json(path, 'manifest.json').identity).toEqual(json(made.path, 'manifest.json').identity);
    }
  });
});

test.each<[string, object, typeof InputError, RegExp]>([
  [
    'prompts of unlike lengths',
    { corrupted: [1, 2] },
    InputError,
    /^two: corrupted: found 2 tokens, expected 12, as "clean" has$/,
  ],
  ['an id beyond the vocabulary', { clean: [1, 96] }, InputError, /^two: clean: found token id 96, expected 0 … 95$/],
  ['a text without a tokenizer', { clean: 'a' }, InputError, /^two: clean: the model has no tokenizer\.json/],
  [
    'a token without a tokenizer',
    { metric: { logitDiff: ['a', 1] } },
    InputError,
    /^two: metric\.logitDiff\[0\]: found "a"/,
  ],
  [
    'a token beyond the vocabulary',
    { metric: { logitDiff: [1, 96] } },
    InputError,
    /logitDiff\[1\]: found token id 96/,
  ],
  [
    'one token twice',
    { metric: { logitDiff: [7, 7] } },
    InputError,
    /logitDiff: found token 7 twice, expected two tokens$/,
  ],
])('%s is refused by name', async (_, fields, kind, says) => {
  const checkpoint = await openCheckpoint(dir);
  const resolve = () => resolveCleanCorrupted(specOf(fields), checkpoint, ort);
  expect(resolve).toThrow(kind);
  expect(resolve).toThrow(says);
});

test('a pattern that the kernel never reads whole cannot be patched', async () => {
  const checkpoint = await openCheckpoint(dir);
  const { decode } = resolveKernels('split-kv:16');
  const resolve = () => resolveCleanCorrupted(specOf(), checkpoint, { ...ort, prefill: decode });
  expect(resolve).toThrow(UsageError);
  expect(resolve).toThrow(/^two: grids: blocks\.0\.attn\.hook_pattern: a split-KV kernel/);
  expect(resolveCleanCorrupted(specOf(), checkpoint, { ...ort, decode }).grids).toHaveLength(5);
});

test('texts become token ids as prompts do, and tokens of a metric are looked up by what they stand for', async () => {
  const checkpoint = await openCheckpoint(embeddedModels()[0].dir);
  const texts = { clean: 'Tom has 3', corrupted: 'Sam has 4', grids: ['resid_pre'] };
  const resolved = resolveCleanCorrupted(specOf({ ...texts, metric: { logitDiff: ['T', 'S'] } }), checkpoint, ort);
  expect(resolved.clean.tokens).toEqual(checkpoint.tokenizer?.encode('Tom has 3'));
  const { answer, wrong } = resolved.pair!;
  expect([answer, wrong].map((id) => new TextDecoder().decode(checkpoint.tokenizer?.bytes(id) ?? undefined))).toEqual([
    'T',
    'S',
  ]);
  const long = () =>
    resolveCleanCorrupted(specOf({ ...texts, metric: { logitDiff: ['Tomcat', 'S'] } }), checkpoint, ort);
  expect(long).toThrow(
    /^two: metric\.logitDiff\[0\]: found "Tomcat", expected a text that is one token: it is "T" \(\d+\), /,
  );
});

test('grids with the same cells are one, in the order they are named', () => {
  expect(targetsOf(['mlp_out', 'block_every']).map(({ kind }) => kind)).toEqual(['mlp_out', 'resid_pre', 'attn_out']);
  expect(targetsOf(['attn_head_pattern_by_pos', 'attn_head_by_pos_every'])).toHaveLength(5);
});

test('a sweep that fell back passes and says why; one that was interrupted has no record', () => {
  const method: SweepMethod = {
    ...{ mode: 'loop', reason: 'batched cells are not full passes: 3 of 96 elements differ', cells: 60, vacuous: 12 },
    ...{ resumed: 0, looped: 48, given: 0, compared: 7, equality: '0 elements differ' },
  };
  const policy = resolvePolicy('fp16');
  expect(sweepRecord(method, policy)).toMatchObject({
    ...{ passed: true, status: 'passed' },
    measured: 'every cell is a full pass: batched cells are not full passes: 3 of 96 elements differ',
    scope: '7 comparisons with full passes; 48 of 60 cells change something',
  });
  expect(sweepRecord(null, policy)).toMatchObject({ passed: true, status: 'not-applicable' });
  expect(sweepRecord({ ...method, vacuous: 60 }, policy)).toMatchObject({ status: 'not-applicable' });
});
