/**
 * The logit lens (nostalgebraist 2020): what the model would say if it stopped after each layer. The residual stream at
 * every layer goes through the final norm and the unembedding, as the last one does.
 */
import ndarray, { type NdArray } from 'ndarray';
import type { ActivationCache } from '../../model/activation-cache.ts';
import { allocate, type FloatArray } from '../../model/arrays.ts';
import { captureNothing } from '../../model/executor.ts';
import type { Model } from '../../model/model.ts';
import type { PatchInput } from '../sweep/act-patch.ts';
import { tokenLabel } from '../sweep/labels.ts';

/** The final norm and the unembedding applied to the residual stream at every depth. */
export interface LogitLens {
  /** [layer, pos, d_vocab]: before block 0, then after each block; the last are the model's own logits. */
  logits: NdArray<FloatArray>;
  /** `0_pre`, `0_post`, … */
  layers: string[];
  /** `0:The`, … where the tokens are known, else the positions. */
  positions: string[];
}

/**
 * Logits of every layer's residual stream.
 * @param input a prompt, or the cache of a run with `resid_pre` of block 0 and every `resid_post`
 */
export async function logitLens(model: Model, input: PatchInput | ActivationCache): Promise<LogitLens> {
  const isPrompt = typeof input === 'string' || !('get' in input);
  const tokens = isPrompt ? (typeof input === 'string' ? model.toTokens(input) : input) : null;
  const namesFilter = ['blocks.0.hook_resid_pre', '*.hook_resid_post'];
  const cache = isPrompt ? (await model.runWithCache(tokens ?? [], { namesFilter })).cache : input;
  const { stack, labels } = cache.accumulatedResid();
  const [layers, , count, width] = stack.shape;
  const { executor } = model;
  const { vocabSize } = model.config;
  const logits = allocate(executor.compute, layers * count * vocabSize);
  for (let layer = 0; layer < layers; layer++) {
    const residual = stack.data.subarray(layer * count * width, (layer + 1) * count * width);
    // As many rows as the model's own pass has: the same kernel.
    const found = await executor.unembed(residual, count, 'prefill', captureNothing);
    logits.set(found.get('logits')!.data, layer * count * vocabSize);
  }
  const positions = Array.from({ length: count }, (_, i) =>
    tokens ? `${i}:${tokenLabel(model, tokens[i])}` : String(i),
  );
  return { logits: ndarray(logits, [layers, count, vocabSize]), layers: labels, positions };
}
