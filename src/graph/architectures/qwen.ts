/**
 * Qwen2 and Qwen3 (Hugging Face `modeling_qwen2.py`, `modeling_qwen3.py`): LLaMA's forward pass; Qwen2 adds a bias to q, k
 * and v, Qwen3 an RMS norm of each head's q and k before rotary.
 */
import type { Architecture } from './architecture.ts';
import { llama } from './llama.ts';

export const qwen2: Architecture = llama;
export const qwen3: Architecture = llama;
