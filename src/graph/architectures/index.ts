/** The architectures by config.json's `model_type`. */
import type { ModelType } from '../../checkpoint/types.ts';
import type { Architecture } from './architecture.ts';
import { gemma2 } from './gemma2.ts';
import { llama } from './llama.ts';
import { mistral } from './mistral.ts';
import { qwen2, qwen3 } from './qwen.ts';

export const architectures: Record<ModelType, Architecture> = { llama, mistral, gemma2, qwen2, qwen3 };
