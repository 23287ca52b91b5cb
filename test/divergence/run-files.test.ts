/** What a run leaves behind: columns, keys, positions, joins, and the same bytes from the same run. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Table } from 'apache-arrow';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parsePolicy } from '../../src/graph/rounding.ts';
import { openArrow } from '../../src/store/reader.ts';
import { type Column, manifestKey, type TableName, tables } from '../../src/store/schemas.ts';
import { commandPath, kvlens } from '../cli/kvlens.ts';
import { removeCheckpoint, writeTinyCheckpoint } from '../tiny-checkpoint.ts';
import { prompts, run, type TestRun } from './run.ts';

const dir = writeTinyCheckpoint({ attention: 'gqa' });
const lists = [
  [1, 17, 5, 88, 42, 42, 7],
  [1, 9, 63, 30],
];
const newTokens = 10;
/** Differs at every step: scores are kept in fp32. */
const options = {
  precision: 'fp16-sdpa',
  ...{ prompts: prompts(...lists), maxNewTokens: newTokens, saveActivations: true },
};
let first: TestRun;
let again: TestRun;
beforeAll(async () => {
  first = await run(dir, options);
  again = await run(dir, options);
});
afterAll(() => {
  for (const made of [first, again]) made?.remove();
  removeCheckpoint(dir);
});

type AnyRow = Record<string, unknown>;

function rowsOf(table: Table): AnyRow[] {
  const columns = table.schema.fields.map(({ name }) => [name, Array.from(table.getChild(name)!)] as const);
  return Array.from({ length: table.numRows }, (_, i) =>
    Object.fromEntries(columns.map(([name, all]) => [name, all[i]])),
  );
}

const rows = async (of: TestRun, name: TableName) => rowsOf(await of.table(name));
const json = (path: string) => JSON.parse(readFileSync(path, 'utf8'));

/** Every file under a folder, relative to it. */
function filesUnder(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .sort();
}

/** The files of two runs hold the same bytes; of their manifests, the identity. */
function expectSameRun(a: string, b: string): void {
  expect(filesUnder(a)).toEqual(filesUnder(b));
  for (const file of filesUnder(a)) {
    const [left, right] = [a, b].map((folder) => readFileSync(join(folder, file)));
    if (file !== 'manifest.json') expect(left.equals(right), file).toBe(true);
  }
  const [left, right] = [a, b].map((folder) => json(join(folder, 'manifest.json')));
  expect(left.identity).toEqual(right.identity);
  expect(left.provenance.rows).toEqual(right.provenance.rows);
}

describe('tables', () => {
  /** Those of `kvlens patch` have tests of their own. */
  const own = ['conditions', 'prompts', 'vocab', 'steps', 'candidates', 'layers'] as const satisfies TableName[];
  test.each(own)('%s has the columns of its schema, null only where it may be', async (name) => {
    const table = await first.table(name);
    const columns: Record<string, Column> = tables[name];
    expect(table.schema.fields.map((field) => [field.name, field.nullable])).toEqual(
      Object.entries(columns).map(([column, { nullable }]) => [column, nullable]),
    );
    for (const [column, { nullable }] of Object.entries(columns))
      if (!nullable) expect(table.getChild(column)!.nullCount, column).toBe(0);
  });

  test.each<[TableName, string[]]>([
    ['steps', ['condition', 'prompt', 'protocol', 'step']],
    ['candidates', ['condition', 'prompt', 'step', 'arm']],
    ['layers', ['condition', 'prompt', 'step', 'hook', 'head']],
    ['prompts', ['prompt']],
    ['conditions', ['condition']],
    ['vocab', ['id']],
  ])('%s has one row per %s', async (name, key) => {
    const found = await rows(first, name);
    expect(new Set(found.map((row) => JSON.stringify(key.map((column) => row[column])))).size).toBe(found.length);
  });

  test('both protocols have every step of every prompt; layers have every hook of each', async () => {
    const steps = await rows(first, 'steps');
    const layers = await rows(first, 'layers');
    expect(steps).toHaveLength(2 * 2 * newTokens);
    const hooks = new Set(layers.map(({ hook }) => hook));
    expect(hooks.size).toBe(1 + 2 * 22 + 4);
    expect(layers).toHaveLength(2 * newTokens * hooks.size);
  });

  test('a position is the number of tokens before it: prompt length + step − 1, in steps and layers alike', async () => {
    const lengths = new Map(lists.map((tokens, index) => [`p${index}`, tokens.length]));
    for (const name of ['steps', 'layers'] as const) {
      for (const { prompt, step, position } of await rows(first, name))
        expect(position).toBe(lengths.get(String(prompt))! + Number(step) - 1);
    }
  });

  test('every key joins: condition, prompt, token', async () => {
    const [conditions, prompts, vocabulary, steps, layers] = await Promise.all(
      (['conditions', 'prompts', 'vocab', 'steps', 'layers'] as const).map((name) => rows(first, name)),
    );
    expect(prompts.map(({ tokens }) => Array.from(tokens as Iterable<number>))).toEqual(lists);
    expect(vocabulary.map(({ id }) => id)).toEqual(vocabulary.map((_, id) => id));
    expect(vocabulary).toHaveLength(96);
    for (const row of [...steps, ...layers]) {
      expect(row.condition).toBe(conditions[0].condition);
      expect(prompts.map(({ prompt }) => prompt)).toContain(row.prompt);
    }
    for (const row of steps)
      for (const token of [row.token_cached, row.token_uncached]) expect(Number(token)).toBeLessThan(vocabulary.length);
  });

  test("the logits' row of layers says what steps says", async () => {
    const layers = await rows(first, 'layers');
    for (const row of await rows(first, 'steps')) {
      if (row.protocol !== 'teacher-forced') continue;
      const logits = layers.find(
        ({ prompt, step, hook }) => prompt === row.prompt && step === row.step && hook === 'logits',
      )!;
      expect(logits).toMatchObject({
        n_differ: row.logits_n_differ,
        max_abs: row.logits_max_abs,
        rel_l2: row.logits_rel_l2,
        head: null,
      });
    }
  });

  test('candidates are both arms of every free-running step, of the saved logits, and name the choice of steps', async () => {
    const candidates = await rows(first, 'candidates');
    expect(candidates).toHaveLength(2 * 2 * newTokens);
    const opened = await openArrow(join(first.path, 'activations', 'logits.arrow'));
    const saved = rowsOf(await opened.table());
    await opened.close();
    const free = (await rows(first, 'steps')).filter(({ protocol }) => protocol === 'free-running');
    for (const { prompt, step, arm, token, tokens, probabilities } of candidates) {
      const same = (row: AnyRow) => row.prompt === prompt && row.step === step;
      expect(token).toBe(free.find(same)![arm === 'cached' ? 'token_cached' : 'token_uncached']);
      const logits = Array.from(saved.find((row) => same(row) && row.arm === arm)!.value as Iterable<number>);
      const ids = logits.map((_, id) => id).sort((a, b) => logits[b] - logits[a]);
      expect(Array.from(tokens as Iterable<number>)).toEqual(ids.slice(0, 5));
      const total = logits.reduce((sum, logit) => sum + Math.exp(logit), 0);
      expect(Array.from(probabilities as Iterable<number>)[4]).toBeCloseTo(Math.exp(logits[ids[4]]) / total, 12);
    }
  });

  test('the summary counts what the tables hold, and the controls are its gates', async () => {
    const layers = await rows(first, 'layers');
    const steps = await rows(first, 'steps');
    const { summary } = first;
    const differing = new Set(
      layers
        .filter((row) => Number(row.n_differ) > 0 && Number(row.step) > 0)
        .map(({ prompt, step }) => `${prompt} ${step}`),
    );
    expect(summary).toMatchObject({ prompts: 2, steps: 2 * (newTokens - 1), differingSteps: differing.size });
    expect(differing.size).toBeGreaterThan(0);
    const counted = steps.filter((row) => row.protocol === 'teacher-forced' && Number(row.step) > 0);
    expect(summary.kl).toBeCloseTo(counted.reduce((total, row) => total + Number(row.kl), 0) / counted.length, 15);
    expect(json(join(first.path, 'controls.json')).gates).toEqual(summary.gates);
  });

  test('the manifest says how many prompts are finished and rows written; every file carries its identity', async () => {
    const { identity, provenance } = json(join(first.path, 'manifest.json'));
    expect(provenance.finishedPrompts).toBe(2);
    const arrow = filesUnder(first.path).filter((file) => file.endsWith('.arrow'));
    expect(Object.keys(provenance.rows).sort()).toEqual(arrow);
    for (const file of arrow) {
      const opened = await openArrow(join(first.path, file));
      expect((await opened.table()).numRows, file).toBe(provenance.rows[file]);
      expect(JSON.parse(opened.schema.metadata.get(manifestKey)!)).toEqual(identity);
      await opened.close();
    }
  });
});

/** n_differ, max_abs and rel_l2 of every saved pair of rows, from the stored values. */
async function fromActivations(folder: string): Promise<Map<string, number[]>> {
  const found = new Map<string, number[]>();
  for (const file of readdirSync(join(folder, 'activations'))) {
    const opened = await openArrow(join(folder, 'activations', file));
    const saved = rowsOf(await opened.table());
    await opened.close();
    const values = (row: AnyRow) => Array.from(row.value as Iterable<number>);
    const pairs = new Map<string, Record<string, number[]>>();
    for (const row of saved) {
      const key = [row.prompt, row.step, row.hook].join(' ');
      pairs.set(key, { ...pairs.get(key), [String(row.arm)]: values(row) });
    }
    for (const [key, { cached, uncached }] of pairs) {
      const differences = cached.map((value, i) => Math.abs(value - uncached[i]));
      const finite = differences.filter((value) => !Number.isNaN(value)); // −∞ on both sides, in masked scores
      const square = (all: number[]) => all.filter(Number.isFinite).reduce((total, value) => total + value * value, 0);
      const relative = Math.sqrt(square(finite) / square(uncached));
      found.set(key, [
        finite.filter((value) => value > 0).length,
        Math.max(0, ...finite),
        square(finite) === 0 ? 0 : relative,
      ]);
    }
  }
  return found;
}

/** What layers.arrow says beside what the saved rows give. */
async function compareWithActivations(of: TestRun) {
  const saved = await fromActivations(of.path);
  const hooks = new Set([...saved.keys()].map((key) => key.split(' ').at(-1)));
  // layers.arrow also has the rows of the cache, and the row of the first divergence whatever was asked for.
  const layers = (await rows(of, 'layers')).filter(({ hook }) => hooks.has(String(hook)));
  expect(saved.size).toBe(layers.length);
  return layers.flatMap(({ prompt, step, hook, n_differ, max_abs, rel_l2 }) => {
    const [differing, largest, relative] = saved.get([prompt, step, hook].join(' '))!;
    const same =
      differing === n_differ && largest === max_abs && Math.abs(relative - Number(rel_l2)) <= 1e-12 * relative;
    return same ? [] : [`${prompt}, step ${step}, ${hook}: ${n_differ} differ, saved ${differing}`];
  });
}

describe('saved activations', () => {
  test('give the differences that layers.arrow says', async () => {
    expect(await compareWithActivations(first)).toEqual([]);
  });

  test('of a forced continuation carry the forced tokens', async () => {
    const [prompt] = prompts([9, 4]);
    const forced = await run(dir, {
      prompts: [{ ...prompt, continuation: [70, 33, 12, 5] }],
      ...{ saveActivations: true, hooks: '*.hook_resid_post' },
    });
    const opened = await openArrow(join(forced.path, 'activations', 'resid_post.arrow'));
    const saved = rowsOf(await opened.table());
    await opened.close();
    forced.remove();
    const tokens = new Map(saved.map(({ position, token }) => [position, token]));
    expect([...tokens]).toEqual([
      [1, 4],
      [2, 70],
      [3, 33],
      [4, 12],
    ]);
  });

  test('carry the token and the position of their row', async () => {
    const opened = await openArrow(join(first.path, 'activations', 'resid_post.arrow'));
    const saved = rowsOf(await opened.table());
    await opened.close();
    const steps = await rows(first, 'steps');
    const texts = lists.map((tokens, index) => [
      ...tokens,
      ...steps.flatMap((row) =>
        row.protocol === 'teacher-forced' && row.prompt === `p${index}` ? [Number(row.token_uncached)] : [],
      ),
    ]);
    expect(saved).toHaveLength(2 * 2 * 2 * newTokens);
    for (const { prompt, position, token } of saved)
      expect(token).toBe(texts[Number(String(prompt).slice(1))][Number(position)]);
  });

  test.each([
    ['f16', 'f32'],
    ['f32', 'f16'],
  ] as const)('keep every bit where block 0 reads %s and the others %s', async (embedding, rest) => {
    const mixed = await run(dir, {
      ...options,
      ...mixedTypes(embedding, rest),
      hooks: '*.hook_resid_pre',
      maxNewTokens: 4,
    });
    try {
      const layers = await rows(mixed, 'layers');
      const types = new Map(layers.filter(({ kind }) => kind === 'resid_pre').map(({ hook, dtype }) => [hook, dtype]));
      expect([...types.values()]).toEqual([embedding, rest]);
      expect(await compareWithActivations(mixed)).toEqual([]);
      expect(mixed.summary.differingSteps).toBeGreaterThan(0);
    } finally {
      mixed.remove();
    }
  });
});

/** The embedding is of one type, the residual stream of another, and scores are kept in fp32, so that something differs. */
function mixedTypes(embedding: 'f16' | 'f32', rest: 'f16' | 'f32') {
  const places = { embedding, scores: 'f32', probabilities: 'f32' };
  return { policy: parsePolicy({ name: 'mixed', compute: 'float32', default: rest, places }, 'test') };
}

describe('bytes', () => {
  test('two identical runs write identical files', () => {
    expect(filesUnder(first.path).filter((file) => file.endsWith('.arrow')).length).toBeGreaterThan(20);
    expectSameRun(first.path, again.path);
  });

  test.skipIf(!existsSync(commandPath))('the number of workers changes no byte (built command)', async () => {
    const file = join(dir, 'prompts.jsonl');
    writeFileSync(file, [...lists, [1, 2, 3]].map((tokens) => `${JSON.stringify({ tokens })}\n`).join(''));
    const paths = await Promise.all(
      [1, 2].map(async (workers) => {
        const out = join(dir, `workers-${workers}`);
        const { code, stderr } = await kvlens([
          ...['diverge', dir, '--prompts', file, '--max-new-tokens', '8', '--ignore-eos', '--hooks', 'all'],
          ...['--save-activations', '--workers', String(workers), '--out', out, '--json', '--quiet'],
        ]);
        expect([code, stderr]).toEqual([0, '']);
        return out;
      }),
    );
    expect(json(join(paths[1], 'manifest.json')).provenance.workers).toBe(2);
    expectSameRun(paths[0], paths[1]);
  });
});
