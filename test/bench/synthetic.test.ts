/** Synthetic checkpoints are what a trained model's would be to a bench: readable, finite, never twice the same row. */
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { type SyntheticOptions, writeSynthetic } from '../../bench/synthetic.mts';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { Model } from '../../src/model/model.ts';
import { readSafetensors, type StoredTensor } from '../reference/safetensors.ts';

const folder = mkdtempSync(join(tmpdir(), 'kvlens-synthetic-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const shape = {
  ...{ vocab_size: 300, hidden_size: 64, intermediate_size: 160, num_hidden_layers: 4, num_attention_heads: 4 },
  ...{ num_key_value_heads: 2, head_dim: 16, max_position_embeddings: 64, tie_word_embeddings: false },
};
const families = [
  { model_type: 'llama', tie_word_embeddings: true },
  { model_type: 'llama' },
  { model_type: 'mistral', sliding_window: null },
  { model_type: 'gemma2', tie_word_embeddings: true },
  { model_type: 'qwen2' },
  { model_type: 'qwen3', layer_types: Array(4).fill('full_attention') },
];
let counter = 0;
/** Write one; returns its folder. */
function write(config: object, options: SyntheticOptions = {}): string {
  const name = join(folder, String(counter++));
  writeFileSync(`${name}.json`, JSON.stringify({ ...shape, ...config }));
  writeSynthetic(`${name}.json`, name, options);
  return name;
}

/** Every tensor, decoded by another reader than kvlens's. */
function readAll(dir: string): Map<string, StoredTensor> {
  const files = readdirSync(dir).filter((file) => file.endsWith('.safetensors'));
  return new Map(files.flatMap((file) => [...readSafetensors(join(dir, file))]));
}

const digest = (data: Float64Array) => createHash('sha256').update(new Uint8Array(data.buffer)).digest('hex');
const deviation = ({ data }: StoredTensor) => Math.sqrt(data.reduce((sum, x) => sum + x * x, 0) / data.length);

describe.each(families)('$model_type, tied $tie_word_embeddings', (config) => {
  test('half precision stays finite, the residual stream near its scale, and every token gives other logits', async () => {
    const model = await Model.open(write(config));
    const { logits, cache } = await model.runWithCache([0, 1, 2, 150, 299], { namesFilter: '*.hook_resid_post' });
    const last = Array.from(cache.get('resid_post', 3).data);
    const rms = Math.sqrt(last.reduce((sum, x) => sum + x * x, 0) / last.length);
    await model.release();
    expect(logits?.shape).toEqual([1, 5, 300]);
    const values = Array.from(logits!.data);
    expect(values.every(Number.isFinite)).toBe(true);
    expect(rms).toBeGreaterThan(0.05);
    expect(rms).toBeLessThan(10);
    const rows = Array.from({ length: 5 }, (_, row) => values.slice(row * 300, row * 300 + 300));
    const winners = rows.map((row) => row.indexOf(Math.max(...row)));
    expect(new Set(winners).size).toBeGreaterThan(3);
    // A spread of logits is what makes a softmax neither flat nor a single peak.
    const spread = Math.sqrt(values.reduce((sum, x) => sum + x * x, 0) / values.length);
    expect(spread).toBeGreaterThan(0.3);
    expect(spread).toBeLessThan(3);
  });

  test('shards hold all tensors within the limit, and the index says where and how much', async () => {
    const limit = 60_000;
    const dir = write(config, { shardBytes: limit });
    const { tensors } = await openCheckpoint(dir);
    const files = readdirSync(dir).filter((file) => file.endsWith('.safetensors'));
    expect(files.length).toBeGreaterThan(3);
    const index = JSON.parse(readFileSync(join(dir, 'model.safetensors.index.json'), 'utf8')) as {
      metadata: { total_size: number };
      weight_map: Record<string, string>;
    };
    expect(Object.keys(index.weight_map).sort()).toEqual([...tensors.keys()].sort());
    let total = 0;
    for (const file of files) {
      expect(file).toMatch(new RegExp(`^model-\\d{5}-of-${String(files.length).padStart(5, '0')}\\.safetensors$`));
      const held = readSafetensors(join(dir, file));
      for (const name of held.keys()) expect(index.weight_map[name]).toBe(file);
      const bytes = [...held.values()].reduce((sum, { data }) => sum + 2 * data.length, 0);
      expect(bytes).toBeLessThanOrEqual(limit);
      expect(statSync(join(dir, file)).size).toBeGreaterThan(bytes);
      total += bytes;
    }
    expect(index.metadata.total_size).toBe(total);
  });
});

describe('numbers', () => {
  test('no two rows of a matrix, and no two tensors, are equal', () => {
    const tensors = [...readAll(write({ model_type: 'llama' }))];
    for (const [name, { shape: sizes, data }] of tensors) {
      if (sizes.length === 1) continue;
      const rows = Array.from({ length: sizes[0] }, (_, row) =>
        digest(data.slice(row * sizes[1], (row + 1) * sizes[1])),
      );
      expect(new Set(rows).size, name).toBe(sizes[0]);
    }
    expect(new Set(tensors.map(([, { data }]) => digest(data))).size).toBe(tensors.length);
  });

  test.each(['bf16', 'f16', 'f32'] as const)('scales in %s are those of fan-in and depth', (dtype) => {
    const tensors = readAll(write({ model_type: 'llama' }, { dtype }));
    const of = (name: string) => deviation(tensors.get(name)!);
    const layer = 'model.layers.1';
    expect(of(`${layer}.self_attn.q_proj.weight`) * Math.sqrt(64)).toBeCloseTo(1, 1);
    expect(of(`${layer}.mlp.up_proj.weight`) * Math.sqrt(64)).toBeCloseTo(1, 1);
    expect(of(`${layer}.mlp.down_proj.weight`) * Math.sqrt(160 * 2 * 4)).toBeCloseTo(1, 1);
    expect(of(`${layer}.self_attn.o_proj.weight`) * Math.sqrt(64 * 2 * 4)).toBeCloseTo(1, 1);
    expect(of('model.embed_tokens.weight')).toBeCloseTo(1, 1);
    const norm = tensors.get('model.norm.weight')!.data;
    expect(norm.reduce((sum, x) => sum + x, 0) / norm.length).toBeCloseTo(1, 1);
  });

  test("Gemma-2's norms are near 0, since they multiply by 1 + w", () => {
    const { data } = readAll(write({ model_type: 'gemma2' })).get('model.layers.0.pre_feedforward_layernorm.weight')!;
    expect(Math.max(...data.map(Math.abs))).toBeLessThan(0.6);
  });

  test('a seed gives the same bytes, whatever the shards; another seed gives others', async () => {
    const sha256 = async (options: SyntheticOptions) =>
      (await openCheckpoint(write({ model_type: 'llama' }, options))).sha256();
    expect(await sha256({ seed: 7 })).toBe(await sha256({ seed: 7 }));
    expect(await sha256({ seed: 7 })).not.toBe(await sha256({ seed: 8 }));
    const whole = readAll(write({ model_type: 'llama' }));
    const sharded = readAll(write({ model_type: 'llama' }, { shardBytes: 50_000 }));
    for (const [name, { data }] of whole) expect(sharded.get(name)?.data, name).toEqual(data);
  });

  test('a tensor of more than one piece does not repeat itself at the pieces', async () => {
    // Pieces are 2^20 elements; this embedding has 1.1 million.
    const { readTensor } = await openCheckpoint(write({ model_type: 'llama', vocab_size: 17_000 }, { layers: 1 }));
    const data = readTensor('model.embed_tokens.weight');
    const start = 2 ** 20;
    expect(data.slice(start, start + 64)).not.toEqual(data.slice(0, 64));
    expect(data.at(-1)).not.toBe(0);
  });
});

describe('refusals', () => {
  test('a folder with content is left alone', () => {
    const dir = write({ model_type: 'llama' });
    const before = readdirSync(dir);
    expect(() => writeSynthetic(join(dir, 'config.json'), dir)).toThrow(/the folder is not empty/);
    expect(readdirSync(dir)).toEqual(before);
  });

  test('an unsupported configuration leaves no file behind', () => {
    const file = join(folder, 'unsupported.json');
    writeFileSync(file, JSON.stringify({ ...shape, model_type: 'llama', attention_bias: true }));
    expect(() => writeSynthetic(file, join(folder, 'unsupported'))).toThrow(/attention_bias/);
    expect(readdirSync(join(folder, 'unsupported'))).toEqual([]);
  });

  test('a model larger than the free space is refused before its weights are written', () => {
    const file = join(folder, 'huge.json');
    const huge = { vocab_size: 2 ** 30, hidden_size: 2 ** 16, intermediate_size: 2 ** 20, num_attention_heads: 4 };
    writeFileSync(file, JSON.stringify({ ...shape, ...huge, model_type: 'llama' }));
    expect(() => writeSynthetic(file, join(folder, 'huge'))).toThrow(/are free, expected at least/);
    expect(readdirSync(join(folder, 'huge'))).toEqual([]);
  });
});
