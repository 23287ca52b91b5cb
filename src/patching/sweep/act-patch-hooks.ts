/**
 * What is usually patched, under TransformerLens's names and with its result axes. Each takes
 * `(model, corruptedTokens, cleanCache, metric, options?)`; see `genericActivationPatch`.
 */
import ndarray, { type NdArray } from 'ndarray';
import type { ActivationCache } from '../../model/activation-cache.ts';
import type { Model } from '../../model/model.ts';
import {
  type ActPatchOptions,
  type ActPatchResult,
  genericActivationPatch,
  type PatchInput,
  patchTargets,
} from './act-patch.ts';
import type { PatchTarget } from './grid.ts';
import type { PatchMetric } from './metrics.ts';
import { namedGroups, namedTargets } from './targets.ts';

/** A patching function of one target. */
export type ActPatch = (
  model: Model,
  corruptedTokens: PatchInput,
  cleanCache: ActivationCache,
  metric: PatchMetric,
  options?: ActPatchOptions,
) => Promise<ActPatchResult>;

function patches(target: PatchTarget): ActPatch {
  return (model, corruptedTokens, cleanCache, metric, options) =>
    genericActivationPatch(model, corruptedTokens, cleanCache, metric, target, options);
}

/** The residual stream before each block: [layer, pos]. */
export const getActPatchResidPre = patches(namedTargets.resid_pre);
/** The residual stream between attention and MLP: [layer, pos]. */
export const getActPatchResidMid = patches(namedTargets.resid_mid);
/** The output of each attention layer: [layer, pos]. */
export const getActPatchAttnOut = patches(namedTargets.attn_out);
/** The output of each MLP: [layer, pos]. */
export const getActPatchMlpOut = patches(namedTargets.mlp_out);

/** Each head's output z: [layer, pos, head]. */
export const getActPatchAttnHeadOutByPos = patches(namedTargets.attn_head_out_by_pos);
/** Each head's queries, before rotary: [layer, pos, head]. */
export const getActPatchAttnHeadQByPos = patches(namedTargets.attn_head_q_by_pos);
/** Each K/V head's keys, before rotary: [layer, pos, kv_head]. */
export const getActPatchAttnHeadKByPos = patches(namedTargets.attn_head_k_by_pos);
/** Each K/V head's values: [layer, pos, kv_head]. */
export const getActPatchAttnHeadVByPos = patches(namedTargets.attn_head_v_by_pos);
/** One row of each head's attention pattern: [layer, head, dest_pos]. The row is replaced as it is. */
export const getActPatchAttnHeadPatternByPos = patches(namedTargets.attn_head_pattern_by_pos);
/** One entry of each head's pattern: [layer, head, dest_pos, src_pos]. The row is not normalised again. */
export const getActPatchAttnHeadPatternDestSrcPos = patches(namedTargets.attn_head_pattern_dest_src_pos);

/** Each head's output at all positions: [layer, head]. */
export const getActPatchAttnHeadOutAllPos = patches(namedTargets.attn_head_out_all_pos);
/** Each head's queries at all positions: [layer, head]. */
export const getActPatchAttnHeadQAllPos = patches(namedTargets.attn_head_q_all_pos);
/** Each K/V head's keys at all positions: [layer, kv_head]. */
export const getActPatchAttnHeadKAllPos = patches(namedTargets.attn_head_k_all_pos);
/** Each K/V head's values at all positions: [layer, kv_head]. */
export const getActPatchAttnHeadVAllPos = patches(namedTargets.attn_head_v_all_pos);
/** Each head's whole attention pattern: [layer, head]. */
export const getActPatchAttnHeadPatternAllPos = patches(namedTargets.attn_head_pattern_all_pos);

/** Results of several targets from one sweep. */
export interface ActPatchParts {
  /** In TransformerLens's order; each with its own axes. */
  parts: { name: string; result: ActPatchResult }[];
  /**
   * The parts in one array, [part, …]; null where their axes differ: in a grouped-query model keys and values have K/V
   * heads, which are not padded to heads.
   */
  stack: NdArray<Float64Array> | null;
}

/** A patching function of several targets. */
export type ActPatchEvery = (...args: Parameters<ActPatch>) => Promise<ActPatchParts>;

function every(targets: Record<string, PatchTarget>): ActPatchEvery {
  const names = Object.keys(targets);
  return async (model, corruptedTokens, cleanCache, metric, options) => {
    const results = await patchTargets(model, corruptedTokens, cleanCache, metric, Object.values(targets), options);
    return { parts: names.map((name, i) => ({ name, result: results[i] })), stack: stacked(results) };
  };
}

function stacked(results: readonly ActPatchResult[]): NdArray<Float64Array> | null {
  const [{ values: first }] = results;
  if (results.some(({ values }) => values.shape.join() !== first.shape.join())) return null;
  const data = new Float64Array(results.length * first.size);
  results.forEach(({ values }, i) => {
    data.set(values.data, i * first.size);
  });
  return ndarray(data, [results.length, ...first.shape]);
}

/** The residual stream, attention output and MLP output of each block: 3 × [layer, pos]. */
export const getActPatchBlockEvery = every(namedGroups.block_every);

/** Output, queries, keys, values and pattern of each head at all positions: 5 × [layer, head or kv_head]. */
export const getActPatchAttnHeadAllPosEvery = every(namedGroups.attn_head_all_pos_every);

/** The same by position, the pattern by destination: 5 × [layer, pos or dest_pos, head or kv_head]. */
export const getActPatchAttnHeadByPosEvery = every(namedGroups.attn_head_by_pos_every);
