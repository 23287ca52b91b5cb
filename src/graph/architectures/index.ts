/** The architectures by config.json's `model_type`. */
import type { ModelConfig } from '../../checkpoint/types.ts';
import type { Architecture } from './architecture.ts';
import { llama } from './llama.ts';

export const architectures: Record<ModelConfig['modelType'], Architecture> = { llama };
