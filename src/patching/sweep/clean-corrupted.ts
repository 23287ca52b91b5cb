/**
 * A clean/corrupted experiment as rows: what every cell of one or more grids does to the next-token logits after the
 * corrupted prompt, measured against the clean run's.
 *
 * Distance is the L2 norm of the difference of mean-centred logits at the last position; recovery is
 * 1 − D(patched, clean) / D(corrupted, clean), and `recovery_kl` the same with KL(clean ‖ ·), which is quadratic and not
 * comparable with it. The rows have the columns of patches.arrow; nothing is decoded, so that `history` is `recomputed`,
 * `kernel` is `prefill`, and step and horizon are 0: the token that the prefill decides.
 */
import { compareLogits } from '../../divergence/metrics/logits.ts';
import type { FloatArray } from '../../model/arrays.ts';
import type { Model } from '../../model/model.ts';
import type { PatchInput } from './act-patch.ts';
import { type Cell, cellKey } from './cells.ts';
import { cleanLogits, cleanValues, type PatchTarget, patchGrid } from './grid.ts';
import { type SweepMethod, type SweepOptions, sweep } from './sweep.ts';

/** What is kept of a cell: plain numbers, for a journal. */
export interface CellDistance {
  /** To the clean run's logits at the last position. */
  distance: number;
  /** KL(clean ‖ patched), nats. */
  kl: number;
  /** Logits whose bits differ from the clean run's. */
  differ: number;
}

export interface CleanCorruptedRequest extends SweepOptions {
  model: Model;
  clean: PatchInput;
  corrupted: PatchInput;
  /** What is patched: one grid of cells each. */
  grids: readonly PatchTarget[];
  /** Copied into every row. */
  condition: string;
  prompt: string;
  spec: string;
  /** Cells of an interrupted run, by key; `onCell` gives them. */
  finished?: ReadonlyMap<string, CellDistance>;
  /** Each new cell. One that comes a second time replaces the first. */
  onCell?: (cell: { key: string; value: CellDistance }) => void;
}

/** A row of patches.arrow. */
export interface CleanCorruptedRow {
  condition: string;
  prompt: string;
  spec: string;
  step: number;
  horizon: number;
  history: 'recomputed';
  kernel: 'prefill';
  hook: string;
  layer: number;
  /** Head, or K/V head for keys and values; null: all. */
  head: number | null;
  component: 'k' | 'v' | 'value';
  /** Positions [start, end) of the patched entries: rows, or destinations of a pattern. */
  pos_start: number;
  pos_end: number;
  distance_base: number;
  distance_patched: number;
  /** Null where the corrupted run's logits are the clean run's. */
  recovery: number | null;
  recovery_kl: number | null;
  /** The patched run's logits are the clean run's, bit for bit. */
  exact: boolean;
  /** The patch changes no bit, or there is nothing to recover. */
  vacuous: boolean;
  /** There was nothing to recover, and the patch made a difference. */
  harmful: boolean;
  /** The patch cuts every path from the tokens that differ to the logits. */
  by_construction: boolean;
}

export interface CleanCorrupted {
  /** Grid by grid, in row-major order of its axes. */
  rows: CleanCorruptedRow[];
  /** The corrupted run against the clean one. */
  base: CellDistance;
  /** Positions whose tokens differ. */
  differing: number[];
  method: SweepMethod;
}

/** Run the grids. @throws UsageError for prompts of unlike lengths; InterruptedError */
export async function runCleanCorrupted(request: CleanCorruptedRequest): Promise<CleanCorrupted> {
  const { model, grids, condition, prompt, spec, finished, onCell, ...rest } = request;
  const { clean: cleanInput, corrupted: corruptedInput, ...options } = rest;
  const [clean, corrupted] = [cleanInput, corruptedInput].map((input) =>
    typeof input === 'string' ? model.toTokens(input) : input,
  );
  const parts = grids.map((target) => patchGrid(model, target, corrupted));
  const cells = parts.flatMap((part) => part.cells);
  const namesFilter = [...new Set(cells.map(({ hook }) => hook.name)), 'logits'];
  const { cache } = await model.runWithCache(clean, { namesFilter });
  const values = cleanValues(model, cache, grids, corrupted.length);
  const last = (logits: FloatArray) => logits.subarray(logits.length - model.config.vocabSize);
  const target = last(cleanLogits(cache, corrupted.length));
  const evaluate = (logits: FloatArray): CellDistance => {
    const { l2Centred, kl, nDiffer } = compareLogits(logits, target, model.executor.compute);
    return { distance: l2Centred, kl, differ: nDiffer };
  };
  const result = await sweep<CellDistance>({
    ...options,
    ...{ executor: model.executor, tokens: corrupted, cells, clean: values, reads: [corrupted.length - 1], evaluate },
    ...(finished === undefined ? {} : { finished }),
    ...(onCell === undefined ? {} : { onCell: (index, value) => onCell({ key: cellKey(cells[index]), value }) }),
  });
  const base = evaluate(last(result.baseLogits));
  const differing = corrupted.flatMap((token, i) => (token === clean[i] ? [] : [i]));
  const rows = cells.map((cell, i): CleanCorruptedRow => {
    const { distance, kl, differ } = result.values[i];
    const nothing = base.distance === 0;
    return {
      ...{ condition, prompt, spec, step: 0, horizon: 0, history: 'recomputed', kernel: 'prefill' },
      ...place(cell, corrupted.length),
      ...{ distance_base: base.distance, distance_patched: distance },
      recovery: nothing ? null : 1 - distance / base.distance,
      recovery_kl: base.kl === 0 ? null : 1 - kl / base.kl,
      exact: differ === 0,
      vacuous: result.vacuous[i] || (nothing && distance === 0),
      harmful: nothing && distance > 0,
      by_construction: cutsEveryPath(cell, differing, corrupted.length, model.config.layers),
    };
  });
  return { rows, base, differing, method: result.method };
}

/** Where a cell lies, as the columns of patches.arrow say it. */
function place({ hook, at }: Cell, length: number) {
  const { kind } = hook.definition;
  const component: CleanCorruptedRow['component'] = kind === 'attn.k' ? 'k' : kind === 'attn.v' ? 'v' : 'value';
  const position = at.pos ?? at.query ?? at.cache;
  return {
    ...{ hook: hook.name, layer: hook.layer, head: at.head ?? at.kv_head ?? null },
    component,
    pos_start: position ?? 0,
    pos_end: position === undefined ? length : position + 1,
  };
}

/**
 * True if every path from a differing token to the last row's logits passes through the cell, so that the clean run's logits
 * follow whatever the model is. Before block 0 the rows of differing tokens differ; after a block every later row may, and
 * K/V rows were read from all of them. Paths leave the residual stream only in between, so only it can be cut.
 */
export function cutsEveryPath(
  { hook, at }: Cell,
  differing: readonly number[],
  length: number,
  layers: number,
): boolean {
  const { kind } = hook.definition;
  if (!['resid_pre', 'resid_mid', 'resid_post'].includes(kind) || at.d_model !== undefined) return false;
  if (differing.length === 0 || at.pos === undefined) return true;
  // Behind the last block only the row that is read counts.
  const isLast = hook.layer === layers - 1 && kind !== 'resid_pre';
  if (isLast) return at.pos === length - 1;
  if (hook.layer === 0 && kind === 'resid_pre') return differing.every((position) => position === at.pos);
  return at.pos === length - 1 && Math.min(...differing) === length - 1;
}
