/**
 * Mistral (Jiang et al. 2023; Hugging Face `modeling_mistral.py`): LLaMA's forward pass with grouped-query attention and,
 * in v0.1, a sliding window in every layer (a mask of the executor's; v0.2 and later see all keys). rope_theta is 1e6
 * from v0.2 on.
 */
import type { Architecture } from './architecture.ts';
import { llama } from './llama.ts';

export const mistral: Architecture = llama;
