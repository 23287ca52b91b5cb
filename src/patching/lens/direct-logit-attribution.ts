/**
 * Direct logit attribution: how much each component writes along the direction that a logit, or a difference of two, reads.
 *
 * The final residual stream is a sum: the embedding, and each block's attention and MLP outputs. With the final norm's
 * scale frozen at its value in this run, the logit before a soft-cap is linear in it,
 *
 *   logit_t = Σ_c (c / scale ⊙ w) · U_t,
 *
 * w the norm's weight (1 + w in Gemma), U_t the output matrix's row of token t. Each term is a component's contribution.
 * Attention splits further into heads (`perHead`): z_h W_O^h, in Gemma behind its norm of the sublayer's output, whose scale is
 * frozen too. Everything is added in float64; what the policy's roundings leave over is returned as `remainder`, which is
 * zero up to float64's own rounding under `fp64`.
 */
import { hasKind, hookName } from '../../graph/hooks.ts';
import { typeAt } from '../../graph/rounding.ts';
import type { ActivationCache } from '../../model/activation-cache.ts';
import type { Model } from '../../model/model.ts';
import { roundTo } from '../../numerics/half.ts';
import type { PatchInput } from '../sweep/act-patch.ts';
import { positionIn } from '../sweep/metrics.ts';

/** What is attributed, where, and how finely. */
export interface AttributionOptions {
  /** Token whose logit is attributed. */
  answer: number;
  /** With it, logit(answer) − logit(wrong) is attributed. */
  wrong?: number;
  /** Position whose logits are read, negative from the end. Default the last. */
  position?: number;
  /** Split attention into its heads. */
  perHead?: boolean;
}

/** What one component of the residual stream adds to the attributed logit. */
export interface Contribution {
  /** `embed`, `L3 attn`, `L3H1`, `L3 mlp` */
  name: string;
  kind: 'embed' | 'attn' | 'head' | 'mlp';
  /** −1 for the embedding. */
  layer: number;
  head: number | null;
  value: number;
}

/** Contributions that, with `remainder`, sum to the attributed logit; units are logits. */
export interface DirectLogitAttribution {
  /** In execution order. */
  contributions: Contribution[];
  /** What the run's own logits say, before a soft-cap. */
  total: number;
  /** total − Σ contributions: what rounding leaves over. */
  remainder: number;
}

/** Attribute a logit, or a difference of two, to the components of the residual stream. */
export async function directLogitAttribution(
  model: Model,
  input: PatchInput,
  { answer, wrong, position = -1, perHead = false }: AttributionOptions,
): Promise<DirectLogitAttribution> {
  const { config } = model;
  const tokens = typeof input === 'string' ? model.toTokens(input) : input;
  const row = positionIn(tokens.length, position);
  const attention = perHead ? ['*.attn.hook_result', '*.ln1_post.hook_scale'] : ['*.hook_attn_out'];
  const hasPostNorm = hasKind(config, 'ln1_post.scale');
  const namesFilter = [
    ...['hook_embed', '*.hook_mlp_out', 'ln_final.hook_scale', 'unembed.hook_out'],
    ...attention.filter((name) => hasPostNorm || !name.includes('ln1_post')),
  ];
  const { cache } = await model.runWithCache(tokens, { namesFilter });
  const direction = readDirection(model, answer, wrong);
  const scale = cache.get('ln_final.hook_scale').get(0, row, 0);
  // What a vector in the residual stream adds to the logit: its product with this one.
  const along = direction.map((x) => x / scale);
  const contributions: Contribution[] = [];
  const add = (kind: Contribution['kind'], layer: number, head: number | null, value: number) => {
    const place = head === null ? `L${layer} ${kind}` : `L${layer}H${head}`;
    contributions.push({ name: kind === 'embed' ? 'embed' : place, kind, layer, head, value });
  };
  add('embed', -1, null, dot(cache, hookName('embed'), [row], along));
  for (let layer = 0; layer < config.layers; layer++) {
    if (perHead) {
      const behind = hasPostNorm ? throughPostNorm(model, cache, layer, row, along) : along;
      for (let head = 0; head < config.heads; head++)
        add('head', layer, head, dot(cache, hookName('attn.result', layer), [row, head], behind));
    } else add('attn', layer, null, dot(cache, hookName('attn_out', layer), [row], along));
    add('mlp', layer, null, dot(cache, hookName('mlp_out', layer), [row], along));
  }
  const logits = cache.get('unembed.hook_out');
  const total = logits.get(0, row, answer) - (wrong === undefined ? 0 : logits.get(0, row, wrong));
  const sum = contributions.reduce((partial, { value }) => partial + value, 0);
  return { contributions, total, remainder: total - sum };
}

/** w ⊙ (U_answer − U_wrong), in the weights the policy stores. */
function readDirection(model: Model, answer: number, wrong: number | undefined): Float64Array {
  const { hiddenSize, tiedEmbeddings } = model.config;
  const matrix = storedWeight(model, tiedEmbeddings ? 'model.embed_tokens.weight' : 'lm_head.weight');
  const norm = normWeight(model, 'model.norm.weight');
  for (const token of wrong === undefined ? [answer] : [answer, wrong]) positionIn(matrix.length / hiddenSize, token);
  return norm.map((w, i) => {
    const other = wrong === undefined ? 0 : matrix[wrong * hiddenSize + i];
    return w * (matrix[answer * hiddenSize + i] - other);
  });
}

/** The direction as attention's heads see it before the norm of attention's output: w / scale ⊙ along. */
function throughPostNorm(model: Model, cache: ActivationCache, layer: number, row: number, along: Float64Array) {
  const weight = normWeight(model, `model.layers.${layer}.post_attention_layernorm.weight`);
  const scale = cache.get(hookName('ln1_post.scale', layer)).get(0, row, 0);
  return along.map((x, i) => (x * weight[i]) / scale);
}

/** What a norm multiplies by. */
function normWeight(model: Model, key: string): Float64Array {
  const weight = storedWeight(model, key);
  return model.config.modelType === 'gemma2' ? weight.map((w) => 1 + w) : weight;
}

function storedWeight({ checkpoint, executor }: Model, key: string): Float64Array {
  const type = typeAt(executor.policy, 'weights');
  return Float64Array.from(checkpoint.readTensor(key), (value) => roundTo(type, value));
}

function dot(cache: ActivationCache, hook: string, index: readonly number[], along: Float64Array): number {
  const value = cache.get(hook);
  return along.reduce((sum, x, i) => sum + x * value.get(0, ...index, i), 0);
}
