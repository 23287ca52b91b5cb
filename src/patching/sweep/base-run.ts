/** The run that cells patch: the corrupted prompt, with everything that a patched run may take from it. */
import { hookName } from '../../graph/hooks.ts';
import type { FloatArray } from '../../model/arrays.ts';
import { captureNothing, type Executor } from '../../model/executor.ts';
import type { KVCache } from '../../model/kv-cache.ts';
import { forward } from '../../model/plans.ts';
import { type Cell, type HookValue, needsGraph, patchOf, replaceRows } from './cells.ts';

export interface BaseRun {
  executor: Executor;
  tokens: readonly number[];
  /** Input of every block, and the output of the last: [pos, d_model] each. */
  residuals: readonly FloatArray[];
  /** K/V rows of every layer. */
  cache: KVCache;
  /** [pos, d_vocab] */
  logits: FloatArray;
  /** Values of the hooks that cells patch, by full name. */
  values: ReadonlyMap<string, HookValue>;
}

/** Run the prompt once, all rows, with the prefill's kernel. */
export async function baseRun(
  executor: Executor,
  tokens: readonly number[],
  hooks: Iterable<string>,
): Promise<BaseRun> {
  const { layers } = executor.config;
  const wanted = new Set(hooks);
  const inputs = Array.from({ length: layers }, (_, layer) => hookName('resid_pre', layer));
  const cache = executor.newCache(tokens.length);
  const capture = { hooks: new Set([...inputs, ...wanted]) };
  const result = await forward(executor, { tokens, start: 0, cache, kernel: 'prefill', capture });
  const values = new Map([...result.activations].filter(([name]) => wanted.has(name)));
  const residuals = [...inputs.map((name) => result.activations.get(name)!.data), result.residual];
  return { executor, tokens, residuals, cache, logits: result.logits!, values };
}

/**
 * Logits [pos, d_vocab] of one cell the straightforward way: one forward pass of all rows through all layers. What lies
 * between two blocks is replaced there, everything else in the graph of its block.
 * @param clean the hook's value in the clean run
 */
export async function honestLogits(
  { executor, tokens }: Pick<BaseRun, 'executor' | 'tokens'>,
  cell: Cell,
  clean: HookValue,
): Promise<FloatArray> {
  const { hook } = cell;
  const cache = executor.newCache(tokens.length);
  const pass = { tokens, start: 0, cache, kernel: 'prefill' } as const;
  if (needsGraph(hook)) {
    const patches = [patchOf([cell], clean, 0, tokens.length)];
    return (await forward(executor, { ...pass, capture: { ...captureNothing, patches } })).logits!;
  }
  const boundary = hook.definition.kind === 'resid_pre' ? hook.layer : hook.layer + 1;
  const { residual } = await forward(executor, { ...pass, capture: captureNothing, stopAtLayer: boundary });
  const { length } = tokens;
  replaceRows(residual, 0, cell, clean, { first: 0, last: length - 1 });
  return (await forward(executor, { ...pass, capture: captureNothing, startAtLayer: boundary, residual })).logits!;
}

/** Rows of logits [pos, d_vocab], one after another. */
export function readRows(logits: FloatArray, rows: readonly number[], vocabSize: number): FloatArray {
  const result = logits.slice(0, rows.length * vocabSize);
  rows.forEach((row, i) => {
    result.set(logits.subarray(row * vocabSize, (row + 1) * vocabSize), i * vocabSize);
  });
  return result;
}
