/** What is usually patched, under TransformerLens's names (`get_act_patch_` left out), and along which axes cells are counted. */
import type { PatchTarget } from './grid.ts';

/** One grid each. Keys and values are counted by K/V head. */
export const namedTargets = {
  resid_pre: { kind: 'resid_pre', axes: ['layer', 'pos'] },
  resid_mid: { kind: 'resid_mid', axes: ['layer', 'pos'] },
  attn_out: { kind: 'attn_out', axes: ['layer', 'pos'] },
  mlp_out: { kind: 'mlp_out', axes: ['layer', 'pos'] },
  attn_head_out_by_pos: { kind: 'attn.z', axes: ['layer', 'pos', 'head'] },
  attn_head_q_by_pos: { kind: 'attn.q', axes: ['layer', 'pos', 'head'] },
  attn_head_k_by_pos: { kind: 'attn.k', axes: ['layer', 'pos', 'kv_head'] },
  attn_head_v_by_pos: { kind: 'attn.v', axes: ['layer', 'pos', 'kv_head'] },
  attn_head_pattern_by_pos: { kind: 'attn.pattern', axes: ['layer', 'head', 'dest_pos'] },
  attn_head_pattern_dest_src_pos: { kind: 'attn.pattern', axes: ['layer', 'head', 'dest_pos', 'src_pos'] },
  attn_head_out_all_pos: { kind: 'attn.z', axes: ['layer', 'head'] },
  attn_head_q_all_pos: { kind: 'attn.q', axes: ['layer', 'head'] },
  attn_head_k_all_pos: { kind: 'attn.k', axes: ['layer', 'kv_head'] },
  attn_head_v_all_pos: { kind: 'attn.v', axes: ['layer', 'kv_head'] },
  attn_head_pattern_all_pos: { kind: 'attn.pattern', axes: ['layer', 'head'] },
} as const satisfies Record<string, PatchTarget>;

/** Several grids in one sweep, each with its name in the result. */
export const namedGroups = {
  /** The residual stream, attention output and MLP output of each block. */
  block_every: {
    resid_pre: namedTargets.resid_pre,
    attn_out: namedTargets.attn_out,
    mlp_out: namedTargets.mlp_out,
  },
  /** Output, queries, keys, values and pattern of each head at all positions. */
  attn_head_all_pos_every: {
    z: namedTargets.attn_head_out_all_pos,
    q: namedTargets.attn_head_q_all_pos,
    k: namedTargets.attn_head_k_all_pos,
    v: namedTargets.attn_head_v_all_pos,
    pattern: namedTargets.attn_head_pattern_all_pos,
  },
  /** The same by position, the pattern by destination. */
  attn_head_by_pos_every: {
    z: namedTargets.attn_head_out_by_pos,
    q: namedTargets.attn_head_q_by_pos,
    k: namedTargets.attn_head_k_by_pos,
    v: namedTargets.attn_head_v_by_pos,
    pattern: { kind: 'attn.pattern', axes: ['layer', 'dest_pos', 'head'] },
  },
} as const satisfies Record<string, Record<string, PatchTarget>>;

export type TargetName = keyof typeof namedTargets | keyof typeof namedGroups;

const isTarget = (name: string): name is keyof typeof namedTargets => Object.hasOwn(namedTargets, name);

/** All names, those of groups last. */
export const targetNames: readonly string[] = [...Object.keys(namedTargets), ...Object.keys(namedGroups)];

/** True for a name of a target or a group. */
export function isTargetName(name: unknown): name is TargetName {
  return typeof name === 'string' && targetNames.includes(name);
}

/** The grids of several names in their order. Grids with the same cells are one: the first of them. */
export function targetsOf(names: readonly TargetName[]): PatchTarget[] {
  const named = names.flatMap((name): PatchTarget[] =>
    isTarget(name) ? [namedTargets[name]] : Object.values(namedGroups[name]),
  );
  const cells = named.map(({ kind, axes }) => [kind, ...axes.toSorted()].join());
  return named.filter((_, i) => cells.indexOf(cells[i]) === i);
}
