/**
 * Gate 12. Batch size and thread count are held constant in both arms, and recorded. What they would change is measured
 * by `audit` and reported, never used.
 */

import { inputNames, type Stage } from '../../graph/build.ts';
import { hookName } from '../../graph/hooks.ts';
import { Arm } from '../../model/arms.ts';
import { type FloatArray, floatData, floatTensor } from '../../model/arrays.ts';
import type { Activations, KernelRole } from '../../model/executor.ts';
import { Tensor } from '../../model/onnxruntime.ts';
import { causalMask, rotaryTables } from '../../model/positions.ts';
import type { Feeds } from '../../model/session.ts';
import { gateClaims } from './claims.ts';
import { compareRuns, Tally } from './difference.ts';
import { always, type Gate, type GateContext, type Measurement, once } from './gate.ts';

export const batchThreads: Gate = {
  name: 'batch-threads',
  class: 'identification',
  claim: gateClaims['batch-threads'],
  required: ({ threads }) => `batch 1 and intra-op threads ${threads} in both arms`,
  failing: ['decode sessions with another thread count', 'two threads under a preset that needs one'],
  appliesTo: always,
  stages: 'each',
  begin: once(measure),
};

async function measure(context: GateContext): Promise<Measurement> {
  const { executor, kernels, threads, prompt, tokens } = context;
  const used = {
    prefill: executor.sessionOptions('prefill').threads,
    decode: executor.sessionOptions('decode').threads,
  };
  const steps = await context.cached();
  const batches = new Set(
    [await context.honest(tokens.length), ...steps].flatMap(({ activations }) =>
      [...activations.values()].map(({ dims }) => dims[0]),
    ),
  );
  const constant = used.prefill === threads && used.decode === threads && batches.size === 1 && batches.has(1);
  const allowed = !kernels.singleThread || threads === 1;
  const held = `batch ${[...batches].join(' and ')}, intra-op threads ${used.prefill} (prefill) and ${used.decode} (decode)`;
  const effects = context.scale === 'audit' ? [await batchEffect(context), await threadEffect(context)] : [];
  const quoted = context.audited ? `; effects: audit ${context.audited.hash}` : '; effects: see kvlens audit';
  return {
    passed: constant && allowed,
    measured: [held, ...(allowed ? [] : [`preset ${kernels.name} needs one thread`]), ...effects].join('; '),
    scope:
      context.scale === 'audit'
        ? `prompt ${prompt.id}, n = ${tokens.length}, prefill and decode, every hook`
        : `held constant, prompt ${prompt.id}${quoted}`,
  };
}

/** Batch 2 against batch 1: the same sequence twice, and two different ones. */
async function batchEffect(context: GateContext): Promise<string> {
  const a = [...context.tokens];
  const b = [...context.tokens].reverse();
  const alone = { a: await runBatch(context, [a]), b: await runBatch(context, [b]) };
  const same = new Tally();
  const mixed = new Tally();
  const together = { same: await runBatch(context, [a, a]), mixed: await runBatch(context, [a, b]) };
  const n = a.length;
  for (const role of ['prefill', 'decode'] as const) {
    const rows = { from: role === 'prefill' ? 0 : n - 1, to: n };
    const part = (run: BatchRun, item: number) => ({ start: rows.from, n, activations: itemOf(run[role], item) });
    const where = (item: number) => `${role}, batch item ${item}`;
    compareRuns(same, context.hooks, part(together.same, 0), part(alone.a, 0), rows, where(0));
    compareRuns(same, context.hooks, part(together.same, 1), part(alone.a, 0), rows, where(1));
    compareRuns(mixed, context.hooks, part(together.mixed, 0), part(alone.a, 0), rows, where(0));
    compareRuns(mixed, context.hooks, part(together.mixed, 1), part(alone.b, 0), rows, where(1));
  }
  return `batch 2 of one sequence: ${same.describe()}; batch 2 of two: ${mixed.describe()}`;
}

/** Another intra-op thread count, both arms. */
async function threadEffect(context: GateContext): Promise<string> {
  const { tokens, hooks, prompt, decodeRows, lengths } = context;
  const threads = context.threads === 1 ? 2 : 1;
  const executor = context.open({ threads });
  try {
    const tally = new Tally();
    const n = tokens.length;
    const uncached = await Arm.uncached(executor, n, 'recompute').prefill(tokens, { hooks });
    compareRuns(tally, hooks, uncached, await context.honest(n), { from: 0, to: n }, `uncached arm, n = ${n}`);
    const steps = await context.cached();
    const arm = Arm.cached(executor, n, decodeRows);
    await arm.prefill(prompt.tokens, { hooks: new Set() });
    for (const [i, length] of lengths.entries()) {
      const step = await arm.step(tokens.slice(0, length), { hooks });
      compareRuns(tally, hooks, step, steps[i + 1], { from: step.start, to: length }, `cached arm, n = ${length}`);
    }
    return `${threads} threads against ${context.threads}: ${tally.describe()}`;
  } finally {
    await executor.release();
  }
}

/** All rows with no past, and the last row alone with the others as history. */
interface BatchRun {
  prefill: Activations;
  decode: Activations;
}

/** Run sequences of one length side by side, as one batch. */
async function runBatch(context: GateContext, sequences: readonly number[][]): Promise<BatchRun> {
  const n = sequences[0].length;
  const { kvHeads, headDim } = context.executor.config;
  const prefill = await runStages(context, 'prefill', sequences, 0, null);
  const rowSize = kvHeads * headDim;
  const history = (kind: 'attn.cache_k' | 'attn.cache_v', layer: number) => {
    const { data } = prefill.get(hookName(kind, layer))!;
    const past = data.slice(0, sequences.length * (n - 1) * rowSize);
    sequences.forEach((_, item) => {
      const from = item * n * rowSize;
      past.set(data.subarray(from, from + (n - 1) * rowSize), item * (n - 1) * rowSize);
    });
    return past;
  };
  return { prefill, decode: await runStages(context, 'decode', sequences, n - 1, history) };
}

async function runStages(
  { executor, policy, hooks }: GateContext,
  role: KernelRole,
  sequences: readonly number[][],
  start: number,
  history: ((kind: 'attn.cache_k' | 'attn.cache_v', layer: number) => FloatArray) | null,
): Promise<Activations> {
  const { layers, hiddenSize, kvHeads, headDim, slidingWindows } = executor.config;
  const batch = sequences.length;
  const n = sequences[0].length;
  const rows = n - start;
  const { cos, sin } = rotaryTables(executor.config, policy, n);
  const table = (values: FloatArray) => floatTensor(values.subarray(start * headDim), [1, rows, 1, headDim]);
  const positions: Feeds = {
    [inputNames.cos]: table(cos),
    [inputNames.sin]: table(sin),
  };
  const mask = (window: number | null): Feeds => ({
    [inputNames.mask(window)]: floatTensor(causalMask(executor.compute, start, rows, window), [rows, n]),
  });
  const past = (kind: 'attn.cache_k' | 'attn.cache_v', layer: number) => {
    const data = history ? history(kind, layer) : cos.slice(0, 0);
    return floatTensor(data, [batch, start, kvHeads, headDim]);
  };
  const found: Activations = new Map();
  const run = async (stage: Stage, feeds: Feeds, output: string): Promise<Tensor> => {
    const graph = executor.graph(stage, role, hooks);
    const session = await executor.openGraph(graph, role);
    try {
      const results = await session.run(feeds, graph.outputs);
      for (const [name, { value, dtype }] of graph.bindings) {
        const tensor = feeds[value] ?? results[value];
        if (hooks.has(name)) found.set(name, { data: floatData(tensor), dims: [...tensor.dims], dtype });
      }
      const { data, dims } = found.get(output)!;
      return floatTensor(data, dims);
    } finally {
      await session.release();
    }
  };
  const ids = BigInt64Array.from(
    sequences.flatMap((sequence) => sequence.slice(start)),
    BigInt,
  );
  let residual = await run('embed', { [inputNames.tokens]: new Tensor('int64', ids, [batch, rows]) }, 'hook_embed');
  for (let layer = 0; layer < layers; layer++) {
    const feeds = {
      [hookName('resid_pre', layer)]: floatTensor(floatData(residual), [batch, rows, hiddenSize]),
      [inputNames.pastKeys(layer)]: past('attn.cache_k', layer),
      [inputNames.pastValues(layer)]: past('attn.cache_v', layer),
      ...positions,
      ...mask(slidingWindows[layer]),
    };
    residual = await run({ block: layer }, feeds, hookName('resid_post', layer));
  }
  await run('unembed', { [hookName('resid_post', layers - 1)]: residual }, 'logits');
  return found;
}

/** One sequence of a batch. */
function itemOf(activations: Activations, item: number): Activations {
  const part: Activations = new Map();
  for (const [name, { data, dims, dtype }] of activations) {
    const size = data.length / dims[0];
    part.set(name, { data: data.subarray(item * size, (item + 1) * size), dims: [1, ...dims.slice(1)], dtype });
  }
  return part;
}
