/** Full precision: every hook of whole forward passes, prefill and cached decode, against the library's values. */
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import type { ModelConfig } from '../../src/checkpoint/types.ts';
import { modelHooks } from '../../src/graph/hooks.ts';
import { resolveKernels } from '../../src/graph/kernels.ts';
import { policies, type RoundingPolicy } from '../../src/graph/rounding.ts';
import { type Activation, Executor } from '../../src/model/executor.ts';
import { forward } from '../../src/model/plans.ts';
import { type RotaryTables, rotaryTables } from '../../src/model/positions.ts';
import type { Expected } from './expected.ts';
import { allKeys, headsInside } from './layout.ts';

export interface HookDistances {
  /** Largest |difference| over largest |value|, by full hook name: the worst of all steps. */
  worst: Map<string, number>;
  /** Hooks whose name stands for no value of the library. */
  missing: string[];
}

/** Every hook in float64, with the library's float32 rotary tables, or (`exact`) with our exact ones. */
export async function compareFloat64(expected: Expected, tables: 'library' | 'exact'): Promise<HookDistances> {
  const { config } = await openCheckpoint(expected.checkpointDir);
  const given = tables === 'library' ? libraryTables(expected, config) : undefined;
  const worst = new Map<string, number>();
  const missing = new Set<string>();
  await eachStep(expected, policies.fp64, given, (step, activations) => {
    for (const [hook, activation] of activations) {
      const theirs = libraryValue(expected, config, step, hook);
      if (theirs === null) missing.add(hook);
      else worst.set(hook, Math.max(worst.get(hook) ?? 0, relativeDifference(activation, theirs)));
    }
  });
  return { worst, missing: [...missing] };
}

/** Logits in float32, each implementation with its own tables. */
export async function compareFloat32(expected: Expected): Promise<number> {
  let worst = 0;
  await eachStep(expected, policies.fp32, undefined, (step, activations) => {
    const theirs = expected.tensor('fp32', step, 'logits').data;
    worst = Math.max(worst, relativeDifference(activations.get('logits')!, theirs));
  });
  return worst;
}

/** Logits of whole runs in half precision, with all that earlier flips cause: relative L2, and how many are equal. */
export async function compareLogits(expected: Expected, run: string): Promise<{ distance: number; equal: number }> {
  let [difference, norm, equal, elements] = [0, 0, 0, 0];
  await eachStep(expected, policies[run], undefined, (step, activations) => {
    const ours = activations.get('logits')!.data;
    const name = expected.names(run, step).includes('capped') ? 'capped' : 'lm_head';
    for (const [i, value] of expected.tensor(run, step, name).data.entries()) {
      difference += (ours[i] - value) ** 2;
      norm += value ** 2;
      equal += Number(ours[i] === value);
      elements += 1;
    }
  });
  return { distance: Math.sqrt(difference / norm), equal: equal / elements };
}

/** Largest distance of float32 tables from exact ones at the positions that were run: the library's, and ours. */
export async function tableDistances(expected: Expected): Promise<{ library: number; ours: number }> {
  const { config } = await openCheckpoint(expected.checkpointDir);
  const library = libraryTables(expected, config);
  const count = library.cos.length / config.headDim;
  const exact = rotaryTables(config, policies.fp64, count);
  const ours = rotaryTables(config, policies.fp32, count);
  const largest = (tables: RotaryTables) =>
    Math.max(
      ...(['cos', 'sin'] as const).flatMap((part) => [...tables[part]].map((x, i) => Math.abs(x - exact[part][i]))),
    );
  return { library: largest(library), ours: largest(ours) };
}

async function eachStep(
  expected: Expected,
  policy: RoundingPolicy,
  tables: RotaryTables | undefined,
  visit: (step: number, activations: ReadonlyMap<string, Activation>) => void,
): Promise<void> {
  const checkpoint = await openCheckpoint(expected.checkpointDir);
  const executor = new Executor({
    ...{ checkpoint, policy, kernels: resolveKernels('ort'), threads: 1 },
    ...(tables ? { tables } : {}),
  });
  const { steps } = expected.index;
  const last = steps[steps.length - 1];
  const cache = executor.newCache(last.start + last.tokens.length);
  const hooks = new Set(modelHooks(executor.config).flatMap((hook) => (hook.definition.optIn ? [] : [hook.name])));
  for (const [step, { start, tokens }] of steps.entries()) {
    const kernel = step === 0 ? 'prefill' : 'decode';
    const { activations } = await forward(executor, { tokens, start, cache, kernel, capture: { hooks } });
    visit(step, activations);
  }
  await executor.release();
}

/** The library's tables, all steps' rows below each other. */
function libraryTables(expected: Expected, { headDim }: ModelConfig): RotaryTables {
  const rows = (part: 'cos' | 'sin') => {
    const parts = expected.index.steps.map((_, step) => expected.tensor('fp32', step, `rotary_emb.${part}`).data);
    const joined = Float64Array.from(parts.flatMap((each) => [...each]));
    if (joined.length % headDim !== 0) throw new Error(`rotary_emb.${part}: ${joined.length} numbers`);
    return joined;
  };
  return { cos: rows('cos'), sin: rows('sin') };
}

/** The library's value of a hook, in the hook's axis order; null where there is none. NaN: not compared (masked). */
function libraryValue(expected: Expected, config: ModelConfig, step: number, hook: string): Float64Array | null {
  const { heads, kvHeads, headDim, layers, modelType } = config;
  const { start, tokens } = expected.index.steps[step];
  const gemma = modelType === 'gemma2';
  const take = (name: string, at = step) => expected.tensor('fp64', at, name);
  if (hook === 'hook_embed') return take(gemma ? 'embed_tokens.scaled' : 'embed_tokens').data;
  if (hook === 'unembed.hook_out') return take('lm_head').data;
  if (hook === 'logits') return take(config.finalSoftcap === null ? 'lm_head' : 'capped').data;
  if (hook.startsWith('ln_final.')) return normValue(take, 'norm', hook);
  const [, layerText, name] = /^blocks\.(\d+)\.(.+)$/.exec(hook)!;
  const layer = Number(layerText);
  if (layer >= layers) return null;
  const path = `layers.${layer}`;
  const attention = `${path}.self_attn`;
  const norms: Record<string, string> = gemma
    ? {
        ...{ ln1: 'input_layernorm', ln1_post: 'post_attention_layernorm' },
        ...{ ln2: 'pre_feedforward_layernorm', ln2_post: 'post_feedforward_layernorm' },
      }
    : { ln1: 'input_layernorm', ln2: 'post_attention_layernorm' };
  const [first] = name.split('.');
  if (first in norms) return normValue(take, `${path}.${norms[first]}`, name);
  const rows = (part: string) =>
    Float64Array.from(
      expected.index.steps.slice(0, step + 1).flatMap((_, at) => {
        const value = take(`${attention}.${part}`, at);
        return [...(part === 'v_proj' ? value.data : headsInside(value, kvHeads, headDim).data)];
      }),
    );
  const pattern = () => allKeys(take(`${attention}.probabilities`), heads, tokens.length, start + tokens.length).data;
  const scores = () => {
    const value = take(`${attention}.${config.attentionSoftcap === null ? 'scores' : 'capped'}`);
    const probabilities = pattern();
    const keys = start + tokens.length;
    const window = config.slidingWindows[layer] ?? keys;
    // The library adds its mask after these scores. Probability 0 tells where, but a visible key's may underflow to 0 too; a
    // key that the library hides and kvlens does not is found in the pattern.
    const seen = (i: number) => {
      const [key, position] = [i % keys, start + (Math.floor(i / keys) % tokens.length)];
      return key <= position && key > position - window;
    };
    return allKeys(value, heads, tokens.length, keys).data.map((x, i) =>
      probabilities[i] === 0 && !seen(i) ? -Infinity : x,
    );
  };
  const values: Record<string, () => Float64Array> = {
    hook_resid_pre: () =>
      libraryValue(expected, config, step, layer === 0 ? 'hook_embed' : `blocks.${layer - 1}.hook_resid_post`)!,
    'attn.hook_q': () => take(`${attention}.q_proj`).data,
    'attn.hook_k': () => take(`${attention}.k_proj`).data,
    'attn.hook_v': () => take(`${attention}.v_proj`).data,
    'attn.q_norm.hook_out': () => take(`${attention}.q_norm.weighted`).data,
    'attn.k_norm.hook_out': () => take(`${attention}.k_norm.weighted`).data,
    'attn.hook_rot_q': () => headsInside(take(`${attention}.q_rotated`), heads, headDim).data,
    'attn.hook_rot_k': () => headsInside(take(`${attention}.k_rotated`), kvHeads, headDim).data,
    'attn.hook_cache_k': () => rows('k_rotated'),
    'attn.hook_cache_v': () => rows('v_proj'),
    'attn.hook_attn_scores': scores,
    'attn.hook_pattern': pattern,
    'attn.hook_z': () => headsInside(take(`${attention}.output`), heads, headDim).data,
    hook_attn_out: () => take(gemma ? `${path}.post_attention_layernorm.weighted` : `${attention}.o_proj`).data,
    hook_resid_mid: () => take(`${path}.attention_sum`).data,
    'mlp.hook_pre': () => take(`${path}.mlp.gate_proj`).data,
    'mlp.hook_pre_linear': () => take(`${path}.mlp.up_proj`).data,
    'mlp.hook_post': () => take(`${path}.mlp.product`).data,
    hook_mlp_out: () => take(gemma ? `${path}.post_feedforward_layernorm.weighted` : `${path}.mlp.down_proj`).data,
    hook_resid_post: () => take(`${path}.mlp_sum`).data,
  };
  return values[name]?.() ?? null;
}

function normValue(take: (name: string) => { data: Float64Array }, path: string, hook: string): Float64Array {
  if (hook.endsWith('hook_scale')) return take(`${path}.rsqrt`).data.map((x) => 1 / x);
  return take(`${path}.normalized`).data;
}

/** max |a − b| / max |b|; infinite where sizes, or masked elements (−∞), do not agree. */
function relativeDifference({ data }: Activation, expected: Float64Array): number {
  if (data.length !== expected.length) return Infinity;
  let [difference, largest] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    if (data[i] === expected[i]) continue;
    const apart = Math.abs(data[i] - expected[i]);
    difference = Number.isFinite(apart) ? Math.max(difference, apart) : Infinity;
  }
  for (const value of expected) if (Number.isFinite(value)) largest = Math.max(largest, Math.abs(value));
  return difference / largest;
}
