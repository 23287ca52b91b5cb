/**
 * Hook names: TransformerLens's, verbatim, with its axis orders, in the order a forward pass computes them.
 *
 * `blocks.{i}.attn.hook_cache_k|cache_v` are this project's: the rows attention really reads (past and new, after
 * rotary), which no other toolkit exposes.
 */
import type { ModelConfig, ModelType } from '../checkpoint/types.ts';
import { UsageError } from '../errors.ts';

/** Axes of an activation; `pos` counts the rows of this step, `cache` the rows attention reads. */
export type Axis =
  | 'batch'
  | 'pos'
  | 'cache'
  | 'head'
  | 'kv_head'
  | 'query'
  | 'key'
  | 'd_head'
  | 'd_model'
  | 'd_mlp'
  | 'd_vocab'
  | 'one';

export type HookStage = 'embed' | 'block' | 'unembed';

/** A kind of hook: its names, the stage that computes it and the order of its axes. */
export interface HookDefinition {
  /** Short name, used for files and `cache.get(kind, layer)`: the full name without `blocks.{i}.` and `hook_`. */
  kind: string;
  /** Name inside its stage; blocks prefix it with `blocks.{i}.`. */
  name: string;
  stage: HookStage;
  axes: readonly Axis[];
  /** In the `core` set. */
  core: boolean;
  /** Computed only when asked for by name (not part of `all`). */
  optIn: boolean;
  /** The families that compute it; absent: all. */
  families?: readonly ModelType[];
}

/** What decides which hooks a model has. */
export type HookedModel = Pick<ModelConfig, 'layers' | 'modelType'>;

const residual: readonly Axis[] = ['batch', 'pos', 'd_model'];
const scale: readonly Axis[] = ['batch', 'pos', 'one'];
const query: readonly Axis[] = ['batch', 'pos', 'head', 'd_head'];
const keyValue: readonly Axis[] = ['batch', 'pos', 'kv_head', 'd_head'];
const cached: readonly Axis[] = ['batch', 'cache', 'kv_head', 'd_head'];
const pattern: readonly Axis[] = ['batch', 'head', 'query', 'key'];
const hidden: readonly Axis[] = ['batch', 'pos', 'd_mlp'];
const vocabulary: readonly Axis[] = ['batch', 'pos', 'd_vocab'];

function define(
  stage: HookStage,
  name: string,
  axes: readonly Axis[],
  flags: 'core' | 'opt-in' | '' = '',
): HookDefinition {
  return { kind: name.replace('hook_', ''), name, stage, axes, core: flags === 'core', optIn: flags === 'opt-in' };
}

/** A norm of each head's q or k, before rotary. */
function headNorm(name: string, axes: readonly Axis[]): HookDefinition {
  return { ...define('block', name, axes), families: ['qwen3'] };
}

/** A norm on a sublayer's output, before the residual sum. */
function postNorm(name: string, axes: readonly Axis[]): HookDefinition {
  return { ...define('block', name, axes), families: ['gemma2'] };
}

/** Every hook kind in execution order. */
export const hookDefinitions: readonly HookDefinition[] = [
  define('embed', 'hook_embed', residual, 'core'),
  define('block', 'hook_resid_pre', residual, 'core'),
  define('block', 'ln1.hook_scale', scale),
  define('block', 'ln1.hook_normalized', residual),
  define('block', 'attn.hook_q', query),
  define('block', 'attn.hook_k', keyValue),
  define('block', 'attn.hook_v', keyValue, 'core'),
  headNorm('attn.q_norm.hook_out', query),
  headNorm('attn.k_norm.hook_out', keyValue),
  define('block', 'attn.hook_rot_q', query),
  define('block', 'attn.hook_rot_k', keyValue, 'core'),
  define('block', 'attn.hook_cache_k', cached),
  define('block', 'attn.hook_cache_v', cached),
  define('block', 'attn.hook_attn_scores', pattern),
  define('block', 'attn.hook_pattern', pattern),
  define('block', 'attn.hook_z', query),
  define('block', 'attn.hook_result', ['batch', 'pos', 'head', 'd_model'], 'opt-in'),
  postNorm('ln1_post.hook_scale', scale),
  postNorm('ln1_post.hook_normalized', residual),
  define('block', 'hook_attn_out', residual, 'core'),
  define('block', 'hook_resid_mid', residual, 'core'),
  define('block', 'ln2.hook_scale', scale),
  define('block', 'ln2.hook_normalized', residual),
  define('block', 'mlp.hook_pre', hidden),
  define('block', 'mlp.hook_pre_linear', hidden),
  define('block', 'mlp.hook_post', hidden),
  postNorm('ln2_post.hook_scale', scale),
  postNorm('ln2_post.hook_normalized', residual),
  define('block', 'hook_mlp_out', residual, 'core'),
  define('block', 'hook_resid_post', residual, 'core'),
  define('unembed', 'ln_final.hook_scale', scale),
  define('unembed', 'ln_final.hook_normalized', residual),
  define('unembed', 'unembed.hook_out', vocabulary),
  define('unembed', 'logits', vocabulary, 'core'),
];

const byKind = new Map(hookDefinitions.map((definition) => [definition.kind, definition]));
const byName = new Map(hookDefinitions.map((definition) => [definition.name, definition]));

/** One hook of one model: its definition and, for block hooks, its layer. */
export interface Hook {
  name: string;
  definition: HookDefinition;
  /** Block index; −1 for the embedding, `layers` for the final norm and the logits. */
  layer: number;
}

/** Full name of a hook, for example `hookName('attn.rot_k', 3)` → `blocks.3.attn.hook_rot_k`. */
export function hookName(kind: string, layer?: number): string {
  const definition = byKind.get(kind);
  if (!definition)
    throw new UsageError(`unknown hook kind "${kind}", expected one of ${[...byKind.keys()].join(', ')}`);
  if (definition.stage !== 'block') return definition.name;
  if (layer === undefined) throw new UsageError(`hook kind "${kind}" needs a layer`);
  return `blocks.${layer}.${definition.name}`;
}

/** All hooks of a model, in execution order, opt-in ones included. */
export function modelHooks(model: HookedModel): Hook[] {
  const { layers } = model;
  const inStage = (stage: HookStage, layer: number): Hook[] =>
    hookDefinitions
      .filter((definition) => definition.stage === stage && has(model, definition))
      .map((definition) => ({
        name: stage === 'block' ? `blocks.${layer}.${definition.name}` : definition.name,
        definition,
        layer,
      }));
  return [
    ...inStage('embed', -1),
    ...Array.from({ length: layers }, (_, layer) => inStage('block', layer)).flat(),
    ...inStage('unembed', layers),
  ];
}

function has({ modelType }: HookedModel, { families }: HookDefinition): boolean {
  return families === undefined || families.includes(modelType);
}

/** True if a model has hooks of this kind. */
export function hasKind(model: HookedModel, kind: string): boolean {
  const definition = byKind.get(kind);
  return definition !== undefined && has(model, definition);
}

/** The hook with this full name in a model, or null. */
export function findHook(name: string, model: HookedModel): Hook | null {
  const definition = definitionOf(name);
  if (!definition || !has(model, definition)) return null;
  const { layers } = model;
  if (definition.stage !== 'block') return { name, definition, layer: definition.stage === 'embed' ? -1 : layers };
  const layer = Number(name.split('.')[1]);
  return layer >= layers ? null : { name, definition, layer };
}

/** What a full name means in any model, or null. */
export function definitionOf(name: string): HookDefinition | null {
  const block = /^blocks\.\d+\.(.+)$/.exec(name);
  const definition = byName.get(block ? block[1] : name);
  return definition && (definition.stage === 'block') === (block !== null) ? definition : null;
}

/** Other spellings of block hooks: TransformerLens 4's bridge, and Hugging Face's module paths (outputs of modules). */
const blockAliases: Record<string, string> = {
  hook_in: 'hook_resid_pre',
  hook_out: 'hook_resid_post',
  'attn.q.hook_out': 'attn.hook_q',
  'attn.k.hook_out': 'attn.hook_k',
  'attn.v.hook_out': 'attn.hook_v',
  'attn.o.hook_in': 'attn.hook_z',
  'attn.hook_out': 'hook_attn_out',
  'mlp.gate.hook_out': 'mlp.hook_pre',
  'mlp.in.hook_out': 'mlp.hook_pre_linear',
  'mlp.out.hook_in': 'mlp.hook_post',
  'mlp.hook_out': 'hook_mlp_out',
  'self_attn.q_proj': 'attn.hook_q',
  'self_attn.k_proj': 'attn.hook_k',
  'self_attn.v_proj': 'attn.hook_v',
  'self_attn.o_proj': 'hook_attn_out',
  self_attn: 'hook_attn_out',
  'mlp.gate_proj': 'mlp.hook_pre',
  'mlp.up_proj': 'mlp.hook_pre_linear',
  'mlp.down_proj': 'hook_mlp_out',
  mlp: 'hook_mlp_out',
};
const modelAliases: Record<string, string> = {
  'embed.hook_out': 'hook_embed',
  'model.embed_tokens': 'hook_embed',
  lm_head: 'unembed.hook_out',
};

/** A hook's TransformerLens name from any accepted spelling; unknown spellings come back unchanged. */
export function canonicalHookName(name: string): string {
  if (Object.hasOwn(modelAliases, name)) return modelAliases[name];
  const module = /^(?:model\.layers|blocks)\.(\d+|\*)(?:\.(.+))?$/.exec(name);
  if (!module) return name;
  const [, layer, rest] = module;
  if (rest === undefined) return name.startsWith('model.') ? `blocks.${layer}.hook_resid_post` : name;
  return Object.hasOwn(blockAliases, rest) ? `blocks.${layer}.${blockAliases[rest]}` : name;
}

/**
 * The hooks that GLOB selects: `core`, `all`, or names and globs separated by commas (`*` matches dots too).
 * Opt-in hooks are selected only by a glob that names them without a trailing `*`.
 * @param source where the globs come from, for the error
 * @throws UsageError if a part selects nothing.
 */
export function selectHooks(globs: string, model: HookedModel, source = '--hooks'): Hook[] {
  const hooks = modelHooks(model);
  const chosen = new Set<Hook>();
  for (const part of globs.split(',').map((text) => text.trim())) {
    const matches = hooks.filter((hook) => matchesGlob(part, hook));
    if (matches.length === 0) {
      throw new UsageError(
        `${source}: "${part}" matches no hook of this model, expected core, all, or a name such as blocks.0.hook_resid_post`,
        `layers are 0 … ${model.layers - 1}; "*" matches dots too`,
      );
    }
    for (const hook of matches) chosen.add(hook);
  }
  return hooks.filter((hook) => chosen.has(hook));
}

function matchesGlob(glob: string, hook: Hook): boolean {
  if (glob === 'core') return hook.definition.core;
  if (glob === 'all' || glob === '*') return !hook.definition.optIn;
  const name = canonicalHookName(glob);
  if (hook.definition.optIn && !name.endsWith(hook.definition.name)) return false;
  const pattern = name.replaceAll(/[.+?^${}()|[\]\\]/g, '\\$&').replaceAll('*', '.*');
  return new RegExp(`^${pattern}$`).test(hook.name);
}

/** True for `blocks.{i}.attn.hook_cache_k|cache_v`. */
export function isCacheHook(name: string): boolean {
  return name.endsWith('.attn.hook_cache_k') || name.endsWith('.attn.hook_cache_v');
}
