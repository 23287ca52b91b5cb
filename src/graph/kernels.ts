/**
 * Kernel presets: which shape each matmul has in the uncached arm and in the decode steps.
 *
 * The kernels are a declared factor of every experiment. Folding the query heads of a K/V group into the rows of one
 * matmul, for instance, silently removes the effect under study, so it is a preset and never an exporter's accident.
 */
import { UsageError } from '../errors.ts';

/** How one graph computes. */
export interface GraphKernel {
  /** `per-head`: one matmul per query head. `folded`: the query heads of a K/V group are rows of one matmul. */
  attention: 'per-head' | 'folded';
  /** False: constant weights are not prepacked at load, so weight matmuls take another reduction order at M = 1. */
  prepack: boolean;
}

/** Equal for kernels that compute the same graphs, whatever the order of their keys. */
export function kernelSignature({ attention, prepack }: GraphKernel): string {
  return JSON.stringify({ attention, prepack });
}

export interface KernelPreset {
  name: string;
  /** Kernel of the prompt's prefill and of the uncached arm. */
  prefill: GraphKernel;
  /** Kernel of the cached arm's decode steps. */
  decode: GraphKernel;
  /** Bit-level claims of this preset hold with one intra-op thread only. */
  singleThread: boolean;
}

const perHead: GraphKernel = { attention: 'per-head', prepack: true };
const unpacked: GraphKernel = { attention: 'per-head', prepack: false };
const folded: GraphKernel = { attention: 'folded', prepack: true };

/** The presets by name. */
export const kernelPresets: Record<string, KernelPreset> = {
  ort: { name: 'ort', prefill: perHead, decode: perHead, singleThread: false },
  'ort-unpacked': { name: 'ort-unpacked', prefill: unpacked, decode: unpacked, singleThread: true },
  folded: { name: 'folded', prefill: folded, decode: folded, singleThread: false },
};

/**
 * The preset that `--kernels` names.
 * @throws UsageError naming the known presets.
 */
export function resolveKernels(name: string): KernelPreset {
  if (Object.hasOwn(kernelPresets, name)) return kernelPresets[name];
  throw new UsageError(`--kernels: unknown preset "${name}", expected ${Object.keys(kernelPresets).join(', ')}`);
}
