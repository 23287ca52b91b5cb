/** Executors with one change planted in a decode kernel, a stand-in or a cache: what a run must find and name. */

import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { resolveKernels } from '../../src/graph/kernels.ts';
import { resolvePolicy } from '../../src/graph/rounding.ts';
import { type BlockOutput, Executor, type ExecutorOptions } from '../../src/model/executor.ts';
import { type CacheShape, KVCache } from '../../src/model/kv-cache.ts';

type BlockStep = Parameters<Executor['block']>;
type Rows = BlockOutput['residual'];

/** One unit in the eighth bit: visible in fp32, fp16 and bf16 alike. */
export const nudge = 1 + 2 ** -7;

/** What an executor needs, on the checkpoint in `dir`; one thread, kernels `ort` unless said otherwise. */
export async function executorOptions(dir: string, precision = 'fp32', kernels = 'ort'): Promise<ExecutorOptions> {
  const checkpoint = await openCheckpoint(dir);
  return { checkpoint, policy: resolvePolicy(precision), kernels: resolveKernels(kernels), threads: 1 };
}

/** Runs the decode steps on another checkpoint: one weight of one operation differs, say. */
export class DecodesWith extends Executor {
  other: Executor | null = null;

  override embed(...step: Parameters<Executor['embed']>): ReturnType<Executor['embed']> {
    return this.other && step[1] === 'decode' ? this.other.embed(...step) : super.embed(...step);
  }

  override block(...step: BlockStep): Promise<BlockOutput> {
    return this.other && step[4] === 'decode' ? this.other.block(...step) : super.block(...step);
  }

  override unembed(...step: Parameters<Executor['unembed']>): ReturnType<Executor['unembed']> {
    return this.other && step[2] === 'decode' ? this.other.unembed(...step) : super.unembed(...step);
  }

  override async release(): Promise<void> {
    await super.release();
    await this.other?.release();
  }
}

/** The newest embedding row of decode steps comes out nudged. */
export class NudgesEmbedding extends Executor {
  override async embed(...step: Parameters<Executor['embed']>): ReturnType<Executor['embed']> {
    const found = await super.embed(...step);
    const embedded = found.get('hook_embed')!;
    if (step[1] === 'decode') found.set('hook_embed', { ...embedded, data: nudgeEnd(embedded.data) });
    return found;
  }
}

/** The newest row that block 0 gives in decode steps comes out nudged. */
export class NudgesBlock extends Executor {
  override async block(...step: BlockStep): Promise<BlockOutput> {
    const output = await super.block(...step);
    if (step[0] !== 0 || step[4] !== 'decode') return output;
    const residual = nudgeEnd(output.residual);
    const post = output.activations.get('blocks.0.hook_resid_post');
    if (post) output.activations.set('blocks.0.hook_resid_post', { ...post, data: residual });
    return { ...output, residual };
  }
}

/** Steps of the uncached arm that run a few rows only – its stand-in – give nudged K rows in block 0. */
export class WrongStandIn extends Executor {
  override async block(...step: BlockStep): Promise<BlockOutput> {
    const output = await super.block(...step);
    return step[0] === 0 && isStandIn(step) ? { ...output, keys: nudgeEnd(output.keys) } : output;
  }
}

/** The uncached arm's stand-in runs its blocks on another checkpoint. */
export class StandsInWith extends Executor {
  other: Executor | null = null;

  override block(...step: BlockStep): Promise<BlockOutput> {
    return this.other && isStandIn(step) ? this.other.block(...step) : super.block(...step);
  }

  override async release(): Promise<void> {
    await super.release();
    await this.other?.release();
  }
}

/** The stand-in's logits are nudged at the step whose newest position is `at`, and nothing else is. */
export class WrongLogitsOnce extends Executor {
  at = -1;
  private position = -1;

  override block(...step: BlockStep): Promise<BlockOutput> {
    this.position = isStandIn(step) ? step[2].start + step[2].count - 1 : -1;
    return super.block(...step);
  }

  override async unembed(...step: Parameters<Executor['unembed']>): ReturnType<Executor['unembed']> {
    const found = await super.unembed(...step);
    const logits = found.get('logits')!;
    if (this.position === this.at) found.set('logits', { ...logits, data: nudgeEnd(logits.data) });
    return found;
  }
}

function isStandIn([, , rows, , kernel]: BlockStep): boolean {
  return kernel === 'prefill' && rows.start > 0;
}

/** The last number, nudged. */
function nudgeEnd(data: Rows): Rows {
  const copy = data.slice();
  copy[copy.length - 1] *= nudge;
  return copy;
}

/** The cached arm's cache is faulty; the other caches are not. Caches of a run are made in this order. */
export abstract class FaultyFirstCache extends Executor {
  private made = 0;

  protected abstract faulty(shape: CacheShape, capacity: number): KVCache;

  override newCache(capacity: number): KVCache {
    this.made += 1;
    if (this.made > 1) return super.newCache(capacity);
    const { layers, kvHeads, headDim } = this.config;
    return this.faulty({ layers, kvHeads, headDim, compute: this.compute }, capacity);
  }
}

/** Block 1's row 2 is lost when row 12 is written. */
export class LosesOldRow extends FaultyFirstCache {
  protected override faulty(shape: CacheShape, capacity: number): KVCache {
    return new CacheWithFault(shape, capacity, (cache, layer, start, count) => {
      if (layer === 1 && start <= 12 && start + count > 12) cache.row(1, 2).fill(0);
    });
  }
}

class CacheWithFault extends KVCache {
  private readonly after: (cache: CacheWithFault, layer: number, start: number, count: number) => void;

  constructor(shape: CacheShape, capacity: number, after: CacheWithFault['after']) {
    super(shape, capacity);
    this.after = after;
  }

  override write(layer: number, start: number, keys: Rows, values: Rows): void {
    super.write(layer, start, keys, values);
    this.after(this, layer, start, keys.length / this.rowSize);
  }

  /** K of one row. */
  row(layer: number, index: number): Rows {
    return this.view(layer, index + 1).keys.subarray(index * this.rowSize);
  }
}
