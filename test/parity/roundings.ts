/**
 * Which rounding of the library each rounding of a graph is: the library's names (rounding_log.py) in the order in which
 * kvlens computes them. A rounding too many or too few in either makes the lists differ.
 */

import type { ModelConfig } from '../../src/checkpoint/types.ts';
import type { Stage } from '../../src/graph/build.ts';

export type AttentionPath = 'eager' | 'sdpa';

/** Names of a stage's roundings. */
export function roundingNames(config: ModelConfig, stage: Stage, path: AttentionPath): string[] {
  const gemma = config.modelType === 'gemma2';
  const norm = (name: string) => (gemma ? [`${name}.weighted`] : [`${name}.normalized`, `${name}.weighted`]);
  const cap = (prefix: string) => ['cap_share', 'cap_tanh', 'capped'].map((name) => `${prefix}${name}`);
  if (stage === 'unembed') return [...norm('norm'), 'lm_head', ...(config.finalSoftcap === null ? [] : cap(''))];
  if (stage === 'embed') return [];
  const layer = `layers.${stage.block}`;
  const attention = `${layer}.self_attn`;
  const rotary = (part: 'q' | 'k') => [
    ...(config.queryKeyNorm ? [`${attention}.${part}_norm.normalized`, `${attention}.${part}_norm.weighted`] : []),
    ...['cos', 'sin', 'rotated'].map((name) => `${attention}.${part}_${name}`),
  ];
  const scores = [
    ...[`${attention}.scores_raw`, `${attention}.scores`],
    ...(config.attentionSoftcap === null ? [] : cap(`${attention}.`)),
    `${attention}.probabilities`,
  ];
  return [
    ...norm(`${layer}.input_layernorm`),
    ...['q_proj', 'k_proj', 'v_proj'].map((name) => `${attention}.${name}`),
    ...rotary('q'),
    ...rotary('k'),
    ...(path === 'eager' ? scores : []),
    ...[`${attention}.output`, `${attention}.o_proj`],
    ...(gemma ? norm(`${layer}.post_attention_layernorm`) : []),
    `${layer}.attention_sum`,
    ...norm(`${layer}.${gemma ? 'pre_feedforward' : 'post_attention'}_layernorm`),
    ...['gate_proj', 'up_proj', 'act_fn', 'product', 'down_proj'].map((name) => `${layer}.mlp.${name}`),
    ...(gemma ? norm(`${layer}.post_feedforward_layernorm`) : []),
    `${layer}.mlp_sum`,
  ];
}

/** The rounding place of the table: operations of one kind, whatever layer or projection they belong to. */
export function placeOf(name: string, config: ModelConfig): string {
  const last = name.split('.').at(-1)!;
  const [part, rest] = [last.slice(0, 2), last.slice(2)];
  if (last.endsWith('_proj')) return 'linear';
  if (part === 'q_' || part === 'k_')
    return { cos: 'rotary products', sin: 'rotary products', rotated: 'rotary sum' }[rest]!;
  const known: Record<string, string> = {
    embed_tokens: 'embedding',
    scaled: 'embedding',
    normalized: 'norm, normalised',
    weighted: config.modelType === 'gemma2' ? 'norm (1 + w)' : 'norm, weighted',
    scores_raw: 'scores, q·k',
    scores: 'scores, scaled',
    cap_share: 'soft-cap, u/c',
    cap_tanh: 'soft-cap, tanh',
    capped: 'soft-cap, ·c',
    probabilities: 'probabilities',
    output: 'attention out',
    act_fn: 'activation',
    product: 'mlp product',
    attention_sum: 'residual',
    mlp_sum: 'residual',
    lm_head: 'logits',
    cos: 'rotary table',
    sin: 'rotary table',
  };
  return known[last];
}

/** One IEEE operation on numbers of the half type: the same bits in every implementation. */
const exactPlaces = new Set([
  ...[
    'embedding',
    'norm, weighted',
    'rotary products',
    'rotary sum',
    'scores, scaled',
    'soft-cap, u/c',
    'soft-cap, ·c',
  ],
  ...['mlp product', 'residual'],
]);

/** Functions of a math library; the other places are sums. */
const functionPlaces = new Set(['norm, normalised', 'norm (1 + w)', 'soft-cap, tanh', 'probabilities', 'activation']);

export type PlaceKind = 'exact' | 'function' | 'sum';

export function kindOf(place: string): PlaceKind {
  if (exactPlaces.has(place)) return 'exact';
  return functionPlaces.has(place) ? 'function' : 'sum';
}

/**
 * The most flips at a place that are explained: none where the operation is exact; elsewhere twice what the law expects,
 * since the library may sum worse than we do, and, since a count scatters, five standard deviations and three more.
 */
export function allowedFlips(place: string, law: number): number {
  if (kindOf(place) === 'exact') return 0;
  const mean = 2 * law;
  return Math.floor(mean + 5 * Math.sqrt(mean) + 3);
}
