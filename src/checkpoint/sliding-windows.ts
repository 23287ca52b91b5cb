/** Sliding windows of config.json: which layers slide, and how far. */
import { families } from './families.ts';
import type { ModelType } from './types.ts';

type Refuse = (key: string, value: unknown, expected: string, hint?: string) => never;

interface WindowKeys {
  num_hidden_layers: number;
  layer_types?: string[] | null | undefined;
  sliding_window?: number | null | undefined;
  use_sliding_window: boolean;
  max_window_layers: number;
}

/** Per layer how many keys a row sees, itself included; null: all. */
export function slidingWindows(raw: WindowKeys, modelType: ModelType, refuse: Refuse): (number | null)[] {
  const { knows } = families[modelType];
  const { num_hidden_layers: layers, layer_types: types, sliding_window: given } = raw;
  if (types != null && types.length !== layers) {
    refuse('layer_types', types, `${layers} entries, one for each of num_hidden_layers, not ${types.length}`);
  }
  const unknownType = types?.find((type) => type !== 'full_attention' && type !== 'sliding_attention');
  if (unknownType !== undefined) refuse('layer_types', types, 'a list of "full_attention" and "sliding_attention"');
  if (!knows.includes('use_sliding_window') && raw.use_sliding_window) {
    refuse('use_sliding_window', true, 'false or absent', `${modelType} models do not have it`);
  }
  if (!knows.includes('sliding_window') && given != null) {
    refuse('sliding_window', given, 'null or absent', `${modelType} models do not slide`);
  }
  const windows = Array.from({ length: layers }, (_, layer) => windowOf(raw, modelType, layer));
  // Implementations differ in which of two contradicting keys they follow.
  const contradicted = windows.findIndex((window, i) => types != null && isSliding(types[i]) !== (window !== null));
  if (contradicted >= 0) {
    const expected = windows[contradicted] === null ? 'full_attention' : 'sliding_attention';
    refuse(`layer_types.${contradicted}`, types?.[contradicted], `"${expected}", as ${deciding(raw, modelType)}`);
  }
  return windows;
}

const isSliding = (type: string) => type === 'sliding_attention';

function windowOf(raw: WindowKeys, modelType: ModelType, layer: number): number | null {
  const { knows } = families[modelType];
  if (!knows.includes('sliding_window')) return null;
  if (knows.includes('use_sliding_window') && !raw.use_sliding_window) return null;
  // An absent key is the class's 4,096, an explicit null is off.
  const window = raw.sliding_window === undefined ? 4096 : raw.sliding_window;
  // Mistral slides in all layers or in none.
  if (modelType === 'mistral') return window;
  if (raw.layer_types != null) return isSliding(raw.layer_types[layer]) ? window : null;
  const slides = modelType === 'gemma2' ? layer % 2 === 0 : layer >= raw.max_window_layers;
  return slides ? window : null;
}

/** The key that decides against layer_types, with its value. */
function deciding(raw: WindowKeys, modelType: ModelType): string {
  const { knows } = families[modelType];
  if (!knows.includes('sliding_window')) return `${modelType} models do not slide`;
  if (knows.includes('use_sliding_window') && !raw.use_sliding_window) return 'use_sliding_window is false';
  if (raw.sliding_window === null) return 'sliding_window is null';
  return `every layer of a ${modelType} model slides (sliding_window ${raw.sliding_window ?? '4096, the default'})`;
}
