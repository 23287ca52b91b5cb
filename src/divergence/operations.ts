/**
 * The operations between hooks: which hooks each one reads. An *origin* of divergence is an operation whose inputs are
 * all bit-equal between the arms, on the rows the newest position depends on, and whose output is not.
 */
import { type Hook, type HookedModel, hasKind, hookName } from '../graph/hooks.ts';

interface Operation {
  /**
   * Kinds of the hooks it reads, in its own layer; `previous` is the residual stream entering the layer. Of several kinds
   * joined by `|` it reads the first that the model has.
   */
  inputs: readonly (string | 'previous')[];
  /** In the architecture's words; joined by `|` like the first of the inputs. */
  label: string;
}

const operations: Record<string, Operation> = {
  embed: { inputs: [], label: 'token embedding' },
  resid_pre: { inputs: ['previous'], label: 'residual stream entering the block' },
  'ln1.scale': { inputs: ['resid_pre'], label: 'root mean square of the attention norm' },
  'ln1.normalized': { inputs: ['resid_pre', 'ln1.scale'], label: 'attention norm' },
  'attn.q': { inputs: ['ln1.normalized'], label: 'query projection' },
  'attn.k': { inputs: ['ln1.normalized'], label: 'key projection' },
  'attn.v': { inputs: ['ln1.normalized'], label: 'value projection' },
  'attn.q_norm.out': { inputs: ['attn.q'], label: 'norm of the query' },
  'attn.k_norm.out': { inputs: ['attn.k'], label: 'norm of the key' },
  'attn.rot_q': { inputs: ['attn.q_norm.out|attn.q'], label: 'rotary embedding of the query' },
  'attn.rot_k': { inputs: ['attn.k_norm.out|attn.k'], label: 'rotary embedding of the key' },
  // Rows written at earlier steps are inputs too; at the first differing step they are equal, or this is not it.
  'attn.cache_k': { inputs: ['attn.rot_k'], label: 'key cache: rows written → rows read' },
  'attn.cache_v': { inputs: ['attn.v'], label: 'value cache: rows written → rows read' },
  'attn.attn_scores': { inputs: ['attn.rot_q', 'attn.cache_k'], label: 'q kᵀ' },
  'attn.pattern': { inputs: ['attn.attn_scores'], label: 'softmax' },
  'attn.z': { inputs: ['attn.pattern', 'attn.cache_v'], label: 'pattern · v' },
  'attn.result': { inputs: ['attn.z'], label: 'output projection per head' },
  // Gemma-2 norms what attention and MLP return; the projection before it has no hook of its own.
  'ln1_post.scale': { inputs: ['attn.z'], label: 'output projection and its root mean square' },
  'ln1_post.normalized': { inputs: ['attn.z', 'ln1_post.scale'], label: 'norm of the output projection' },
  attn_out: { inputs: ['ln1_post.normalized|attn.z'], label: 'weight of the norm|output projection' },
  resid_mid: { inputs: ['resid_pre', 'attn_out'], label: 'residual add after attention' },
  'ln2.scale': { inputs: ['resid_mid'], label: 'root mean square of the MLP norm' },
  'ln2.normalized': { inputs: ['resid_mid', 'ln2.scale'], label: 'MLP norm' },
  'mlp.pre': { inputs: ['ln2.normalized'], label: 'gate projection' },
  'mlp.pre_linear': { inputs: ['ln2.normalized'], label: 'up projection' },
  'mlp.post': { inputs: ['mlp.pre', 'mlp.pre_linear'], label: 'activation(gate) ⊙ up' },
  'ln2_post.scale': { inputs: ['mlp.post'], label: 'down projection and its root mean square' },
  'ln2_post.normalized': { inputs: ['mlp.post', 'ln2_post.scale'], label: 'norm of the down projection' },
  mlp_out: { inputs: ['ln2_post.normalized|mlp.post'], label: 'weight of the norm|down projection' },
  resid_post: { inputs: ['resid_mid', 'mlp_out'], label: 'residual add after the MLP' },
  'ln_final.scale': { inputs: ['previous'], label: 'root mean square of the final norm' },
  'ln_final.normalized': { inputs: ['previous', 'ln_final.scale'], label: 'final norm' },
  'unembed.out': { inputs: ['ln_final.normalized'], label: 'unembedding' },
  logits: { inputs: ['unembed.out'], label: 'logits' },
};

/** Full names of the hooks an operation reads. */
export function inputsOf(hook: Hook, model: HookedModel): string[] {
  const { inputs } = operations[hook.definition.kind];
  const previous = hook.layer === 0 ? hookName('embed') : hookName('resid_post', hook.layer - 1);
  return inputs.map((kinds) =>
    kinds === 'previous' ? previous : hookName(kinds.split('|')[chosen(kinds, model)], hook.layer),
  );
}

/** Which of the kinds joined by `|` a model has. */
function chosen(kinds: string, model: HookedModel): number {
  return Math.max(
    0,
    kinds.split('|').findIndex((kind) => hasKind(model, kind)),
  );
}

/** The operation that produces a hook, in words, with its block. */
export function describeOperation(hook: Hook, model: HookedModel): string {
  const { label, inputs } = operations[hook.definition.kind];
  const words = label.split('|');
  const text = words.length > 1 ? words[chosen(inputs[0], model)] : label;
  return hook.definition.stage === 'block' ? `${text}, block ${hook.layer}` : text;
}

/** True if the operation reads rows that earlier steps wrote. */
export function readsCache(hook: Hook, model: HookedModel): boolean {
  return inputsOf(hook, model).some((name) => name.includes('.hook_cache_'));
}

/**
 * The origins among compared hooks: those that differ although everything they read is equal.
 * @param hooks all hooks of the model in execution order
 * @param differs null where a hook was not compared
 */
export function findOrigins(
  hooks: readonly Hook[],
  model: HookedModel,
  differs: (name: string) => boolean | null,
): Hook[] {
  return hooks.filter((hook) => {
    if (hook.definition.optIn || differs(hook.name) !== true) return false;
    return inputsOf(hook, model).every((name) => differs(name) === false);
  });
}
