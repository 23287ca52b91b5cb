/** A model expanded to multi-head attention is the model: equal bits where nothing is cached, and no shared K/V heads. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { expandKeyValueHeads, openReference, referenceTo } from '../../src/checkpoint/expand-kv.ts';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import type { Checkpoint } from '../../src/checkpoint/types.ts';
import { audit, findAudit, runGates } from '../../src/divergence/gates/index.ts';
import { exportedHooks } from '../../src/graph/export.ts';
import { modelHooks } from '../../src/graph/hooks.ts';
import { resolveKernels } from '../../src/graph/kernels.ts';
import { decodeModel } from '../../src/graph/onnx/codec.ts';
import { resolvePolicy } from '../../src/graph/rounding.ts';
import { type Activation, type Activations, Executor } from '../../src/model/executor.ts';
import { forward } from '../../src/model/plans.ts';
import { openGraphFolder, writeGraphFolder } from '../../src/store/graph-folder.ts';
import { subject } from '../divergence/gates/subject.ts';
import { prompts, run } from '../divergence/run.ts';
import { relativeDistance } from '../reference/compare.ts';
import { sharedPath } from '../shared.ts';
import { removeCheckpoint, type TinyOptions, writeTinyCheckpoint } from '../tiny-checkpoint.ts';

const folder = mkdtempSync(join(tmpdir(), 'kvlens-expand-'));
const tinyModels: Record<string, TinyOptions> = {
  'llama, grouped-query': { attention: 'gqa' },
  'llama, multi-query, F16': { attention: 'mqa', dtype: 'F16', seed: 3 },
  'mistral, grouped-query, BF16': { modelType: 'mistral', attention: 'gqa', dtype: 'BF16', seed: 4 },
  'gemma2, grouped-query, heads of 160': { modelType: 'gemma2', attention: 'gqa', headDim: 160, tiedEmbeddings: true },
  'qwen2, multi-query: biases': { modelType: 'qwen2', attention: 'mqa', seed: 5 },
  'qwen3, grouped-query: head norms': { modelType: 'qwen3', attention: 'gqa', seed: 6 },
};
const tinyDirs = new Map(Object.entries(tinyModels).map(([name, options]) => [name, writeTinyCheckpoint(options)]));
const shared = ['stories260K', 'trial-mistral'].flatMap((name): [string, string][] => {
  const dir = sharedPath('data', 'models', name);
  return dir === null ? [] : [[name, dir]];
});
const models = [...tinyDirs, ...shared];
const grouped = tinyDirs.get('llama, grouped-query')!;
process.env.KVLENS_CACHE = join(folder, 'cache');
afterAll(() => {
  delete process.env.KVLENS_CACHE;
  rmSync(folder, { recursive: true, force: true });
  for (const dir of tinyDirs.values()) removeCheckpoint(dir);
});

const tokens = Array.from({ length: 20 }, (_, i) => (i * 37 + 5) % 96);

const executorOptions = (precision: string) => ({
  policy: resolvePolicy(precision),
  kernels: resolveKernels('ort'),
  threads: 1,
});

/** Every hook of one pass over all tokens. */
async function uncached(checkpoint: Checkpoint, precision: string): Promise<Activations> {
  const executor = new Executor({ ...executorOptions(precision), checkpoint });
  const hooks = new Set(modelHooks(checkpoint.config).map(({ name }) => name));
  const cache = executor.newCache(tokens.length);
  const { activations } = await forward(executor, { tokens, start: 0, cache, kernel: 'prefill', capture: { hooks } });
  await executor.release();
  return activations;
}

/** Rows of K/V heads with each head j replaced by head ⌊j·K/H⌋: written here anew, element by element. */
function repeated({ data, dims, dtype }: Activation, heads: number): Activation {
  const [batch, rows, stored, size] = dims;
  const copies = new Float32Array(batch * rows * heads * size);
  for (let row = 0; row < batch * rows; row++) {
    for (let head = 0; head < heads; head++) {
      const source = Math.floor((head * stored) / heads);
      for (let i = 0; i < size; i++) copies[(row * heads + head) * size + i] = data[(row * stored + source) * size + i];
    }
  }
  return { data: copies, dims: [batch, rows, heads, size], dtype };
}

const bytes = ({ data, dims, dtype }: Activation) =>
  `${dtype} ${dims} ${Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('base64')}`;

describe.each(models)('%s', (_, dir) => {
  test.each(['fp32', 'fp16', 'bf16'])(
    '%s, uncached: every hook is the original’s bit for bit, K/V heads being copies of the shared ones',
    async (precision) => {
      const original = await openCheckpoint(dir);
      const [expected, found] = await Promise.all([
        uncached(original, precision),
        uncached(expandKeyValueHeads(original), precision),
      ]);
      expect(new Set(found.keys())).toEqual(new Set(expected.keys()));
      let copied = 0;
      for (const { name, definition } of modelHooks(original.config)) {
        const shares = definition.axes.includes('kv_head');
        if (shares) copied += 1;
        const right = shares ? repeated(expected.get(name)!, original.config.heads) : expected.get(name)!;
        expect(bytes(found.get(name)!) === bytes(right), name).toBe(true);
      }
      expect(copied).toBeGreaterThanOrEqual(5 * original.config.layers);
    },
  );

  test('fp64: the logits are the original’s', async () => {
    const original = await openCheckpoint(dir);
    const expected = (await uncached(original, 'fp64')).get('logits')!;
    const found = (await uncached(expandKeyValueHeads(original), 'fp64')).get('logits')!;
    expect(relativeDistance(found, { ...expected, data: Float64Array.from(expected.data) })).toBeLessThan(1e-12);
  });

  test.each(['fp32', 'fp16', 'bf16', 'fp64'])('%s: nothing is repeated at run time', async (precision) => {
    const checkpoint = expandKeyValueHeads(await openCheckpoint(dir));
    const executor = new Executor({ ...executorOptions(precision), checkpoint });
    const graph = executor.graph({ block: 0 }, 'prefill', new Set());
    const path = join(folder, 'optimized.onnx');
    await (await executor.openGraph(graph, 'prefill', path)).release();
    const { node = [], initializer = [] } = decodeModel(readFileSync(path), path).graph!;
    const constants = new Set(initializer.map(({ name }) => name));
    const unfolded = node.filter(({ input = [] }) => input.every((name) => constants.has(name)));
    expect(unfolded.map(({ opType }) => opType)).toEqual([]);
    expect(graph.model.graph?.node?.filter(({ opType }) => opType === 'Gather').length).toBeGreaterThan(1);
  });

  test('all gates hold on the exported graph folder', async () => {
    const right = await subject(dir, 'fp16');
    const out = mkdtempSync(join(folder, 'graphs-'));
    const checkpoint = expandKeyValueHeads(right.checkpoint);
    await writeGraphFolder(out, { ...right, checkpoint, hooks: exportedHooks, singleFile: false });
    const opened = await openGraphFolder(out);
    expect(opened.checkpoint).toMatchObject({
      name: `${right.checkpoint.name} (expanded KV)`,
      config: { kvHeads: checkpoint.config.heads, storedKvHeads: right.checkpoint.config.kvHeads },
    });
    // An audit runs both arms in a fresh process, too, which has to open the expanded model.
    const gates = await runGates({ ...right, ...opened }, 'audit');
    expect(gates.filter(({ passed }) => !passed)).toEqual([]);
  });
});

test.each(['fp32', ...(shared.length > 0 ? ['fp16'] : [])])(
  '%s, folded kernels: the arms of grouped-query attention agree to the bit, those of the expanded model do not',
  async (precision) => {
    // Folding gives the decode step as many rows as heads share a K/V head; expanded, none do.
    const dir = precision === 'fp32' ? grouped : shared[0][1];
    const original = await openCheckpoint(dir);
    const given = prompts([1, 17, 5, 88, 42, 42, 7], [1, 3, 5, 7, 9]);
    for (const [checkpoint, differs] of [
      [original, false],
      [expandKeyValueHeads(original), true],
    ] as const) {
      const { summary, remove } = await run(dir, {
        ...{ checkpoint, precision, kernels: 'folded', prompts: given, maxNewTokens: 50, mode: 'teacher-forced' },
      });
      remove();
      expect(summary.gates.filter(({ passed }) => !passed)).toEqual([]);
      expect(summary.model).toBe(checkpoint.name);
      expect(summary.differingSteps > 0).toBe(differs);
    }
  },
);

test('an audit of the model is not one of the expanded model', async () => {
  const right = await subject(grouped, 'fp16');
  const expanded = { ...right, checkpoint: expandKeyValueHeads(right.checkpoint) };
  const { hash } = await audit(right);
  expect((await findAudit(right))?.hash).toBe(hash);
  expect(await findAudit(expanded)).toBeNull();
});

test('opened again elsewhere it is the same model', async () => {
  const stored = await openCheckpoint(grouped, { name: 'mine' });
  for (const checkpoint of [stored, expandKeyValueHeads(stored)]) {
    const { name, config } = await openReference(structuredClone(referenceTo(checkpoint)));
    expect({ name, config }).toEqual({ name: checkpoint.name, config: checkpoint.config });
  }
});

test('multi-head attention comes back as it is', async () => {
  const dir = writeTinyCheckpoint();
  const checkpoint = await openCheckpoint(dir);
  expect(expandKeyValueHeads(checkpoint)).toBe(checkpoint);
  const expanded = expandKeyValueHeads(await openCheckpoint(grouped));
  expect(expandKeyValueHeads(expanded)).toBe(expanded);
  removeCheckpoint(dir);
});
