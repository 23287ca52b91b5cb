/** A piece cut out of a stage's graph computes what the stage computes, from the numbers it is given. */
import { readFileSync } from 'node:fs';
import { afterAll, describe, expect, test } from 'vitest';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { inputsOf } from '../../src/divergence/operations.ts';
import { buildStage, inputNames } from '../../src/graph/build.ts';
import { cutGraph, embedWeights, externalBytes } from '../../src/graph/cut.ts';
import { modelHooks } from '../../src/graph/hooks.ts';
import { resolveKernels } from '../../src/graph/kernels.ts';
import { encodeModel } from '../../src/graph/onnx/codec.ts';
import { resolvePolicy } from '../../src/graph/rounding.ts';
import { Arm } from '../../src/model/arms.ts';
import { Executor } from '../../src/model/executor.ts';
import { operationCase, runAlone } from '../../src/patching/explain/operation-case.ts';
import type { TinyOptions } from '../tiny-checkpoint.ts';
import { removeCheckpoint, writeTinyCheckpoint } from '../tiny-checkpoint.ts';

const folders: string[] = [];
const executors: Executor[] = [];
afterAll(async () => {
  for (const executor of executors) await executor.release();
  for (const folder of folders) removeCheckpoint(folder);
});

async function open(tiny: TinyOptions, precision = 'fp16', kernels = 'ort'): Promise<Executor> {
  const dir = writeTinyCheckpoint(tiny);
  folders.push(dir);
  const checkpoint = await openCheckpoint(dir);
  const executor = new Executor({
    ...{ checkpoint, policy: resolvePolicy(precision), kernels: resolveKernels(kernels), threads: 1 },
  });
  executors.push(executor);
  return executor;
}

const tokens = [1, 17, 5, 88, 42, 7, 30];

describe('every operation, cut at the hooks it reads, gives the bits it gives inside its stage', () => {
  test.each([
    [{ attention: 'gqa' }, 'fp16', 'ort'],
    [{ attention: 'mqa', dtype: 'BF16' }, 'bf16', 'folded'],
    [{ modelType: 'gemma2', attention: 'gqa' }, 'fp32', 'ort'],
    [{ modelType: 'qwen3' }, 'fp16-sdpa', 'ort-unpacked'],
    [{ modelType: 'qwen2' }, 'fp64', 'ort'],
  ] as const)('%j, %s, %s', async (tiny, precision, kernels) => {
    const executor = await open(tiny, precision, kernels);
    const hooks = modelHooks(executor.config).filter(({ definition }) => !definition.optIn);
    const capture = { hooks: new Set(hooks.map(({ name }) => name)) };
    const { activations } = await Arm.uncached(executor, tokens.length, 'recompute').prefill(tokens, capture);
    const rows = { start: 0, count: tokens.length };
    const unlike: string[] = [];
    let compared = 0;
    for (const hook of hooks) {
      // What a stage hands on is another stage's; rows of the cache and the embedding read what is no hook.
      if (['embed', 'resid_pre', 'attn.cache_k', 'attn.cache_v'].includes(hook.definition.kind)) continue;
      const made = operationCase(executor, { hook, role: 'prefill', name: 'all rows', rows, activations });
      // Without a final soft-cap the logits are what the output matrix gives.
      if (made === 'logits is unembed.hook_out itself') continue;
      if (typeof made === 'string') throw new Error(made);
      const graph = embedWeights(made.graph, executor.options.checkpoint.weightsRoot);
      expect(externalBytes(graph)).toBe(0);
      const found = await runAlone(executor, { ...made, graph });
      compared += 1;
      const expected = activations.get(hook.name)!.data;
      if (!Buffer.from(found.buffer).equals(Buffer.from(expected.slice().buffer))) unlike.push(hook.name);
    }
    expect(unlike).toEqual([]);
    expect(compared).toBeGreaterThan(2 * 15);
  });
});

test('a piece holds the nodes and weights it needs, in the order of its stage, and no others', async () => {
  const { options, policy, kernels, config } = await open({ attention: 'gqa' });
  const hooks = ['blocks.1.attn.hook_rot_q', 'blocks.1.attn.hook_cache_k', 'blocks.1.attn.hook_attn_scores'];
  const built = buildStage(
    { block: 1 },
    {
      ...{ checkpoint: options.checkpoint, policy, kernel: kernels.decode, hooks: new Set(hooks) },
      patchPoints: new Set<string>(),
    },
  );
  const scores = modelHooks(config).find(({ name }) => name === hooks[2])!;
  const cut = cutGraph(built, inputsOf(scores, config), scores.name);
  expect(cut.inputs.toSorted()).toEqual([inputNames.mask(null), hooks[0], hooks[1]].toSorted());
  expect(cut.outputs).toEqual([hooks[2]]);
  const operators = cut.model.graph!.node!.map(({ opType }) => opType);
  expect(operators.filter((name) => name === 'MatMul')).toHaveLength(1);
  expect(operators).not.toContain('Softmax');
  expect(externalBytes(cut)).toBe(0);
  const order = built.model.graph!.node!.map(({ name }) => name);
  const places = cut.model.graph!.node!.map(({ name }) => order.indexOf(name));
  expect(places).toEqual(places.toSorted((a, b) => a - b));
  expect(encodeModel(cut.model).length).toBeLessThan(2000);
  expect(() => cutGraph(built, [], 'blocks.1.hook_mlp_out')).toThrow('is not among the hooks');
});

test('embedded weights are the bytes of the checkpoint', async () => {
  const executor = await open({ dtype: 'F16' });
  const hooks = new Set(['blocks.0.ln1.hook_normalized', 'blocks.0.attn.hook_q']);
  const cut = cutGraph(
    executor.graph({ block: 0 }, 'prefill', hooks),
    ['blocks.0.ln1.hook_normalized'],
    'blocks.0.attn.hook_q',
  );
  const { hiddenSize, heads, headDim } = executor.config;
  expect(externalBytes(cut)).toBe(2 * (heads * headDim * hiddenSize + hiddenSize));
  const embedded = embedWeights(cut, executor.options.checkpoint.weightsRoot);
  const key = 'model.layers.0.self_attn.q_proj.weight';
  const raw = embedded.model.graph!.initializer!.find(({ name }) => name === key)!.rawData!;
  const { file, offset, bytes } = executor.options.checkpoint.tensors.get(key)!;
  expect(Buffer.from(raw).equals(readFileSync(file).subarray(offset, offset + bytes))).toBe(true);
});
