/** Each gate passes on a sound subject and fails, for the right reason, on a subject with one deliberate fault. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runInFreshProcess } from '../../../src/divergence/gates/fresh-process.ts';
import type { GateSubject } from '../../../src/divergence/gates/gate.ts';
import { type GateName, gateNames, gates, runGates } from '../../../src/divergence/gates/index.ts';
import { resolveKernels } from '../../../src/graph/kernels.ts';
import { resolvePolicy } from '../../../src/graph/rounding.ts';
import { Executor } from '../../../src/model/executor.ts';
import { removeCheckpoint, type TinyOptions, writeTinyCheckpoint } from '../../tiny-checkpoint.ts';
import { float16Typed, roundedToBfloat16, withoutRoundings } from './broken-graphs.ts';
import {
  alwaysOn,
  ChangesGraphs,
  ChangesPatches,
  DisturbedByHooks,
  HidesNewestKey,
  ignored,
  KeepsStaleRow,
  LengthDependentRotary,
  MoreThreadsInDecode,
  NextPosition,
  OneRowInDisguise,
  RestlessExecutor,
  SeesNextKey,
  scaledKeyRow,
} from './faulty-executors.ts';
import { executedBy, gate, subject } from './subject.ts';

const dirs: string[] = [];
function checkpoint(options: TinyOptions = {}): string {
  const dir = writeTinyCheckpoint(options);
  dirs.push(dir);
  return dir;
}
let mha = '';
let gqa = '';
let cache = '';
beforeAll(() => {
  mha = checkpoint({ headDim: 32 });
  gqa = checkpoint({ attention: 'gqa', dtype: 'BF16', seed: 2 });
  cache = mkdtempSync(join(tmpdir(), 'kvlens-cache-'));
  process.env.KVLENS_CACHE = cache;
});
afterAll(() => {
  for (const dir of dirs) removeCheckpoint(dir);
  rmSync(cache, { recursive: true, force: true });
  delete process.env.KVLENS_CACHE;
});

describe('a sound subject passes every gate', () => {
  const precisions = ['fp32', 'fp16', 'bf16', 'fp16-sdpa', 'fp64'];
  test.each(precisions)('%s, multi-head', async (precision) => {
    expect(failures(await runGates(await subject(mha, precision)))).toEqual([]);
  });
  test.each(precisions)('%s, grouped-query', async (precision) => {
    expect(failures(await runGates(await subject(gqa, precision)))).toEqual([]);
  });
  test.each(['ort-unpacked', 'folded'])('kernels %s', async (preset) => {
    expect(failures(await runGates(await subject(gqa, 'fp16', { kernels: resolveKernels(preset) })))).toEqual([]);
  });
  test('two rows per decode step', async () => {
    expect(failures(await runGates(await subject(mha, 'fp32', { decodeRows: 2 })))).toEqual([]);
  });
  test('a policy of mixed types', async () => {
    const policy = { ...resolvePolicy('fp32'), name: 'kv-bf16', places: { kv: 'bf16', residual: 'f16' } as const };
    expect(failures(await runGates(await subject(mha, 'fp32', { policy })))).toEqual([]);
  });
  test('a prompt of one token', async () => {
    const results = await runGates(await subject(mha, 'fp16', { prompt: { id: 'one', tokens: [1] } }));
    expect(failures(results)).toEqual([]);
    expect(results.find(({ name }) => name === 'prefix')?.scope).toContain('n = 2, 3, 4 in 5');
  });
  test('a forced continuation, cut to the steps a run looks at', async () => {
    const continuation = [9, 8, 7, 6, 5];
    const results = await runGates(await subject(gqa, 'bf16', { continuation, maxSteps: 3 }));
    expect(failures(results)).toEqual([]);
    expect(results.find(({ name }) => name === 'null')?.scope).toContain('n = 11 … 13');
  });
  test('a prompt that fills the context has no decode step: null and full-patch do not apply', async () => {
    const prompt = { id: 'full', tokens: Array.from({ length: 64 }, (_, i) => i) };
    const results = await runGates(await subject(gqa, 'fp16', { prompt }));
    expect(failures(results)).toEqual([]);
    expect(results.filter(({ status }) => status === 'not-applicable').map(({ name }) => name)).toEqual([
      'null',
      'full-patch',
    ]);
  });
});

function failures(results: Awaited<ReturnType<typeof runGates>>): string[] {
  return results.filter(({ passed }) => !passed).map(({ name, measured }) => `${name}: ${measured}`);
}

/** Per gate: a faulty subject, and what the gate must say about it. */
const faults: Record<GateName, [string, () => Promise<GateSubject>, RegExp, ('run' | 'audit')?][]> = {
  repeat: [
    [
      'an executor whose results depend on what ran before',
      async () => executedBy(await subject(mha, 'fp32'), RestlessExecutor),
      /[1-9]\d* of \d+ tensors differ; first: uncached arm, n = 10, blocks\.1\.hook_resid_pre \(fresh sessions\)/,
    ],
    [
      'a fresh process with other options',
      async () => ({
        ...(await subject(gqa, 'fp32')),
        fresh: (request) => runInFreshProcess({ ...request, kernels: resolveKernels('folded') }),
      }),
      /[1-9]\d* of \d+ tensors differ; first: cached arm, n = 11, .* \(fresh process\)/,
      'audit',
    ],
  ],
  alignment: [
    [
      'decode steps rotated to the next position',
      async () => executedBy(await subject(mha, 'fp16'), NextPosition),
      /embeddings: 0 of .* [1-9]\d* of \d+ rotated rows differ \(first: blocks\.0\.attn\.hook_rot_q, cached arm, position 10\); visible keys: 0 of/,
    ],
    [
      'a mask that hides the newest key in decode steps',
      async () => executedBy(await subject(gqa, 'fp16'), HidesNewestKey),
      /positions: 0 of .* mask entries differ \(first: blocks\.0\.attn\.hook_attn_scores, cached arm, head 0, row 10, key 10\)/,
    ],
    [
      'a mask that shows a future key',
      async () => executedBy(await subject(gqa, 'bf16'), SeesNextKey),
      /mask entries differ \(first: .* arm, head 0, row 0, key 1\)/,
    ],
  ],
  canary: [
    [
      'a float16-typed graph, whose casts the runtime deletes',
      async () => executedBy(await subject(mha, 'fp16'), ChangesGraphs, (faulty) => (faulty.change = float16Typed)),
      /probes wrong; first: f16 half-ulp tie/,
    ],
    [
      'a graph whose roundings were dropped',
      async () => executedBy(await subject(mha, 'bf16'), ChangesGraphs, (faulty) => (faulty.change = withoutRoundings)),
      /probes wrong; first: bf16 half-ulp tie \(prefill\): 1 \+ 0\.00390625 left 0\.00390625, not 0/,
    ],
    [
      'a graph that rounds to bfloat16 instead of float16',
      async () =>
        executedBy(await subject(mha, 'fp16'), ChangesGraphs, (faulty) => (faulty.change = roundedToBfloat16)),
      /probes wrong; first: f16 kept ulp/,
    ],
  ],
  provenance: [
    [
      'a float16-typed graph, whose casts the runtime deletes',
      async () => executedBy(await subject(mha, 'fp16'), ChangesGraphs, (faulty) => (faulty.change = float16Typed)),
      /problems; first: .*Cast\(float/,
    ],
    [
      'a graph whose roundings were dropped',
      async () => executedBy(await subject(mha, 'fp16'), ChangesGraphs, (faulty) => (faulty.change = withoutRoundings)),
      /first: embed, prefill: Cast\(float16\) 0, not 1, Cast\(float\) 0, not 1/,
    ],
    [
      'decode graphs that are not the prefill’s under the same preset',
      async () =>
        executedBy(await subject(mha, 'fp16'), ChangesGraphs, (faulty) => {
          faulty.change = withoutRoundings;
          faulty.only = 'decode';
        }),
      /first: embed, decode: Cast/,
    ],
  ],
  'no-op': [
    [
      'patches applied where their mask is off',
      async () => executedBy(await subject(mha, 'fp16'), ChangesPatches, (faulty) => (faulty.change = alwaysOn)),
      /first blocks\.0\.hook_resid_pre, patches off, prefill, n = 10/,
    ],
    [
      'a K row that is patched in scaled by 1 + 2^-8',
      async () => executedBy(await subject(gqa, 'fp32'), ChangesPatches, (faulty) => (faulty.change = scaledKeyRow)),
      /first blocks\.0\.attn\.hook_cache_k, self-patch, prefill, n = 10: 32 of/,
    ],
  ],
  null: [
    [
      'a one-row kernel behind a two-row step',
      async () => executedBy(await subject(mha, 'fp32'), OneRowInDisguise),
      /first blocks\.0\.hook_resid_post, n = 11/,
    ],
    [
      'a cache with a stale row',
      async () => executedBy(await subject(gqa, 'fp16'), KeepsStaleRow),
      /first blocks\.0\.attn\.hook_attn_scores, n = 11/,
    ],
  ],
  'full-patch': [
    [
      'a K row that is patched in scaled by 1 + 2^-8',
      async () => executedBy(await subject(gqa, 'fp16'), ChangesPatches, (faulty) => (faulty.change = scaledKeyRow)),
      /first blocks\.0\.attn\.hook_cache_k, n = 11: 32 of/,
    ],
    [
      'patches that are ignored',
      async () => executedBy(await subject(mha, 'fp16'), ChangesPatches, (faulty) => (faulty.change = ignored)),
      /^0 of .* elements differ; marked rows were not read back/,
    ],
  ],
  prefix: [
    [
      'rotary rows that depend on the length',
      async () => executedBy(await subject(mha, 'fp16'), LengthDependentRotary),
      /first blocks\.0\.attn\.hook_rot_q, row of n = 2 in n = 14/,
    ],
    [
      'a mask that shows the next key',
      async () => executedBy(await subject(gqa, 'fp32'), SeesNextKey),
      /first blocks\.0\.attn\.hook_pattern, row of n = 2 in n = 14/,
    ],
  ],
  observer: [
    [
      'hooks that change what is computed',
      async () => executedBy(await subject(mha, 'fp16'), DisturbedByHooks),
      /first logits, all hooks, uncached arm, n = 14/,
    ],
  ],
  finite: [
    [
      'a NaN weight',
      () => subject(checkpoint({ dtype: 'BF16', edit: poison('model.layers.1.mlp.up_proj.weight', NaN) }), 'fp16'),
      /[1-9][\d,]* NaN \(first blocks\.1\.mlp\.hook_pre_linear \(cached arm, n = 10\)\), 0 infinite/,
    ],
    [
      'logits beyond float32',
      () => subject(checkpoint({ edit: poison('lm_head.weight', 3e38) }), 'fp32'),
      /0 NaN, [1-9][\d,]* infinite \(first unembed\.hook_out/,
    ],
  ],
  residual: [
    [
      'residual sums that are not rounded',
      async () => {
        const policy = { ...resolvePolicy('fp16'), places: { residual: 'f32' } as const };
        return executedBy(
          await subject(mha, 'fp16'),
          class extends Executor {
            constructor(options: ConstructorParameters<typeof Executor>[0]) {
              super({ ...options, policy });
            }
          },
        );
      },
      /[1-9][\d,]* of [\d,]+ elements differ; first blocks\.0\.hook_resid_mid, cached arm, n = 10/,
    ],
  ],
  'batch-threads': [
    [
      'decode sessions with another thread count',
      async () => executedBy(await subject(mha, 'fp16'), MoreThreadsInDecode),
      /intra-op threads 1 \(prefill\) and 2 \(decode\)/,
    ],
    [
      'two threads under a preset that needs one',
      () => subject(mha, 'fp16', { kernels: resolveKernels('ort-unpacked'), threads: 2 }),
      /preset ort-unpacked needs one thread/,
    ],
  ],
};

/** Put one value into row 0 of a weight. */
function poison(key: string, value: number) {
  return (name: string, values: Float64Array) => {
    if (name === key) values.fill(value, 0, 64);
  };
}

describe('a faulty subject fails the gate that looks for its fault', () => {
  const cases = gateNames.flatMap((name) =>
    faults[name].map(([fault, build, reason, scale]) => ({ name, fault, build, reason, scale })),
  );
  test.each(cases)('$name: $fault', async ({ name, build, reason, scale }) => {
    const result = await gate(name, await build(), scale);
    expect(result.measured).toMatch(reason);
    expect(result).toMatchObject({ passed: false, status: 'failed' });
  });

  test('every gate names the faults that fail it', () => {
    expect(gates.map(({ name }) => name)).toEqual([...gateNames]);
    for (const { name, failing } of gates) expect(faults[name].map(([fault]) => fault)).toEqual(failing);
  });
});

describe('gates tell faults apart from what is allowed', () => {
  test('infinities of a policy that can overflow are counted, not failed', async () => {
    const dir = checkpoint({ edit: poison('lm_head.weight', 60000) });
    const result = await gate('finite', await subject(dir, 'fp16'));
    expect(result.measured).toMatch(/0 NaN, [1-9][\d,]* infinite \(first unembed\.hook_out/);
    expect(result.passed).toBe(true);
  });

  test('a NaN weight fails no other gate than finite', async () => {
    const dir = checkpoint({ dtype: 'BF16', edit: poison('model.layers.1.mlp.up_proj.weight', NaN) });
    const results = await runGates(await subject(dir, 'fp16'));
    expect(results.filter(({ passed }) => !passed).map(({ name }) => name)).toEqual(['finite']);
  });
});
