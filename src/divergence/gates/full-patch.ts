/**
 * Gate 7. The cell (history recomputed, kernel prefill) of the 2×2, computed through the patch path: all n rows run and,
 * at every layer's read, K/V rows 0 … n − 2 are overwritten with the uncached arm's. It must be the uncached arm.
 *
 * A patch path that ignored its patches would pass, so marked rows must also be read back and reach the output.
 */
import { hookName } from '../../graph/hooks.ts';
import type { Activations, Patch } from '../../model/executor.ts';
import { forward } from '../../model/plans.ts';
import { readPatches } from '../../model/read-patches.ts';
import { gateClaims } from './claims.ts';
import { type Captured, compareRuns, equalityRule, hookRows, rowTolerance, Tally } from './difference.ts';
import { type Gate, type GateContext, lengthScope, type Observation } from './gate.ts';

export const fullPatch: Gate = {
  name: 'full-patch',
  class: 'harness',
  claim: gateClaims['full-patch'],
  required: (context) => `${equalityRule(context.policy)}; marked rows are read back and used`,
  failing: ['a K row that is patched in scaled by 1 + 2^-8', 'patches that are ignored'],
  appliesTo: (context) => (context.lengths.length > 0 ? true : 'no decode step fits into the context'),
  stages: 'first',
  begin,
};

function begin({ prompt, lengths, policy }: GateContext): Observation {
  const tally = new Tally(rowTolerance(policy));
  let mark: string | null = null;
  return {
    observe: async (stage) => {
      await observe(stage, tally);
      // A stage without blocks has nothing to mark, but makes the pass that the next stage marks.
      if (stage.executor.blocks.length === 0) await runPatched(stage, await stage.honest(lengths[0]), []);
      else mark ??= await checkMark(stage, lengths[0]);
    },
    conclude: () => ({
      passed: tally.equal && mark === null,
      measured: `${tally.describe()}; ${mark ?? 'the marked rows were read back and used'}`,
      scope: `prompt ${prompt.id}, ${lengthScope(lengths)}, row n − 1 of every hook and all rows read, the uncached arm's kernels`,
    }),
  };
}

async function observe(context: GateContext, tally: Tally): Promise<void> {
  const { hooks, lengths } = context;
  for (const n of lengths) {
    const honest = await context.honest(n);
    const patched = await runPatched(context, honest, historyPatches(context, honest));
    compareRuns(tally, hooks, patched, honest, { from: n - 1, to: n });
  }
}

async function runPatched(
  { executor, hooks, tokens }: GateContext,
  { n }: Captured,
  patches: Patch[],
): Promise<Captured> {
  const cache = executor.newCache(n);
  const capture = { hooks, patches };
  const { activations } = await forward(executor, {
    tokens: tokens.slice(0, n),
    start: 0,
    cache,
    kernel: 'prefill',
    capture,
  });
  return { start: 0, n, activations };
}

/** Overwrite rows 0 … n − 2 of what every layer reads with the rows of `source`. */
function historyPatches({ executor }: GateContext, { n, activations }: Captured): Patch[] {
  const rows = (layer: number, kind: 'attn.cache_k' | 'attn.cache_v') => activations.get(hookName(kind, layer))!.data;
  return readPatches(executor, { start: 0, count: n - 1 }, n, (layer) => ({
    keys: rows(layer, 'attn.cache_k'),
    values: rows(layer, 'attn.cache_v'),
  }));
}

/**
 * Write marked values into every past row of a layer's V; null if they were read and used, else what went wrong. A
 * layer whose newest row attends to itself alone uses none of them, so that one layer which does is enough.
 */
async function checkMark(context: GateContext, n: number): Promise<string | null> {
  const honest = await context.honest(n);
  for (const layer of context.executor.blocks) {
    const values = hookName('attn.cache_v', layer);
    const original = honest.activations.get(values)!;
    const rowSize = original.data.length / n;
    const marked = { ...original, data: original.data.slice() };
    // In range and exact in every type, and unlike in neighbouring rows.
    for (let i = 0; i < rowSize * (n - 1); i++) marked.data[i] = (i + Math.floor(i / rowSize)) % 2 === 0 ? 1 : -1;
    const source: Activations = new Map(honest.activations).set(values, marked);
    const run = await runPatched(context, honest, historyPatches(context, { ...honest, activations: source }));
    const read = new Tally();
    read.add(values, `n = ${n}`, run.activations.get(values)!.data, marked.data, rowSize);
    if (!read.equal) return `marked rows were not read back (${read.describe()})`;
    const z = hookName('attn.z', layer);
    const used = new Tally();
    const newest = { from: n - 1, to: n };
    used.add(z, `n = ${n}`, hookRows(run, z, newest), hookRows(honest, z, newest), rowSize);
    const undefinedBefore = hookRows(honest, z, newest).some(Number.isNaN);
    if (!used.equal || undefinedBefore) return null;
  }
  return 'marked rows were read back but not used';
}
