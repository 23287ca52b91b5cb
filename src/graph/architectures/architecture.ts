/** What an architecture file provides, and what a block is given. */
import type { GraphBuilder, Value } from '../builder.ts';

/** Inputs of a block beside the residual stream. */
export interface BlockInputs {
  /** [1, pos, 1, d_head], both halves equal, rounded at place `rotary_table`. */
  cos: Value;
  sin: Value;
  /** [pos, cache], 0 where visible and −inf where not. */
  mask: Value;
  /**
   * Store this step's rows and return what attention reads: past and new rows, [batch, cache, kv_head, d_head].
   * @param key, value [batch, pos, kv_head, d_head], key after rotary
   */
  readCache(key: Value, value: Value): { keys: Value; values: Value };
}

/** The three stages of a model, each reading like the paper's figure. */
export interface Architecture {
  /** tokens [batch, pos] → residual [batch, pos, d_model] */
  embed(g: GraphBuilder, tokens: Value): Value;
  /** residual → residual */
  block(g: GraphBuilder, layer: number, x: Value, inputs: BlockInputs): Value;
  /** residual → logits [batch, pos, d_vocab] */
  unembed(g: GraphBuilder, x: Value): Value;
}
