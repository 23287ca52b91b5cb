/**
 * Activation patching, as TransformerLens's `patching` module has it.
 *
 * Two prompts of the same length differ in one thing that decides the answer: on the *clean* one the model answers right, on
 * the *corrupted* one it answers something else. Run the corrupted prompt, but put one activation of the clean run in its
 * place, and see how far the answer moves back. An activation that restores it carries, at that layer and position, what
 * the answer depends on; one that changes nothing does not (or another carries it too). Each cell of the result is one such
 * run. Beyond TransformerLens a result carries its labels, the metric of both baselines and how its cells were computed, and
 * K/V heads are counted as they are: a grouped-query model has fewer, and nothing is padded.
 *
 * One generic function does everything; `act-patch-hooks.ts` names what is usually patched.
 */
import ndarray, { type NdArray } from 'ndarray';
import type { ActivationCache } from '../../model/activation-cache.ts';
import type { FloatArray } from '../../model/arrays.ts';
import { checkTokens, type Model } from '../../model/model.ts';
import { readRows } from './base-run.ts';
import { cellKey } from './cells.ts';
import { cleanLogits, cleanValues, type PatchAxis, type PatchTarget, patchGrid } from './grid.ts';
import { asMetric, type LogitMetric, type PatchMetric, positionIn } from './metrics.ts';
import { type SweepMethod, type SweepOptions, sweep } from './sweep.ts';

/** Prompt to patch: a text or token ids. */
export type PatchInput = string | readonly number[];

/** How the cells of a target are run, and what an interrupted sweep left. */
export interface ActPatchOptions extends SweepOptions {
  /** Values that are known from an interrupted sweep, by cell key; `onCell` gives them. */
  finished?: ReadonlyMap<string, number>;
  /** Each new value. A cell that comes a second time replaces the first. */
  onCell?: (cell: { key: string; value: number }) => void;
}

/** The metric of every cell of one target, with its two baselines. */
export interface ActPatchResult {
  /** Hook kind. */
  kind: string;
  /** The metric of each patched run, row-major along `axes`. */
  values: NdArray<Float64Array>;
  axes: { name: PatchAxis; labels: string[] }[];
  /** 1 where the patch changes no bit, so that the value is `corrupted`; along `axes`. */
  vacuous: NdArray<Uint8Array>;
  /** Name of the metric. */
  metric: string;
  /** The metric of the clean run and of the corrupted one. */
  clean: number;
  corrupted: number;
  /** How the cells were computed; of a result that is part of a larger sweep, of all of it. */
  method: SweepMethod;
}

/**
 * Patch every cell of one target.
 * @param cleanCache of `runWithCache` on the clean prompt: the patched hooks of all layers, and `logits`
 * @param metric `logitDiff`, `klDivergence`, … or a function of the logits [1, pos, d_vocab]; a metric that says which
 *   rows it reads costs less
 * @throws UsageError for prompts of unlike lengths, or a hook or cell that does not exist; InterruptedError
 */
export async function genericActivationPatch(
  model: Model,
  corruptedTokens: PatchInput,
  cleanCache: ActivationCache,
  metric: PatchMetric,
  target: PatchTarget,
  options: ActPatchOptions = {},
): Promise<ActPatchResult> {
  const [result] = await patchTargets(model, corruptedTokens, cleanCache, metric, [target], options);
  return result;
}

/** Patch the cells of several targets in one sweep. */
export async function patchTargets(
  model: Model,
  corruptedTokens: PatchInput,
  cleanCache: ActivationCache,
  patchMetric: PatchMetric,
  targets: readonly PatchTarget[],
  { finished, onCell, ...options }: ActPatchOptions = {},
): Promise<ActPatchResult[]> {
  const tokens = typeof corruptedTokens === 'string' ? model.toTokens(corruptedTokens) : corruptedTokens;
  checkTokens(model.config, tokens);
  const { vocabSize } = model.config;
  const metric = asMetric(patchMetric);
  const reads = readPositions(metric, tokens.length);
  const shaped = (rows: FloatArray) => ndarray(rows, [1, reads.length, vocabSize]);
  // The rows come in ascending order, a metric wants its own.
  const order = metric.reads === 'all' ? null : metric.reads.map((at) => reads.indexOf(positionIn(tokens.length, at)));
  const evaluate = (rows: FloatArray) =>
    metric.evaluate(shaped(order === null ? rows : readRows(rows, order, vocabSize)));
  const clean = cleanValues(model, cleanCache, targets, tokens.length);
  const grids = targets.map((target) => patchGrid(model, target, tokens));
  const cells = grids.flatMap((part) => part.cells);
  const result = await sweep<number>({
    ...options,
    ...{ executor: model.executor, tokens, cells, clean, reads, evaluate },
    ...(finished === undefined ? {} : { finished }),
    ...(onCell === undefined ? {} : { onCell: (index, value) => onCell({ key: cellKey(cells[index]), value }) }),
  });
  const rowsOf = (logits: FloatArray) => readRows(logits, reads, vocabSize);
  const baselines = {
    metric: metric.name,
    clean: evaluate(rowsOf(cleanLogits(cleanCache, tokens.length))),
    corrupted: evaluate(rowsOf(result.baseLogits)),
    method: result.method,
  };
  let at = 0;
  return grids.map(({ cells: own, axes }, i) => {
    const shape = axes.map(({ labels }) => labels.length);
    const values = ndarray(Float64Array.from(result.values.slice(at, at + own.length)), shape);
    const vacuous = ndarray(
      Uint8Array.from(result.changed.slice(at, at + own.length), (elements) => Number(elements === 0)),
      [...shape],
    );
    at += own.length;
    return { kind: targets[i].kind, values, axes, vacuous, ...baselines };
  });
}

/** Rows a metric reads, ascending. */
function readPositions({ reads }: LogitMetric, length: number): number[] {
  if (reads === 'all') return Array.from({ length }, (_, row) => row);
  return [...new Set(reads.map((at) => positionIn(length, at)))].sort((a, b) => a - b);
}
