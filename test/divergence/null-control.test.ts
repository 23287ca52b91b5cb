/** The null control: decoding with two rows computes what recomputation computes, bit for bit; with one row it does not. */
import { readFileSync } from 'node:fs';
import { afterAll, describe, expect, test } from 'vitest';
import { embeddedModels } from '../../src/checkpoint/embedded.ts';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { modelHooks } from '../../src/graph/hooks.ts';
import { sharedPath } from '../shared.ts';
import { column, prompts, run, sum, type TestRun } from './run.ts';

const runs: TestRun[] = [];
afterAll(() => {
  for (const { remove } of runs) remove();
});

interface Subject {
  name: string;
  dir: string;
  layers: number;
  /** Token ids of ten prompts. */
  prompts: number[][];
}

async function subject(name: string, dir: string, file: string): Promise<Subject> {
  const { tokenizer, config } = await openCheckpoint(dir);
  const lines = readFileSync(file, 'utf8').trim().split('\n').slice(0, 10);
  const texts = lines.map((line) => {
    const { question, prompt } = JSON.parse(line) as { question?: string; prompt?: string };
    return prompt ?? `${question}\n`;
  });
  return { name, dir, layers: config.layers, prompts: texts.map((text) => tokenizer!.encode(text)) };
}

const stories = sharedPath('data', 'models', 'stories260K');
const openings = sharedPath('data', 'prompts', 'stories-40.jsonl');
const [mini] = embeddedModels().filter(({ name }) => name === 'mini-llama');
const subjects = [
  await subject('mini-llama', mini.dir, mini.prompts),
  ...(stories && openings ? [await subject('stories260K', stories, openings)] : []),
];

async function differences(of: Subject, options: Parameters<typeof run>[1]) {
  const found = await run(of.dir, options);
  runs.push(found);
  expect(found.summary.gates.filter(({ passed }) => !passed)).toEqual([]);
  const layers = await found.table('layers');
  return { ...found, layers, differing: sum(layers, 'n_differ') };
}

describe.each(subjects)('$name', (of) => {
  test.each(['fp32', 'fp16', 'bf16'])('%s, two rows: not one element of any hook differs', async (precision) => {
    const { layers, differing, summary } = await differences(of, {
      precision,
      decodeRows: 2,
      prompts: prompts(...of.prompts.slice(0, 2)),
      maxNewTokens: 40,
    });
    const compared = new Set(column(layers, 'hook').map(String));
    const hooks = modelHooks({ layers: of.layers, modelType: 'llama' }).filter(({ definition }) => !definition.optIn);
    expect(compared).toEqual(new Set(hooks.map(({ name }) => name)));
    expect(sum(layers, 'n_elements')).toBeGreaterThan(100_000);
    expect(differing).toBe(0);
    expect(summary).toMatchObject({ verdict: 'equal', differingSteps: 0, firstDivergence: null, kl: 0 });
  });

  test('fp32, one row: every run differs, and the first operation is named', async () => {
    const { differing, summary } = await differences(of, {
      precision: 'fp32',
      prompts: prompts(...of.prompts.slice(0, 2)),
      maxNewTokens: 20,
    });
    expect(differing).toBeGreaterThan(0);
    expect(summary.firstDivergence?.step).toBe(1);
    expect(summary.firstDivergence?.operation).not.toBe('');
  });

  test('fp16, one row: 1,000 steps are enough to differ', async () => {
    const { differing, summary } = await differences(of, {
      prompts: prompts(...of.prompts),
      maxNewTokens: 101,
      hooks: 'logits',
    });
    expect(summary.steps).toBe(1000);
    expect(differing).toBeGreaterThan(0);
    expect(summary.differingSteps).toBeGreaterThan(0);
    expect(summary.firstDivergence?.hook).toMatch(/^blocks\./);
  });

  test('bf16, one row: whatever differs is reported without a failed gate', async () => {
    const { summary } = await differences(of, {
      precision: 'bf16',
      prompts: prompts(...of.prompts.slice(0, 3)),
      maxNewTokens: 60,
    });
    console.log(`${of.name} bf16: ${summary.differingSteps} of ${summary.steps} steps differ`);
    expect(summary.verdict === 'equal').toBe(summary.differingSteps === 0);
  });
});

test.skipIf(stories === null)('folding query heads into rows hides the effect on a GQA model', async () => {
  const gqa = subjects.find(({ name }) => name === 'stories260K')!;
  const options = { precision: 'fp32', prompts: prompts(...gqa.prompts.slice(0, 2)), maxNewTokens: 40 };
  expect((await differences(gqa, { ...options, kernels: 'folded' })).differing).toBe(0);
  expect((await differences(gqa, options)).differing).toBeGreaterThan(0);
});
