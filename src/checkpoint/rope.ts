/** Rotary parameters of config.json. */
import { show, showName } from './show.ts';
import type { RopeParameters } from './types.ts';

type Refuse = (key: string, value: unknown, expected: string, hint?: string) => never;

interface RopeKeys {
  rope_theta?: number | null | undefined;
  rope_parameters?: Record<string, unknown> | null | undefined;
  rope_scaling?: Record<string, unknown> | null | undefined;
  max_position_embeddings: number;
}

/** Read order: rope_parameters.rope_theta, then rope_theta, then 10,000; `rope_scaling` and `type` are old spellings. */
export function ropeParameters(raw: RopeKeys, refuse: Refuse): RopeParameters {
  if (raw.rope_parameters != null && raw.rope_scaling != null) {
    refuse('rope_scaling', raw.rope_scaling, 'none beside rope_parameters, its newer spelling');
  }
  const section = raw.rope_parameters != null ? 'rope_parameters' : 'rope_scaling';
  const parameters = raw.rope_parameters ?? raw.rope_scaling ?? {};
  const typeKey = 'rope_type' in parameters ? 'rope_type' : 'type';
  const type = parameters[typeKey] ?? 'default';
  const known = new Set([typeKey, 'rope_theta', ...(type === 'llama3' ? llama3Keys : [])]);
  if (type !== 'default' && type !== 'llama3') {
    refuse(`${section}.${typeKey}`, type, '"default" or "llama3"', 'this rope scaling is not supported yet');
  }
  for (const [key, value] of Object.entries(parameters)) {
    if (known.has(key) || (key === 'partial_rotary_factor' && value === 1)) continue;
    if (key === 'partial_rotary_factor') refuse(`${section}.${key}`, value, '1 or absent', partialRotary);
    if (layerTypes.includes(key)) {
      refuse(`${section}.${key}`, value, 'rope_type and rope_theta here, for all layers', perLayerRope);
    }
    refuse(`${section}.${showName(key)}`, value, `no key that the ${show(type)} rope does not use`);
  }
  const positive = (key: string, value: unknown, hint?: string): number =>
    typeof value === 'number' && Number.isFinite(value) && value > 0
      ? value
      : refuse(`${section}.${key}`, value, 'a positive number', hint);
  const theta = positive('rope_theta', parameters.rope_theta ?? raw.rope_theta ?? 10_000);
  if (type === 'default') return { type, theta };
  const [factor, low, high, original] = llama3Keys.map((key) =>
    positive(
      key,
      parameters[key] ?? (key === originalKey ? raw.max_position_embeddings : undefined),
      'the llama3 rope needs factor, low_freq_factor and high_freq_factor',
    ),
  );
  if (high <= low) refuse(`${section}.high_freq_factor`, high, `more than low_freq_factor (${low})`);
  return {
    type: 'llama3',
    theta,
    factor,
    lowFrequencyFactor: low,
    highFrequencyFactor: high,
    originalMaxPositions: original,
  };
}

const layerTypes = ['full_attention', 'sliding_attention'];
const partialRotary = 'rotating only a part of each head is not supported';
const perLayerRope = 'rope parameters of their own for each type of layer are not supported yet';
const originalKey = 'original_max_position_embeddings';
const llama3Keys = ['factor', 'low_freq_factor', 'high_freq_factor', originalKey];
