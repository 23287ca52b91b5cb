/** Build the graphs of a model: one per stage (embedding, each block, unembedding) or all of it in a single file. */
import { contains, type StorageType } from '../numerics/types.ts';
import type { BlockInputs } from './architectures/architecture.ts';
import { architectures } from './architectures/index.ts';
import { type BuiltGraph, GraphBuilder, type GraphOptions, type Value } from './builder.ts';
import { hookName } from './hooks.ts';
import { typeAt } from './rounding.ts';

/** A part of a model that one session runs. */
export type Stage = 'embed' | 'unembed' | { block: number };

/** Names of the inputs that are not hooks. */
export const inputNames = {
  tokens: 'input_ids',
  cos: 'rotary_cos',
  sin: 'rotary_sin',
  /** Layers that see all keys, and layers that slide, have masks of their own. */
  mask: (window: number | null) => (window === null ? 'attention_mask' : 'sliding_attention_mask'),
  pastKeys: (layer: number) => `blocks.${layer}.attn.past_k`,
  pastValues: (layer: number) => `blocks.${layer}.attn.past_v`,
  /** Outputs: this step's K/V rows as the cache stores them. */
  newKeys: (layer: number) => `blocks.${layer}.attn.new_k`,
  newValues: (layer: number) => `blocks.${layer}.attn.new_v`,
} as const;

/** The graph of one stage. The residual stream enters a block as `blocks.{i}.hook_resid_pre`. */
export function buildStage(stage: Stage, options: GraphOptions): BuiltGraph {
  const g = new GraphBuilder(options);
  const architecture = architectures[g.config.modelType];
  if (stage === 'embed') {
    architecture.embed(g, tokensInput(g));
    return g.finish('embed');
  }
  const { layers, hiddenSize } = g.config;
  const residual = (name: string, type: StorageType) => g.input(name, ['batch', 'pos', hiddenSize], type);
  if (stage === 'unembed') {
    architecture.unembed(g, residual(hookName('resid_post', layers - 1), typeAt(g.policy, 'residual')));
    return g.finish('unembed');
  }
  const { block } = stage;
  const name = hookName('resid_pre', block);
  // The first block reads the embedding; it need not be what the policy rounds the residual stream to.
  const type = typeAt(g.policy, block === 0 ? 'embedding' : 'residual');
  architecture.block(g, block, g.hook(name, residual(name, type)), blockInputs(g, [block])(block));
  return g.finish(`block_${block}`);
}

/** The whole model as one graph; inputs and outputs carry the same names as in the per-stage graphs. */
export function buildSingle(options: GraphOptions): BuiltGraph {
  const g = new GraphBuilder(options);
  const architecture = architectures[g.config.modelType];
  const layers = Array.from({ length: g.config.layers }, (_, layer) => layer);
  const tokens = tokensInput(g);
  const inputsOf = blockInputs(g, layers);
  let x = architecture.embed(g, tokens);
  for (const layer of layers)
    x = architecture.block(g, layer, g.hook(hookName('resid_pre', layer), x), inputsOf(layer));
  architecture.unembed(g, x);
  return g.finish('model');
}

function tokensInput(g: GraphBuilder): Value {
  return g.input(inputNames.tokens, ['batch', 'pos'], g.compute, 'int64');
}

/** Declare the inputs that blocks share, and those of each block. */
function blockInputs(g: GraphBuilder, layers: number[]): (layer: number) => BlockInputs {
  const { kvHeads, headDim } = g.config;
  const tableType = typeAt(g.policy, 'rotary_table');
  const cos = g.input(inputNames.cos, [1, 'pos', 1, headDim], tableType);
  const sin = g.input(inputNames.sin, [1, 'pos', 1, headDim], tableType);
  const windows = new Set(layers.map((layer) => g.config.slidingWindows[layer]));
  const masks = new Map([...windows].map((window) => [window, g.input(inputNames.mask(window), ['pos', 'cache'])]));
  const row = (length: string) => ['batch', length, kvHeads, headDim];
  const past = new Map(
    layers.map((layer) => [
      layer,
      {
        keys: g.input(inputNames.pastKeys(layer), row('past')),
        values: g.input(inputNames.pastValues(layer), row('past')),
      },
    ]),
  );
  return (layer) => ({
    cos,
    sin,
    mask: masks.get(g.config.slidingWindows[layer])!,
    readCache(key, value) {
      const stored = { keys: g.round(key, 'kv'), values: g.round(value, 'kv') };
      g.expose(inputNames.newKeys(layer), stored.keys, row('pos'));
      g.expose(inputNames.newValues(layer), stored.values, row('pos'));
      const { keys, values } = past.get(layer)!;
      const read = (name: string, old: Value, fresh: Value) =>
        g.hook(hookName(name, layer), g.op('Concat', [old, fresh], { axis: 1 }, cacheType(fresh)));
      return { keys: read('attn.cache_k', keys, stored.keys), values: read('attn.cache_v', values, stored.values) };
    },
  });

  function cacheType(fresh: Value) {
    const kv = typeAt(g.policy, 'kv');
    return contains(kv, fresh.type) ? kv : fresh.type;
  }
}
