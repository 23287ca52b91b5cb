/** Executors with one deliberate fault each, entering the gates through the same factory a run uses. */

import { inputNames } from '../../../src/graph/build.ts';
import type { BuiltGraph } from '../../../src/graph/builder.ts';
import { allocate, floatData, floatTensor } from '../../../src/model/arrays.ts';
import {
  type BlockOutput,
  type Capture,
  Executor,
  type History,
  type KernelRole,
  type Patch,
  type Rows,
} from '../../../src/model/executor.ts';
import { type CacheShape, KVCache } from '../../../src/model/kv-cache.ts';
import type { Feeds, GraphSession, SessionOptions } from '../../../src/model/session.ts';

type Residual = History['keys'];

/** One unit in the eighth bit: visible in fp32, fp16 and bf16 alike. */
const nudge = 1 + 2 ** -7;

/** Results depend on how many blocks any executor ran before, as reading uninitialised memory would make them. */
let blocksRun = 0;
export class RestlessExecutor extends Executor {
  override async block(...step: Parameters<Executor['block']>): Promise<BlockOutput> {
    const output = await super.block(...step);
    const residual = output.residual.slice();
    residual[0] *= 1 + ++blocksRun / 16;
    return { ...output, residual };
  }
}

/** Decode steps get the rotary row of the next position. */
export class NextPosition extends Executor {
  override positionFeeds(rows: Rows, window: number | null): Feeds {
    const right = super.positionFeeds(rows, window);
    if (rows.start === 0) return right;
    const next = super.positionFeeds({ start: rows.start + 1, count: rows.count }, window);
    return { ...next, [inputNames.mask(null)]: right[inputNames.mask(null)] };
  }
}

/** The mask of decode steps hides the newest key. */
export class HidesNewestKey extends Executor {
  override positionFeeds(rows: Rows, window: number | null): Feeds {
    const feeds = super.positionFeeds(rows, window);
    if (rows.start === 0) return feeds;
    return withMask(feeds, (mask, columns) => {
      for (let row = 0; row < rows.count; row++) mask[row * columns + rows.start + row] = -Infinity;
    });
  }
}

/** Every row sees the key after its own, where there is one. */
export class SeesNextKey extends Executor {
  override positionFeeds(rows: Rows, window: number | null): Feeds {
    return withMask(super.positionFeeds(rows, window), (mask, columns) => {
      for (let row = 0; row < rows.count; row++) {
        const next = rows.start + row + 1;
        if (next < columns) mask[row * columns + next] = 0;
      }
    });
  }
}

function withMask(feeds: Feeds, change: (mask: Residual, columns: number) => void): Feeds {
  const { dims } = feeds[inputNames.mask(null)];
  const mask = floatData(feeds[inputNames.mask(null)]).slice();
  change(mask, dims[1]);
  return { ...feeds, [inputNames.mask(null)]: floatTensor(mask, dims) };
}

/** Rotary rows that depend on how many rows run together, as length-dependent rope scaling would. */
export class LengthDependentRotary extends Executor {
  override positionFeeds(rows: Rows, window: number | null): Feeds {
    const feeds = super.positionFeeds(rows, window);
    const cos = floatData(feeds[inputNames.cos]).slice();
    for (let i = 0; i < cos.length; i++) cos[i] *= 1 - rows.count / 256;
    return { ...feeds, [inputNames.cos]: floatTensor(cos, feeds[inputNames.cos].dims) };
  }
}

/** Opens a changed graph, in both kernels or in one. */
export class ChangesGraphs extends Executor {
  change: (graph: BuiltGraph) => BuiltGraph = (graph) => graph;
  only: KernelRole | null = null;

  override openGraph(graph: BuiltGraph, kernel: KernelRole, path?: string): Promise<GraphSession> {
    const wanted = this.only === null || this.only === kernel;
    return super.openGraph(wanted ? this.change(graph) : graph, kernel, path);
  }
}

/** Changes the patches on their way into a block. */
export class ChangesPatches extends Executor {
  change: (patches: readonly Patch[]) => readonly Patch[] = (patches) => patches;

  override block(
    layer: number,
    residual: Residual,
    rows: Rows,
    history: History,
    kernel: KernelRole,
    capture: Capture,
  ): Promise<BlockOutput> {
    const patches = capture.patches === undefined ? undefined : this.change(capture.patches);
    const changed = patches === undefined ? { hooks: capture.hooks } : { hooks: capture.hooks, patches };
    return super.block(layer, residual, rows, history, kernel, changed);
  }
}

/** Masks that are on where they are off. */
export const alwaysOn = (patches: readonly Patch[]): Patch[] =>
  patches.map((patch) => ({ ...patch, mask: { ...patch.mask, data: patch.mask.data.map(() => 1) } }));

/** The first row of every K patch arrives scaled by 1 + 2^-8. */
export const scaledKeyRow = (patches: readonly Patch[]): Patch[] =>
  patches.map((patch) => {
    if (!patch.hook.endsWith('hook_cache_k')) return patch;
    const data = patch.value.data.slice();
    const rowSize = data.length / patch.value.dims[1];
    for (let i = 0; i < rowSize; i++) data[i] *= 1 + 2 ** -8;
    return { ...patch, value: { ...patch.value, data } };
  });

/** Patches that never reach the graph's masks. */
export const ignored = (patches: readonly Patch[]): Patch[] =>
  patches.map((patch) => ({ ...patch, mask: { ...patch.mask, data: patch.mask.data.map(() => 0) } }));

/** Two rows are run one after the other by one-row kernels, and put together again. */
export class OneRowInDisguise extends Executor {
  override async block(
    layer: number,
    residual: Residual,
    rows: Rows,
    history: History,
    kernel: KernelRole,
    capture: Capture,
  ): Promise<BlockOutput> {
    if (rows.count !== 2) return super.block(layer, residual, rows, history, kernel, capture);
    const width = residual.length / 2;
    const { kvHeads, headDim } = this.config;
    const rowSize = kvHeads * headDim;
    const both = await super.block(layer, residual, rows, history, kernel, capture);
    const { start } = rows;
    const one = async (row: number, past: History) =>
      super.block(
        layer,
        residual.slice(row * width, (row + 1) * width),
        { start: start + row, count: 1 },
        past,
        kernel,
        { hooks: new Set() },
      );
    const first = await one(0, history);
    const longer = (old: Residual, row: Residual) => {
      const all = allocate(this.compute, (start + 1) * rowSize);
      all.set(old);
      all.set(row, start * rowSize);
      return all;
    };
    const second = await one(1, {
      keys: longer(history.keys, first.keys),
      values: longer(history.values, first.values),
    });
    both.residual.set(first.residual);
    both.residual.set(second.residual, width);
    return both;
  }
}

/** A cache that never writes row 3. */
class StaleCache extends KVCache {
  override write(layer: number, start: number, keys: Residual, values: Residual): void {
    const row = 3;
    if (this.capacity <= row) {
      super.write(layer, start, keys, values);
      return;
    }
    const old = this.view(layer, row + 1);
    const stale = { keys: old.keys.slice(row * this.rowSize), values: old.values.slice(row * this.rowSize) };
    super.write(layer, start, keys, values);
    super.write(layer, row, stale.keys, stale.values);
  }
}
export class KeepsStaleRow extends Executor {
  override newCache(capacity: number): KVCache {
    const { layers, kvHeads, headDim } = this.config;
    const shape: CacheShape = { layers, kvHeads, headDim, compute: this.compute };
    return new StaleCache(shape, capacity);
  }
}

/** Watched residual rows come out changed. */
export class DisturbedByHooks extends Executor {
  override async block(...step: Parameters<Executor['block']>): Promise<BlockOutput> {
    const output = await super.block(...step);
    const watched = [...step[5].hooks].some((name) => name.endsWith('hook_pattern'));
    if (!watched) return output;
    const residual = output.residual.map((value) => value * nudge);
    return { ...output, residual };
  }
}

/** Decode sessions use another number of threads. */
export class MoreThreadsInDecode extends Executor {
  override sessionOptions(kernel: KernelRole): SessionOptions {
    const options = super.sessionOptions(kernel);
    return kernel === 'decode' ? { ...options, threads: options.threads + 1 } : options;
  }
}
