/** One graph for the whole model computes, bit for bit, what its stages compute one after the other. */

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { buildSingle, inputNames } from '../../src/graph/build.ts';
import { selectHooks } from '../../src/graph/hooks.ts';
import { resolveKernels } from '../../src/graph/kernels.ts';
import { resolvePolicy } from '../../src/graph/rounding.ts';
import { floatData, floatTensor } from '../../src/model/arrays.ts';
import { type Activations, Executor, type KernelRole, type Rows } from '../../src/model/executor.ts';
import type { KVCache } from '../../src/model/kv-cache.ts';
import { Tensor } from '../../src/model/onnxruntime.ts';
import { forward } from '../../src/model/plans.ts';
import { causalMask, rotaryTables } from '../../src/model/positions.ts';
import type { Feeds } from '../../src/model/session.ts';
import { sharedPath } from '../shared.ts';
import { removeCheckpoint, writeTinyCheckpoint } from '../tiny-checkpoint.ts';

const tokens = [1, 17, 5, 88, 42, 42, 7, 63, 30, 11];
const stories = sharedPath('data', 'models', 'stories260K');
const names = ['multi-head', 'grouped-query, tied', ...(stories ? ['stories260K'] : [])];
const dirs = new Map<string, string>(stories ? [['stories260K', stories]] : []);
beforeAll(() => {
  dirs.set('multi-head', writeTinyCheckpoint({ seed: 6 }));
  dirs.set('grouped-query, tied', writeTinyCheckpoint({ attention: 'gqa', tiedEmbeddings: true, dtype: 'F16' }));
});
afterAll(() => {
  for (const [name, dir] of dirs) if (name !== 'stories260K') removeCheckpoint(dir);
});

describe.each(names)('%s', (name) => {
  test.each(['fp32', 'fp16', 'bf16'])(
    '%s: every hook of a prefill and of a decode step after it',
    async (precision) => {
      const checkpoint = await openCheckpoint(dirs.get(name)!);
      const [policy, kernels] = [resolvePolicy(precision), resolveKernels('ort')];
      const executor = new Executor({ checkpoint, policy, kernels, threads: 1 });
      const hooks = new Set(selectHooks('all', executor.config).map((hook) => hook.name));
      const cache = executor.newCache(tokens.length);
      const last = tokens.length - 1;
      for (const [kernel, rows] of [
        ['prefill', { start: 0, count: last }],
        ['decode', { start: last, count: 1 }],
      ] as const) {
        const single = await runSingle(executor, kernel, rows, cache, hooks);
        const request = { tokens: tokens.slice(rows.start, rows.start + rows.count), start: rows.start, cache, kernel };
        const { activations } = await forward(executor, { ...request, capture: { hooks } });
        expect(new Set(single.keys())).toEqual(hooks);
        expect(new Set(activations.keys())).toEqual(hooks);
        for (const hook of hooks) expect.soft(bytes(single, hook), `${kernel} ${hook}`).toBe(bytes(activations, hook));
      }
      await executor.release();
    },
  );
});

/** The hooks of one step of the one-file graph, reading the rows before it from `cache`. */
async function runSingle(
  executor: Executor,
  kernel: KernelRole,
  { start, count }: Rows,
  cache: KVCache,
  hooks: ReadonlySet<string>,
): Promise<Activations> {
  const { config, policy, kernels } = executor;
  const { checkpoint } = executor.options;
  const graph = buildSingle({ checkpoint, policy, kernel: kernels[kernel], hooks, patchPoints: new Set() });
  const { cos, sin } = rotaryTables(config, policy, start + count);
  const table = (values: typeof cos) =>
    floatTensor(values.slice(start * config.headDim), [1, count, 1, config.headDim]);
  const ids = BigInt64Array.from(tokens.slice(start, start + count), BigInt);
  const feeds: Feeds = {
    [inputNames.tokens]: new Tensor('int64', ids, [1, count]),
    [inputNames.cos]: table(cos),
    [inputNames.sin]: table(sin),
    [inputNames.mask(null)]: floatTensor(causalMask('f32', start, count), [count, start + count]),
  };
  for (let layer = 0; layer < config.layers; layer++) {
    const { keys, values } = cache.view(layer, start);
    const dims = [1, start, config.kvHeads, config.headDim];
    feeds[inputNames.pastKeys(layer)] = floatTensor(keys, dims);
    feeds[inputNames.pastValues(layer)] = floatTensor(values, dims);
  }
  const session = await executor.openGraph(graph, kernel);
  const results = await session.run(feeds, graph.outputs);
  await session.release();
  return new Map(
    [...graph.bindings]
      .filter(([name]) => hooks.has(name))
      .map(([name, { value, dtype }]) => {
        const tensor = results[value] as Tensor;
        return [name, { data: floatData(tensor), dims: [...tensor.dims], dtype }];
      }),
  );
}

/** Shape and bit pattern of a hook. */
function bytes(activations: Activations, hook: string): string {
  const { data, dims } = activations.get(hook)!;
  return `${dims} ${Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('hex')}`;
}
