/** A whole attribution: what its files add up to, going on after an interruption, and gates that must fail. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openCheckpoint } from '../../../../src/checkpoint/open.ts';
import { InterruptedError } from '../../../../src/errors.ts';
import { operationClasses, parseKernels, resolveKernels } from '../../../../src/graph/kernels.ts';
import { resolvePolicy } from '../../../../src/graph/rounding.ts';
import { Executor } from '../../../../src/model/executor.ts';
import { type AttributeOptions, attribute } from '../../../../src/patching/attribution/run/attribute.ts';
import { attributionCheckResults } from '../../../../src/patching/attribution/run/checks.ts';
import { attributePrompt } from '../../../../src/patching/attribution/run/prompt.ts';
import { type Measurement, measurements } from '../../../../src/patching/specification/attribution-spec.ts';
import { attributionSpec, parsePatchSpec } from '../../../../src/patching/specification/spec.ts';
import { renderAttribution } from '../../../../src/report/terminal/index.ts';
import { displayWidth } from '../../../../src/report/terminal/layout.ts';
import { openArrow } from '../../../../src/store/reader.ts';
import { RunDirectory } from '../../../../src/store/run-directory.ts';
import { column, prompts } from '../../../divergence/run.ts';
import { removeCheckpoint, writeTinyCheckpoint } from '../../../tiny-checkpoint.ts';

const model = writeTinyCheckpoint({ modelType: 'mistral', attention: 'gqa', seed: 4 });
const folder = mkdtempSync(join(tmpdir(), 'kvlens-attribute-'));
process.env.KVLENS_CACHE = join(folder, 'cache');
afterAll(() => {
  removeCheckpoint(model);
  rmSync(folder, { recursive: true, force: true });
  delete process.env.KVLENS_CACHE;
});
const given = prompts([1, 17, 5, 88, 42, 42, 7], [1, 9, 33], [1, 60, 61, 62]);
const splitK = resolveKernels('split-k:4:storage');

const classNames: readonly unknown[] = operationClasses;
const specOf = (of: readonly Measurement[], fields = {}) =>
  attributionSpec(parsePatchSpec({ experiment: 'attribution', name: 'test', of, maxSteps: 4, ...fields }, 'test'));

async function run(name: string, changes: Partial<AttributeOptions> = {}) {
  const path = join(folder, name);
  const summary = await attribute({
    checkpoint: await openCheckpoint(model),
    ...{ policy: resolvePolicy('fp16'), kernels: splitK, strategy: { kind: 'greedy' }, prompts: given },
    ...{ maxNewTokens: 12, decodeRows: 1, threads: 1, workers: 1, ignoreEos: true, template: '{question}\n' },
    spec: specOf(['classes']),
    ...changes,
    run: RunDirectory.create({ out: path, command: 'patch', model: 'tiny', resume: true }),
  });
  return { path, summary };
}

async function read(path: string, name: string) {
  const file = await openArrow(join(path, `${name}.arrow`));
  const table = await file.table();
  await file.close();
  return (of: string) => column(table, of);
}

const total = (values: readonly unknown[]) => values.reduce<number>((sum, value) => sum + Number(value), 0);
const gatesOf = (path: string): { name: string; passed: boolean; status: string }[] =>
  JSON.parse(readFileSync(join(path, 'controls.json'), 'utf8')).gates;

describe('everything there is to measure', () => {
  let made: Awaited<ReturnType<typeof run>>;
  beforeAll(async () => {
    made = await run('all', { spec: specOf(measurements, { seeds: 3, draws: 2 }) });
  });

  test('one table for each, and the checks among the gates, passed', () => {
    expect(readdirSync(made.path).sort()).toEqual(
      [
        ...['classes', 'conditions', 'gains', 'nulls', 'places', 'predictions', 'prompts', 'subsets', 'vocab'].map(
          (name) => `${name}.arrow`,
        ),
        ...['controls.json', 'manifest.json'],
      ].sort(),
    );
    const gates = gatesOf(made.path);
    for (const name of ['no-class', 'all-places', 'layer-replay'])
      expect(gates.find((gate) => gate.name === name)).toMatchObject({ passed: true, status: 'passed' });
    expect(made.summary.valid).toBe(true);
    expect(made.summary).toMatchObject({ prompts: 3, steps: 12, emulated: true });
  });

  test('Shapley values of a prompt and history sum to v(all) − v(∅), and those are the subsets’ ends', async () => {
    const [get, subset] = [await read(made.path, 'classes'), await read(made.path, 'subsets')];
    const keys = get('prompt').map((prompt, i) => `${prompt} ${get('history')[i]}`);
    const v = new Map<string, number>();
    subset('drift').forEach((drift, i) => {
      v.set(`${subset('prompt')[i]} ${subset('history')[i]} ${subset('subset')[i]}`, Number(drift));
    });
    expect(v.size).toBe(3 * 2 * 64);
    expect(keys).toHaveLength(3 * 2 * operationClasses.length);
    for (const key of new Set(keys)) {
      const rows = keys.flatMap((one, i) => (one === key ? [i] : []));
      const [all, none] = [Number(get('drift_all')[rows[0]]), Number(get('drift_none')[rows[0]])];
      expect(none).toBe(0);
      expect(all).toBeGreaterThan(0);
      expect(all).toBe(v.get(`${key} 63`));
      expect(total(rows.map((i) => get('shapley')[i]))).toBeCloseTo(all, 10);
      for (const i of rows) {
        const bit = 1 << classNames.indexOf(get('class')[i]);
        expect(get('one_in')[i]).toBe(v.get(`${key} ${bit}`));
        expect(get('leave_one_out')[i]).toBe(all - v.get(`${key} ${63 - bit}`)!);
      }
    }
  });

  test('the cached history’s v(all) is the drift of the cached arm, as every table has it', async () => {
    const [classes, nulls, predictions, places] = [
      await read(made.path, 'classes'),
      await read(made.path, 'nulls'),
      await read(made.path, 'predictions'),
      await read(made.path, 'places'),
    ];
    for (const { id } of given) {
      const of = (get: (name: string) => unknown[], name: string, keep: (i: number) => boolean = () => true) =>
        get(name).filter((_, i) => get('prompt')[i] === id && keep(i));
      const observed = total(of(predictions, 'observed'));
      expect(observed).toBeGreaterThan(0);
      const whole = of(classes, 'drift_all', (i) => classes('history')[i] === 'cached')[0];
      expect(Number(whole)).toBeCloseTo(observed, 12);
      expect(Number(of(places, 'drift_all')[0])).toBeCloseTo(observed, 12);
      for (const null_ of ['placebo', 'random-ulp']) {
        const rows = of(nulls, 'observed', (i) => nulls('null')[i] === null_ && nulls('seed')[i] === 2);
        expect(rows).toHaveLength(4);
        expect(total(rows)).toBeCloseTo(observed, 12);
      }
    }
  });

  test('the summary is the tables’ sums over steps', async () => {
    const { summary, path } = made;
    const get = await read(path, 'classes');
    for (const { history, all, parts } of summary.classes) {
      const sum = (name: string, operation: string) =>
        total(get(name).filter((_, i) => get('history')[i] === history && get('class')[i] === operation)) / 12;
      for (const { operation, shapley, oneIn, leaveOneOut, share } of parts) {
        expect(shapley).toBeCloseTo(sum('shapley', operation), 12);
        expect(oneIn).toBeCloseTo(sum('one_in', operation), 12);
        expect(leaveOneOut).toBeCloseTo(sum('leave_one_out', operation), 12);
        expect(share).toBeCloseTo(shapley / all, 10);
      }
    }
    const nulls = await read(path, 'nulls');
    for (const found of summary.nulls) {
      const mine = nulls('distance').filter((_, i) => nulls('null')[i] === found.null);
      expect(found.mean).toBeCloseTo(total(mine) / (3 * 12), 12);
      const means = [1, 2, 3].map(
        (seed) =>
          total(nulls('distance').filter((_, i) => nulls('null')[i] === found.null && nulls('seed')[i] === seed)) / 12,
      );
      expect(found.ceiling).toBeCloseTo(Math.max(...means), 12);
      expect(found.below).toBe(means.filter((mean) => mean < summary.observed).length);
    }
  });

  test('the text fits 80 columns, names the emulation, and its last sentence claims nothing about the cache', () => {
    const text = renderAttribution(made.summary, { columns: 80, color: false, unicode: true, run: 'RUN' });
    for (const line of text.split('\n')) expect(displayWidth(line), line).toBeLessThanOrEqual(80);
    expect(text).toMatch(/split-k:4:storage imitates a GPU's kernel/);
    expect(text).toMatch(/ {2}placebo .* 3 seeds\n/);
    expect(text).toMatch(/✓ no-class {2}✓ all-places {2}✓ layer-replay/);
    expect(text).toMatch(/≈ MEASURED {2}.*of the drift, cached\s+history/);
    expect(text).not.toMatch(/carr(y|ies)/);
    const plain = renderAttribution(made.summary, { columns: 80, color: false, unicode: false, run: 'RUN' });
    expect(plain).toMatch(/^[\n -~]*$/);
  });
});

test('interrupted after a prompt and gone on with, a run has the bytes of one that was not', async () => {
  const spec = specOf(['classes', 'amplification', 'random-ulp'], { seeds: 2, draws: 1, history: ['cached'] });
  const whole = await run('whole', { spec });
  const interruption = new AbortController();
  const onProgress: AttributeOptions['onProgress'] = ({ stage, done }) => {
    if (stage === 'prompts' && done === 1) interruption.abort();
  };
  await expect(run('resumed', { spec, signal: interruption.signal, onProgress })).rejects.toThrow(InterruptedError);
  await run('resumed', { spec });
  const resumed = join(folder, 'resumed');
  expect(readdirSync(resumed).sort()).toEqual(readdirSync(whole.path).sort());
  for (const file of readdirSync(resumed)) {
    if (file === 'manifest.json') continue;
    expect(readFileSync(join(resumed, file)).equals(readFileSync(join(whole.path, file))), file).toBe(true);
  }
});

test('a prefill kernel whose sums depend on the number of keys fails gate no-class: no number, no sentence', async () => {
  const keys = parseKernels({ name: 'keys', prefill: { classes: { values: { slices: 3 } } }, decode: {} }, 'test');
  const { path, summary } = await run('not-valid', { kernels: keys, policy: resolvePolicy('fp32') });
  expect(summary.valid).toBe(false);
  expect(gatesOf(path).find(({ name }) => name === 'no-class')).toMatchObject({ passed: false, status: 'failed' });
  const text = renderAttribution(summary, { columns: 80, color: false, unicode: true, run: 'RUN' });
  expect(text).toMatch(/! NOT VALID {2}gate "no class" failed: [\d,]+ of [\d,]+ elements\s+differ/);
  expect(text).not.toMatch(/Shapley/);
});

/** Nudges blocks that are run in isolation under the decode kernel, once so many of them were run. */
class DriftingBlocks extends Executor {
  private calls = 0;
  override async block(...request: Parameters<Executor['block']>): ReturnType<Executor['block']> {
    const found = await super.block(...request);
    const [, , , , kernel] = request;
    if (kernel === 'decode' && ++this.calls % 5 === 0) found.residual[0] += 1;
    return found;
  }
}

test('an executor that does not repeat itself fails gate layer-replay', async () => {
  const checkpoint = await openCheckpoint(model);
  const policy = resolvePolicy('fp16');
  const measure = async (Kind: typeof Executor) => {
    const executor = new Kind({ checkpoint, policy, kernels: resolveKernels('ort'), threads: 1 });
    const options = {
      strategy: { kind: 'greedy' },
      maxNewTokens: 5,
      ignoreEos: true,
      uncachedPlan: 'stand-in',
    } as const;
    const found = await attributePrompt({ ...options, executor, spec: specOf(['amplification']) }, given[0]);
    await executor.release();
    return attributionCheckResults(found.checks, ['amplification'], policy);
  };
  expect(await measure(Executor)).toMatchObject([{ name: 'layer-replay', status: 'passed' }]);
  expect(await measure(DriftingBlocks)).toMatchObject([{ name: 'layer-replay', status: 'failed' }]);
});

describe('what cannot be attributed is refused in one line', () => {
  test.each<[string, Partial<AttributeOptions>, RegExp]>([
    [
      'several rows per step',
      { decodeRows: 2 },
      /^--decode-rows: found 2, expected 1: spec test is about steps of one row$/,
    ],
    ['float64', { policy: resolvePolicy('fp64') }, /^--precision fp64: computes in float64/],
    [
      'places of a policy that rounds nowhere',
      { policy: resolvePolicy('fp32'), spec: specOf(['places']) },
      /^--precision fp32: rounds nowhere below float32/,
    ],
    [
      'kernels of another layout',
      { kernels: parseKernels({ name: 'x', prefill: {}, decode: { attention: 'folded' } }, 'x') },
      /^--kernels x: prefill and decode differ in attention or prepack/,
    ],
    ['prompts without a decode step', { maxNewTokens: 1 }, /^test: no prompt has a decode step/],
  ])('%s', async (name, changes, says) => {
    await expect(run(`refused ${name}`, changes)).rejects.toThrow(says);
  });
});
