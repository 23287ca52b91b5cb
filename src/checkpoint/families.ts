/** What Hugging Face's configuration class of each family assumes, and which keys it knows. */
import type { ModelConfig, ModelType } from './types.ts';

/** What a family's configuration class assumes for absent keys, and which of the used keys it knows. */
export interface Family {
  kvHeads: number | null;
  headDim: number | null;
  maxPositions: number;
  tiedEmbeddings: boolean;
  activation: ModelConfig['activation'];
  /** Used keys that only some families know; in others they are refused unless neutral. */
  knows: readonly ('sliding_window' | 'use_sliding_window' | 'softcaps' | 'query_pre_attn_scalar' | 'layer_types')[];
  attentionBias: boolean;
  queryKeyNorm: boolean;
}

const llamaLike: Family = {
  ...{ kvHeads: null, headDim: null, maxPositions: 2048, tiedEmbeddings: false, activation: 'silu' },
  ...{ knows: [], attentionBias: false, queryKeyNorm: false },
};
/** The supported families, by `model_type`. */
export const families: Record<ModelType, Family> = {
  llama: llamaLike,
  mistral: { ...llamaLike, kvHeads: 8, maxPositions: 131_072, knows: ['sliding_window'] },
  gemma2: {
    ...{ kvHeads: 4, headDim: 256, maxPositions: 8192, tiedEmbeddings: true, activation: 'gelu_tanh' },
    ...{ attentionBias: false, queryKeyNorm: false },
    knows: ['sliding_window', 'softcaps', 'query_pre_attn_scalar', 'layer_types'],
  },
  qwen2: {
    ...{ ...llamaLike, kvHeads: 32, maxPositions: 32_768, attentionBias: true },
    knows: ['sliding_window', 'use_sliding_window', 'layer_types'],
  },
  qwen3: {
    ...{ ...llamaLike, kvHeads: 32, headDim: 128, maxPositions: 32_768, queryKeyNorm: true },
    knows: ['sliding_window', 'use_sliding_window', 'layer_types'],
  },
};
