/**
 * Who makes a layer's difference: its kernel (added), the history it reads, or the residual stream that enters it.
 *
 * With f_k(x, H) the newest row of a block's output under kernel k, residual rows x and history H (u uncached, c cached):
 *
 *   added        = f_d(x_u, H_u) − f_p(x_u, H_u)
 *   via_history  = f_d(x_u, H_c) − f_d(x_u, H_u)
 *   via_residual = f_d(x_c, H_c) − f_d(x_u, H_c)
 *
 * The three vectors sum exactly to the layer's difference; the order of history and residual is a convention.
 */
import { hookName } from '../graph/hooks.ts';
import type { Arm, ArmStep } from '../model/arms.ts';
import type { FloatArray } from '../model/arrays.ts';
import { captureNothing, type Executor } from '../model/executor.ts';

/** Newest rows [d_model] of blocks.{i}.hook_resid_post under the four combinations. */
export interface LayerOutputs {
  /** f_p(x_u, H_u): the uncached arm. */
  uncached: FloatArray;
  /** f_d(x_u, H_u) */
  sameInput: FloatArray;
  /** f_d(x_u, H_c) */
  otherHistory: FloatArray;
  /** f_d(x_c, H_c): the cached arm. */
  cached: FloatArray;
}

/** Relative norms of the three parts, over ‖f_p(x_u, H_u)‖. */
export interface LayerAttribution {
  added: number;
  viaHistory: number;
  viaResidual: number;
}

/**
 * The four outputs of one layer at one step. Combinations whose inputs are bit-equal to a known one are not run again:
 * the repeat gate shows that equal inputs give equal bits.
 */
export async function layerOutputs(
  executor: Executor,
  layer: number,
  uncached: { arm: Arm; step: ArmStep },
  cached: { arm: Arm; step: ArmStep },
): Promise<LayerOutputs> {
  const { hiddenSize } = executor.config;
  const { start, n } = cached.step;
  const rows = { start, count: n - start };
  const input = (step: ArmStep) => {
    const data = step.activations.get(hookName('resid_pre', layer))!.data;
    return data.subarray(data.length - rows.count * hiddenSize);
  };
  const newest = (data: FloatArray) => data.subarray(data.length - hiddenSize);
  const output = (step: ArmStep) => newest(step.activations.get(hookName('resid_post', layer))!.data);
  const residual = input(uncached.step);
  const own = uncached.arm.cache.view(layer, start);
  const other = cached.arm.cache.view(layer, start);
  const sameResidual = bitEqual(residual, input(cached.step));
  const sameHistory = bitEqual(own.keys, other.keys) && bitEqual(own.values, other.values);
  const decode = async (history: typeof own) =>
    newest((await executor.block(layer, residual, rows, history, 'decode', captureNothing)).residual);

  const cachedOutput = output(cached.step);
  const otherHistory = sameResidual ? cachedOutput : await decode(other);
  const sameInput = sameHistory ? otherHistory : await decode(own);
  return { uncached: output(uncached.step), sameInput, otherHistory, cached: cachedOutput };
}

/** Relative norms of the parts of a layer's difference. */
export function attribute({ uncached, sameInput, otherHistory, cached }: LayerOutputs): LayerAttribution {
  const scale = norm(uncached);
  const relative = (a: FloatArray, b: FloatArray) => {
    const size = distance(a, b);
    return size === 0 ? 0 : size / scale;
  };
  return {
    added: relative(sameInput, uncached),
    viaHistory: relative(otherHistory, sameInput),
    viaResidual: relative(cached, otherHistory),
  };
}

/** True if two arrays hold the same bits. */
export function bitEqual(a: FloatArray, b: FloatArray): boolean {
  if (a.length !== b.length) return false;
  return Buffer.from(a.buffer, a.byteOffset, a.byteLength).equals(Buffer.from(b.buffer, b.byteOffset, b.byteLength));
}

function norm(a: FloatArray): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * a[i];
  return Math.sqrt(sum);
}

/** ‖a − b‖₂ */
export function distance(a: FloatArray, b: FloatArray): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] - b[i]) ** 2;
  return Math.sqrt(sum);
}
