/** What a checkpoint may be: three dtypes, shards, a hub cache, keys nobody knows. */
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { roundTo } from '../../src/numerics/half.ts';
import { removeCheckpoint, writeTinyCheckpoint } from '../tiny-checkpoint.ts';
import {
  config,
  file,
  readSafetensors,
  shard,
  substitute,
  tinyCheckpoint,
  tokenizer,
  weights,
  writeSafetensors,
} from './breaking.ts';

let dir = '';
afterEach(() => removeCheckpoint(dir));

/** Values with every kind of number; all exact in binary16 except the last two. */
const special = [0, -0, 1, -2.5, 2 ** -24, -(2 ** -14), 65504, Infinity, -Infinity, 1e-40, 3e38];

test.each([
  ['F32', 'f32'],
  ['F16', 'f16'],
  ['BF16', 'bf16'],
] as const)('%s weights are read exactly, subnormals, −0 and infinities too', async (dtype, type) => {
  dir = writeTinyCheckpoint({
    layers: 1,
    headDim: 4,
    vocabSize: 16,
    dtype,
    edit: (key, values) => {
      if (key === 'model.norm.weight') values.set(special);
    },
  });
  const values = (await openCheckpoint(dir)).readTensor('model.norm.weight');
  const expected = special.map((value) => roundTo(type, value));
  expect(Array.from(values.subarray(0, special.length)).map(sign)).toEqual(expected.map(sign));
});
const sign = (value: number) => (Object.is(value, -0) ? '-0' : value);

test('tensors of different dtypes may stand beside each other', async () => {
  dir = tinyCheckpoint();
  const path = join(dir, weights);
  const { text, data } = readSafetensors(path);
  const entries = JSON.parse(text);
  const [begin, end] = entries['lm_head.weight'].data_offsets;
  const half = Buffer.alloc((end - begin) / 2);
  half.writeUInt16LE(0x3c00, 0);
  entries['lm_head.weight'] = { dtype: 'F16', shape: [16, 16], data_offsets: [begin, begin + half.length] };
  writeSafetensors(path, entries, Buffer.concat([data.subarray(0, begin), half]));
  const checkpoint = await openCheckpoint(dir);
  expect(checkpoint.tensors.get('lm_head.weight')?.dtype).toBe('F16');
  expect(checkpoint.readTensor('lm_head.weight')[0]).toBe(1);
  expect(checkpoint.tensors.get('model.norm.weight')?.dtype).toBe('F32');
});

test('shards hold the same values as one file', async () => {
  dir = tinyCheckpoint('F16');
  const whole = await openCheckpoint(dir);
  const values = [...whole.tensors.keys()].map((name) => [name, whole.readTensor(name)] as const);
  shard(dir);
  const sharded = await openCheckpoint(dir);
  for (const [name, expected] of values) expect(sharded.readTensor(name)).toEqual(expected);
  expect(sharded.weightsRoot).toBe(whole.weightsRoot);
});

test('model.safetensors goes before an index, as in Hugging Face transformers', async () => {
  dir = tinyCheckpoint();
  file('model.safetensors.index.json', '{"weight_map":{"a":"gone.safetensors"}}')(dir);
  expect((await openCheckpoint(dir)).tensors.size).toBe(12);
});

test('a snapshot of a hub cache is read through its links into blobs/', async () => {
  const plain = tinyCheckpoint();
  shard(plain);
  dir = mkdtempSync(join(tmpdir(), 'kvlens-hub-'));
  const snapshot = join(dir, 'models--org--tiny', 'snapshots', '0123abc');
  const blobs = join(dir, 'models--org--tiny', 'blobs');
  mkdirSync(snapshot, { recursive: true });
  mkdirSync(blobs);
  for (const [i, name] of readdirSync(plain).entries()) {
    copyFileSync(join(plain, name), join(blobs, `sha${i}`));
    symlinkSync(join('..', '..', 'blobs', `sha${i}`), join(snapshot, name));
  }
  const expected = await openCheckpoint(plain);
  const checkpoint = await openCheckpoint(snapshot);
  for (const name of expected.tensors.keys()) expect(checkpoint.readTensor(name)).toEqual(expected.readTensor(name));
  expect(await checkpoint.sha256()).toBe(await expected.sha256());
  expect(checkpoint.weightsRoot).toMatch(/blobs$/);
  expect(checkpoint.name).toBe('tiny');
  removeCheckpoint(plain);
});

describe('config.json', () => {
  test('a key that nobody knows is reported, in one line, and does not stop the run', async () => {
    dir = tinyCheckpoint();
    config({ flux_capacitor: 1.21, 'a\nb': 0, attention_dropout: 0.1 })(dir);
    expect((await openCheckpoint(dir)).unknownConfigKeys).toEqual(['flux_capacitor', '"a\\nb"']);
  });

  test.each([
    { attention_bias: false, mlp_bias: false },
    { sliding_window: null, use_sliding_window: false },
    { rope_scaling: null },
    { rope_scaling: { type: 'default' } },
    { rope_parameters: { rope_type: 'default', rope_theta: 10000 } },
    { rope_parameters: { rope_type: 'default', partial_rotary_factor: 1 } },
    { quantization_config: null, partial_rotary_factor: 1, num_local_experts: 0 },
    { layer_types: ['full_attention'] },
    { layer_types: null },
    { eos_token_id: null, bos_token_id: null },
  ])('%o changes nothing', async (neutral) => {
    dir = tinyCheckpoint();
    const { config: expected } = await openCheckpoint(dir);
    config(neutral)(dir);
    const { config: found, unknownConfigKeys } = await openCheckpoint(dir);
    expect(unknownConfigKeys).toEqual([]);
    const tokens = 'eos_token_id' in neutral ? { bosTokenId: null, eosTokenIds: [] } : {};
    expect(found).toEqual({ ...expected, ...tokens });
  });

  test("what is absent has Hugging Face's default", async () => {
    dir = tinyCheckpoint();
    const absent = [
      'head_dim',
      'num_key_value_heads',
      'rms_norm_eps',
      'rope_theta',
      'hidden_act',
      'tie_word_embeddings',
    ];
    config(Object.fromEntries([...absent, 'max_position_embeddings'].map((key) => [key, undefined])))(dir);
    expect((await openCheckpoint(dir)).config).toMatchObject({
      headDim: 4,
      kvHeads: 4,
      normEpsilon: 1e-6,
      rope: { type: 'default', theta: 10000 },
      activation: 'silu',
      tiedEmbeddings: false,
      maxPositions: 2048,
    });
  });

  test('a byte order mark is skipped', async () => {
    dir = tinyCheckpoint();
    substitute('config.json', '{', '\uFEFF{')(dir);
    expect((await openCheckpoint(dir)).config.vocabSize).toBe(16);
  });

  test('end tokens of both configurations end the text', async () => {
    dir = tinyCheckpoint();
    file('generation_config.json', '{"eos_token_id":[2,5]}')(dir);
    expect((await openCheckpoint(dir)).config.eosTokenIds).toEqual([2, 5]);
  });
});

test('a frequency table that older exporters stored is left unread', async () => {
  dir = tinyCheckpoint();
  const path = join(dir, weights);
  const { text, data } = readSafetensors(path);
  const name = 'model.layers.0.self_attn.rotary_emb.inv_freq';
  const entries = {
    ...JSON.parse(text),
    [name]: { dtype: 'F32', shape: [2], data_offsets: [data.length, data.length + 8] },
  };
  writeSafetensors(path, entries, Buffer.concat([data, Buffer.alloc(8)]));
  expect((await openCheckpoint(dir)).tensors.has(name)).toBe(false);
});

describe('tokenizer.json', () => {
  test('may be absent', async () => {
    dir = tinyCheckpoint();
    const checkpoint = await openCheckpoint(dir);
    expect(checkpoint.tokenizer).toBeNull();
    expect(await checkpoint.tokenizerSha256()).toBeNull();
  });

  test('merges, and gives the unknown token for the rest', async () => {
    dir = tinyCheckpoint();
    tokenizer()(dir);
    const { tokenizer: found } = await openCheckpoint(dir);
    expect(found?.encode('abaz')).toEqual([3, 1, 0]);
  });

  test('decodes no tokens, and tokens it does not have, as no text', async () => {
    dir = tinyCheckpoint();
    tokenizer()(dir);
    const { tokenizer: found } = await openCheckpoint(dir);
    expect(found?.decode([])).toBe('');
    expect(found?.decode([15])).toBe('');
    expect(found?.token(15)).toBeNull();
    expect(found?.bytes(15)).toBeNull();
  });
});
