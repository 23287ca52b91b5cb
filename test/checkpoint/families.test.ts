/** What each family's configuration means: published files, class defaults for absent keys, and rope frequencies. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { readConfig } from '../../src/checkpoint/config.ts';
import { requiredTensors } from '../../src/checkpoint/required-tensors.ts';
import { causalMask, inverseFrequencies } from '../../src/model/positions.ts';
import { sharedPath } from '../shared.ts';

const folder = mkdtempSync(join(tmpdir(), 'kvlens-families-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
function read(config: object) {
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
  return readConfig(folder, false).config;
}
const shape = {
  ...{ vocab_size: 64, hidden_size: 32, intermediate_size: 48, num_hidden_layers: 4, num_attention_heads: 4 },
  ...{ num_key_value_heads: 2, head_dim: 8 },
};

const published = sharedPath('data', 'configs');
test.skipIf(published === null).each([
  ['llama-2-7b-hf', { modelType: 'llama', layers: 32, heads: 32, kvHeads: 32, headDim: 128, activation: 'silu' }, null],
  ['mistral-7b-v0.3', { modelType: 'mistral', layers: 32, heads: 32, kvHeads: 8, headDim: 128 }, null],
  [
    'gemma-2-2b',
    {
      ...{ modelType: 'gemma2', layers: 26, heads: 8, kvHeads: 4, headDim: 256, activation: 'gelu_tanh' },
      ...{ attentionSoftcap: 50, finalSoftcap: 30, scoreScale: 1 / 16, tiedEmbeddings: true },
    },
    4096,
  ],
])('%s', (name, expected, window) => {
  const config = read(JSON.parse(readFileSync(join(String(published), `${name}.config.json`), 'utf8')));
  expect(config).toMatchObject(expected);
  // Gemma-2's layer 0 slides.
  expect(config.slidingWindows.slice(0, 2)).toEqual([window, null]);
});

describe('sliding windows', () => {
  test.each<[string, object, (number | null)[]]>([
    ['an absent key is 4,096 in every Mistral layer', { model_type: 'mistral' }, [4096, 4096, 4096, 4096]],
    ['an explicit null is off', { model_type: 'mistral', sliding_window: null }, [null, null, null, null]],
    ["Gemma-2's even layers slide", { model_type: 'gemma2', sliding_window: 16 }, [16, null, 16, null]],
    [
      'layer_types decide where they are given',
      {
        ...{ model_type: 'gemma2', sliding_window: 16 },
        layer_types: ['full_attention', 'sliding_attention', 'full_attention', 'full_attention'],
      },
      [null, 16, null, null],
    ],
    ['Qwen2 slides only where it is told to', { model_type: 'qwen2', sliding_window: 16 }, [null, null, null, null]],
    [
      'and from max_window_layers on',
      { model_type: 'qwen2', sliding_window: 16, use_sliding_window: true, max_window_layers: 2 },
      [null, null, 16, 16],
    ],
  ])('%s', (_, keys, expected) => {
    expect(read({ ...shape, ...keys }).slidingWindows).toEqual(expected);
  });

  test('a row sees W keys, itself included', () => {
    const mask = causalMask('f32', 3, 2, 2);
    const visible = [0, 1].map((row) => Array.from(mask.subarray(row * 5, row * 5 + 5), (value) => value === 0));
    expect(visible).toEqual([
      [false, false, true, true, false],
      [false, false, false, true, true],
    ]);
  });
});

test('tensors of a family: biases of Qwen2, head norms of Qwen3, post-norms of Gemma-2', () => {
  const names = (modelType: string) => [...requiredTensors(read({ ...shape, model_type: modelType })).keys()];
  const first = (name: string) => `model.layers.0.${name}`;
  expect(names('qwen2')).toContain(first('self_attn.v_proj.bias'));
  expect(names('qwen3')).toContain(first('self_attn.k_norm.weight'));
  expect(names('gemma2')).toContain(first('post_feedforward_layernorm.weight'));
  expect(names('gemma2')).not.toContain('lm_head.weight');
  expect(names('llama').some((name) => /bias|_norm|feedforward/.test(name.replace('layernorm', '')))).toBe(false);
});

test("Llama 3's frequencies: kept, interpolated and stretched", () => {
  const rope = {
    ...{ type: 'llama3' as const, theta: 500_000, factor: 8, lowFrequencyFactor: 1, highFrequencyFactor: 4 },
    originalMaxPositions: 8192,
  };
  const found = inverseFrequencies(rope, 128);
  // Values computed for the published parameters, in single precision throughout.
  const expected: [number, number][] = [
    [0, 1],
    [28, 0.00321144611],
    [29, 0.00216657063],
    [34, 0.000178507791],
    [35, 9.55621217e-5],
    [63, 3.06892588e-7],
  ];
  for (const [i, value] of expected) expect(Math.abs(found[i] / value - 1)).toBeLessThan(3e-7);
});
