/** A checkpoint is untrusted input: whatever is wrong with it ends in one line that names the file and what was expected. */
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { InputError } from '../../src/errors.ts';
import { removeCheckpoint } from '../tiny-checkpoint.ts';
import {
  added,
  append,
  asFolder,
  type Break,
  both,
  bytesAs,
  config,
  copyShard,
  entry,
  extra,
  file,
  header,
  headerLength,
  headerOneShort,
  index,
  link,
  move,
  rename,
  shard,
  substitute,
  tensor,
  tinyCheckpoint,
  tokenizer,
  weightMap,
  weights,
  writeSafetensors,
} from './breaking.ts';

const embedding = 'model.embed_tokens.weight'; // [16, 16], bytes 0 … 1024
const norm = 'model.layers.0.input_layernorm.weight'; // [16], bytes 1024 … 1088
const text = (entries: object) => JSON.stringify(entries);
const deep = (depth: number) => `${'['.repeat(depth)}${']'.repeat(depth)}`;

/** What is wrong, how it came about, the file the line must name, and what it must say. */
type Case = [wrong: string, broken: Break, names: string, says: RegExp];

const safetensors: Case[] = [
  ['an empty file', file(weights, ''), weights, /0 bytes, expected at least 8/],
  ['seven bytes', file(weights, 'abcdefg'), weights, /7 bytes, expected at least 8/],
  ['a header of length 0', (dir) => writeSafetensors(join(dir, weights), '', Buffer.alloc(8)), weights, /expected \{/],
  ['a header longer than the file', headerLength(50_000n), weights, /header length is 50000, expected at most/],
  ['a header larger than the format allows', headerLength(100_000_001n), weights, /100000001, expected at most/],
  ['a header length above 2^53', headerLength(2n ** 53n + 1n), weights, /9007199254740993, expected at most/],
  ['a header length of 2^64 − 1', headerLength(2n ** 64n - 1n), weights, /18446744073709551615, expected at most/],
  ['a header length one too short', headerOneShort, weights, /expected/],
  ['a header that is not UTF-8', header(() => Buffer.from([0x7b, 0xff, 0x7d])), weights, /not UTF-8 .* expected/],
  ['a header with a byte order mark', header(() => '\uFEFF{}'), weights, /begins with .*, expected \{/],
  ['a header that is not JSON', header(() => '{"a":'), weights, /not valid JSON, expected an object/],
  ['a header with NaN', header(() => '{"a":NaN}'), weights, /not valid JSON, expected an object/],
  ['a header that is an array', header(() => '[]'), weights, /begins with "\[\]", expected \{/],
  [
    'a tensor listed twice',
    header((h) => text(h).replace('{', `{"${embedding}":{},`)),
    weights,
    /"model\.embed_tokens\.weight" is listed twice/,
  ],
  [
    'a shape listed twice',
    header((h) => text(h).replace('"shape":', '"shape":[1],"shape":')),
    weights,
    /"shape" is listed/,
  ],
  [
    'an escaped duplicate',
    header((h) => text(h).replace('{', '{"\\u006dodel.norm.weight":{},')),
    weights,
    /listed twice/,
  ],
  ['an entry that is a number', entry(norm, 5), weights, /is 5, expected an object with dtype/],
  ['an entry that is a list', entry(norm, []), weights, /is \[\], expected an object/],
  ['an entry that is null', entry(norm, null), weights, /is null, expected an object/],
  ['metadata that is no object', entry('__metadata__', 1), weights, /__metadata__ is 1, expected/],
  ['an unknown dtype', tensor(norm, { dtype: 'F12' }), weights, /dtype is "F12", expected one of/],
  ['a dtype that is an inherited name', tensor(norm, { dtype: 'toString' }), weights, /dtype is "toString", expected/],
  ['no dtype', tensor(norm, { dtype: undefined }), weights, /dtype is missing, expected one of/],
  ['a negative size', tensor(norm, { shape: [-16] }), weights, /shape is \[-16\], expected whole numbers/],
  ['a fraction of a size', tensor(norm, { shape: [1.5] }), weights, /shape is \[1\.5\], expected whole/],
  ['a size above 2^53', tensor(norm, { shape: [2 ** 60] }), weights, /shape is \[1152921504606847000\], expected/],
  ['a product above 2^53', tensor(norm, { shape: [2 ** 31, 2 ** 31] }), weights, /span 64 bytes, expected/],
  ['a shape that is text', tensor(norm, { shape: '16' }), weights, /shape is "16", expected whole numbers/],
  ['a million dimensions', tensor(norm, { shape: Array(1e6).fill(1) }), weights, /span 64 bytes, expected 4 for/],
  ['a shape of other bytes', tensor(norm, { shape: [15] }), weights, /span 64 bytes, expected 60 for shape \[15\]/],
  ['offsets that end before they begin', tensor(norm, { data_offsets: [1088, 1024] }), weights, /expected begin ≤ end/],
  ['negative offsets', tensor(norm, { data_offsets: [-64, 0] }), weights, /is \[-64,0\], expected \[begin, end\]/],
  ['three offsets', tensor(norm, { data_offsets: [0, 1, 2] }), weights, /expected \[begin, end\]/],
  ['no offsets', tensor(norm, { data_offsets: undefined }), weights, /data_offsets is missing, expected/],
  ['offsets beyond the end', tensor(norm, { data_offsets: [2 ** 40, 2 ** 40 + 64] }), weights, /expected at most/],
  ['tensors that overlap', tensor(norm, { data_offsets: [960, 1024] }), weights, /overlaps .*, expected/],
  ['a hole', entry(norm, undefined), weights, /64 bytes before tensor .*, expected 0/],
  ['trailing bytes', append(4), weights, /4 bytes after the last tensor .*, expected 0/],
  ['a truncated file', append(-4), weights, /data_offsets end at .*, expected at most/],
  ['a missing tensor', rename('model.norm.weight', 'x'), '', /model\.norm\.weight is missing, expected shape \[16\]/],
  ['no head, not tied', rename('lm_head.weight', 'x'), '', /lm_head\.weight is missing.*tie_word_embeddings is false/],
  [
    'a transposed tensor',
    tensor('model.layers.0.mlp.up_proj.weight', { shape: [16, 40] }),
    weights,
    /has shape \[16, 40/,
  ],
  [
    'too few dimensions',
    tensor(embedding, { shape: [256] }),
    weights,
    /has shape \[256\], config\.json expects \[16, 16\]/,
  ],
  ['8-bit integers', tensor(norm, { dtype: 'I8', shape: [64] }), weights, /is I8, expected F32, F16 or BF16/],
  ['integers', tensor(norm, { dtype: 'I32' }), weights, /input_layernorm\.weight is I32, expected F32, F16 or BF16/],
  ['8-bit floats', bytesAs('F8_E4M3'), weights, /input_layernorm\.weight is F8_E4M3, expected F32, F16 or BF16/],
  ['doubles', bytesAs('F64'), weights, /is F64, expected F32, F16 or BF16/],
  [
    'a bias',
    extra('model.layers.0.self_attn.q_proj.bias'),
    weights,
    /q_proj\.bias is not part of a llama model, expected/,
  ],
  ['a name with a line break', rename(norm, 'a\nb', { dtype: 'X' }), weights, /"a\\nb": dtype is "X", expected/],
  ['a name that moves the cursor', rename(norm, '\u009b2J', { dtype: 'X' }), weights, /"\\u\{9b\}2J": dtype/],
  [
    'a dtype nested 100,000 deep',
    header((h) => text(h).replace('"F32"', deep(1e5))),
    weights,
    /dtype is .*, expected one of/,
  ],
  ['weights that are a folder', asFolder(weights), weights, /is not a file, expected one/],
  [
    'weights that lead out of the folder',
    link(weights, '/etc/passwd'),
    weights,
    /links to \/etc\/passwd, outside the checkpoint folder/,
  ],
  ['no weights', file(weights, null), '', /expected model\.safetensors or .* \(found none\)/],
  ['weights of another format', move(weights, 'pytorch_model.bin'), '', /\(found pytorch_model\.bin\)/],
];

const shards: Case[] = [
  ['an index that is not JSON', both(shard, file(index, '{')), index, /not valid JSON/],
  ['an index that is a list', both(shard, file(index, '[]')), index, /weight_map .* as expected/],
  ['no weight_map', both(shard, file(index, '{}')), index, /weight_map .* as expected/],
  ['an empty weight_map', both(shard, file(index, '{"weight_map":{}}')), index, /empty, expected tensor names/],
  ['a weight_map of numbers', weightMap({ [norm]: 1 }), index, /weight_map .* as expected/],
  [
    'a tensor placed twice',
    both(shard, file(index, `{"weight_map":{"${norm}":"a.safetensors","${norm}":"b.safetensors"}}`)),
    index,
    /key "model\.layers\.0\.input_layernorm\.weight" occurs twice/,
  ],
  ['a shard that is not there', weightMap({ [norm]: 'c.safetensors' }), 'c.safetensors', /shard is missing, expected/],
  ['a shard above the folder', weightMap({ [norm]: '../b.safetensors' }), index, /"\.\.\/b\.safetensors", expected/],
  ['a shard with an absolute path', weightMap({ [norm]: '/b.safetensors' }), index, /"\/b\.safetensors", expected/],
  ['a shard with a backslash', weightMap({ [norm]: '..\\b.safetensors' }), index, /expected a \.safetensors file/],
  ['a shard that is a config', weightMap({ [norm]: 'config.json' }), index, /"config\.json", expected/],
  ['a tensor in another shard', weightMap({ [norm]: 'a.safetensors' }), index, /in a\.safetensors, but it is in b\./],
  ['a tensor in no shard', weightMap({ other: 'a.safetensors' }), index, /places tensor other in .* in no shard/],
  ['a shard under two names', copyShard, 'b2.safetensors', /is also in b\.safetensors, expected it once/],
  ['a broken shard', both(shard, file('b.safetensors', 'abc')), 'b.safetensors', /3 bytes, expected at least 8/],
];

const keys: [key: string, value: unknown, says: RegExp][] = [
  ...['vocab_size', 'hidden_size', 'intermediate_size', 'num_hidden_layers', 'num_attention_heads'].flatMap((key) => {
    const cases: [string, unknown, RegExp][] = [
      [key, undefined, /is missing, expected a number/],
      [key, '16', /is "16", expected a number/],
      [key, 0, /is 0, expected at least 1/],
      [key, -4, /is -4, expected at least 1/],
      [key, 1.5, /is 1\.5, expected a whole number/],
      [key, 1e300, /is 1e\+300, expected (a whole number|at most)/],
    ];
    return cases;
  }),
  ['model_type', undefined, /is missing, expected one of llama/],
  ['model_type', 'gpt2', /is "gpt2", expected one of llama/],
  ['model_type', ['llama'], /is \["llama"\], expected one of llama/],
  ['model_type', 'x'.repeat(1000), /is "xxx.*…, expected one of llama/],
  ['num_hidden_layers', 1001, /is 1001, expected at most 1000/],
  ['num_attention_heads', 3, /num_key_value_heads is 4, expected a divisor of num_attention_heads \(3\)/],
  ['num_key_value_heads', 3, /is 3, expected a divisor of num_attention_heads \(4\)/],
  ['num_key_value_heads', 8, /is 8, expected a divisor of num_attention_heads \(4\)/],
  ['num_key_value_heads', 0, /is 0, expected at least 1/],
  ['head_dim', 3, /is 3, expected an even number/],
  ['head_dim', 0, /is 0, expected at least 1/],
  ['max_position_embeddings', 2 ** 25, /expected at most 16777216/],
  ['max_position_embeddings', 'many', /is "many", expected a number/],
  ['rms_norm_eps', 0, /is 0, expected more than 0/],
  ['rms_norm_eps', -1e-5, /is -0\.00001, expected more than 0/],
  ['rms_norm_eps', 2, /is 2, expected at most 1/],
  ['rms_norm_eps', '1e-5', /is "1e-5", expected a number/],
  ['rope_theta', 0, /is 0, expected more than 0/],
  ['rope_theta', -1, /is -1, expected more than 0/],
  ['rope_parameters', { rope_theta: 0 }, /rope_parameters\.rope_theta is 0, expected a positive number/],
  ['rope_parameters', { rope_type: 'yarn' }, /rope_parameters\.rope_type is "yarn", expected "default"/],
  ['rope_parameters', { rope_type: 'default', type: 'linear' }, /rope_parameters\.type is "linear", expected/],
  ['rope_scaling', { type: 'linear', factor: 2 }, /rope_scaling\.type is "linear", expected "default"/],
  [
    'rope_scaling',
    { rope_type: 'llama3', factor: 8 },
    /rope_scaling\.low_freq_factor is missing, expected a positive number/,
  ],
  ['rope_scaling', { rope_type: 'yarn', factor: 8 }, /rope_type is "yarn", expected "default" or "llama3"/],
  ['rope_scaling', { factor: 2 }, /rope_scaling\.factor is 2, expected no key that the "default" rope does not use/],
  ['rope_scaling', { 'a\nb': 2 }, /rope_scaling\."a\\nb" is 2, expected no key that/],
  ['rope_scaling', 'linear', /is "linear", expected an object/],
  ['rope_scaling', [], /is \[\], expected an object/],
  ['attention_bias', true, /is true, expected false or absent/],
  ['mlp_bias', true, /is true, expected false or absent/],
  ['sliding_window', 4096, /is 4096, expected null or absent/],
  ['layer_types', ['sliding_attention'], /\.0 is "sliding_attention", expected "full_attention", as llama models do/],
  ['layer_types', 'sliding_attention', /is "sliding_attention", expected a list/],
  ['quantization_config', { quant_method: 'gptq' }, /is \{"quant_method":"gptq"\}, expected null or absent/],
  ['partial_rotary_factor', 0.5, /is 0\.5, expected 1 or null or absent/],
  ['final_logit_softcapping', 30, /is 30, expected null or absent/],
  ['num_local_experts', 8, /is 8, expected 0 or 1/],
  ['hidden_act', 'gelu', /is "gelu", expected "silu"/],
  ['hidden_act', 1, /is 1, expected a string/],
  ['tie_word_embeddings', 'yes', /is "yes", expected true or false/],
  ['tie_word_embeddings', 1, /is 1, expected true or false/],
  ['eos_token_id', 16, /is 16, expected an id below vocab_size \(16\)/],
  ['eos_token_id', [2, 99], /is 99, expected an id below vocab_size \(16\)/],
  ['eos_token_id', -1, /is -1, expected at least 0/],
  ['eos_token_id', 'end', /is "end", expected a token id or a list of them/],
  ['bos_token_id', 16, /is 16, expected an id below vocab_size \(16\)/],
];

const configs: Case[] = [
  ['no config.json', file('config.json', null), '', /no config\.json, expected a checkpoint folder/],
  ['an empty file', file('config.json', ''), 'config.json', /not valid JSON/],
  ['text that is not JSON', file('config.json', 'vocab_size: 16'), 'config.json', /not valid JSON/],
  ['a list', file('config.json', '[]'), 'config.json', /is \[\], expected a JSON object/],
  ['null', file('config.json', 'null'), 'config.json', /is null, expected a JSON object/],
  ['a key twice', file('config.json', '{"a":1,"a":2}'), 'config.json', /key "a" occurs twice .*, expected it once/],
  ['a nested key twice', file('config.json', '{"a":{"b":1,"b":2}}'), 'config.json', /key "b" occurs twice/],
  ['a folder', asFolder('config.json'), 'config.json', /is not a file, expected one/],
  [
    'a value nested 100,000 deep',
    file('config.json', `{"model_type":${deep(1e5)}}`),
    'config.json',
    /model_type is .* expected one of llama/,
  ],
  [
    'both spellings of rope parameters',
    config({ rope_parameters: { rope_type: 'default' }, rope_scaling: { type: 'linear', factor: 2 } }),
    'config.json',
    /rope_scaling is .*, expected none beside rope_parameters/,
  ],
  [
    'an infinite theta in rope_parameters',
    both(config({ rope_parameters: { rope_theta: 'T' } }), substitute('config.json', '"T"', '1e999')),
    'config.json',
    /rope_parameters\.rope_theta is null, expected a positive number/,
  ],
  [
    'heads that do not divide the width',
    config({ head_dim: undefined, hidden_size: 18 }),
    'config.json',
    /hidden_size is 18, expected a multiple of num_attention_heads/,
  ],
  ['more layers than the weights', config({ num_hidden_layers: 2 }), '', /layers\.1.* is missing, expected shape/],
  [
    'a wider model than the weights',
    config({ hidden_size: 32 }),
    weights,
    /has shape \[16, 16\], config\.json expects/,
  ],
  [
    'end tokens beside the vocabulary',
    file('generation_config.json', '{"eos_token_id":99}'),
    'generation_config.json',
    /is 99, expected/,
  ],
  [
    'end tokens that are text',
    file('generation_config.json', '{"eos_token_id":"x"}'),
    'generation_config.json',
    /as expected, a token id/,
  ],
  [
    'a generation_config that is a list',
    file('generation_config.json', '[]'),
    'generation_config.json',
    /eos_token_id .* expected/,
  ],
  ...keys.map(([key, value, says]): Case => {
    const shown = JSON.stringify(value)?.slice(0, 40) ?? 'missing';
    return [`${key} ${shown}`, config({ [key]: value }), 'config.json', says];
  }),
];

const vocabulary = (vocab: unknown) => tokenizer({}, { vocab });
const tokenizers: Case[] = [
  ['a file that is not JSON', file('tokenizer.json', '{'), 'tokenizer.json', /not valid JSON/],
  ['an empty file', file('tokenizer.json', ''), 'tokenizer.json', /not valid JSON/],
  ['NaN', file('tokenizer.json', '{"model":NaN}'), 'tokenizer.json', /not valid JSON/],
  ['a list', file('tokenizer.json', '[]'), 'tokenizer.json', /is \[\], expected a JSON object/],
  ['no model', file('tokenizer.json', '{}'), 'tokenizer.json', /model is missing, expected the model of/],
  ['an unknown model', tokenizer({}, { type: 'Dice' }), 'tokenizer.json', /model\.type is "Dice", expected one of BPE/],
  ['no vocabulary', vocabulary(undefined), 'tokenizer.json', /model\.vocab is missing, expected at least one token/],
  ['an empty vocabulary', vocabulary({}), 'tokenizer.json', /model\.vocab is \{\}, expected at least one token/],
  [
    'an empty list as vocabulary',
    vocabulary([]),
    'tokenizer.json',
    /model\.vocab is \[\], expected at least one token/,
  ],
  ['an id beyond the model', vocabulary({ '<unk>': 0, a: 16 }), 'tokenizer.json', /token a is 16, expected .*\(16\)/],
  ['an id of four billion', vocabulary({ '<unk>': 0, a: 2 ** 32 - 2 }), 'tokenizer.json', /token a is 4294967294, exp/],
  ['a negative id', vocabulary({ '<unk>': 0, a: -1 }), 'tokenizer.json', /token a is -1, expected a whole number/],
  ['a fraction of an id', vocabulary({ '<unk>': 0, a: 1.5 }), 'tokenizer.json', /token a is 1\.5, expected/],
  ['an id that is text', vocabulary({ '<unk>': 0, a: '1' }), 'tokenizer.json', /token a is "1", expected/],
  [
    'a token twice',
    both(tokenizer(), substitute('tokenizer.json', '"a":1', '"a":1,"a":1')),
    'tokenizer.json',
    /key "a" occurs twice .*, expected it once/,
  ],
  ['no merges', tokenizer({}, { merges: undefined }), 'tokenizer.json', /not a tokenizer kvlens can read .*, expected/],
  [
    'no added_tokens',
    tokenizer({ added_tokens: undefined }),
    'tokenizer.json',
    /added_tokens is missing, expected a list/,
  ],
  ['an added token without text', added({ id: 4 }), 'tokenizer.json', /added_tokens holds .*, expected an object/],
  ['an added id beyond the model', added({ id: 16, content: 'x' }), 'tokenizer.json', /token x is 16, expected/],
  ['an unknown decoder', tokenizer({ decoder: { type: 'Dice' } }), 'tokenizer.json', /Unknown Decoder type: Dice/],
  [
    'a bad pattern',
    tokenizer({ pre_tokenizer: { type: 'Split', pattern: { Regex: '(' }, behavior: 'Isolated', invert: false } }),
    'tokenizer.json',
    /not a tokenizer kvlens can read/,
  ],
  [
    'an unknown-token name without id',
    tokenizer({}, { vocab: { z: 1 }, merges: [] }),
    'tokenizer.json',
    /no token for/,
  ],
  [
    'a tokenizer_config that is a list',
    both(tokenizer(), file('tokenizer_config.json', '[]')),
    'tokenizer_config.json',
    /is \[\], expected a JSON object/,
  ],
];

describe.each([
  ['safetensors', safetensors],
  ['shards', shards],
  ['config.json', configs],
  ['tokenizer.json', tokenizers],
])('%s', (_, cases) => {
  let dir = '';
  afterEach(() => removeCheckpoint(dir));

  test.each(cases)('%s', async (_wrong, broken, names, says) => {
    dir = tinyCheckpoint();
    await openCheckpoint(dir);
    broken(dir);
    const error: unknown = await openCheckpoint(dir).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(InputError);
    if (!(error instanceof InputError)) return;
    expect(error.exitCode).toBe(3);
    expect(error.message).toMatch(says);
    expect(error.message.startsWith(join(dir, names))).toBe(true);
    expect(error.message).not.toMatch(/[\p{Cc}\p{Zl}\p{Zp}]/u);
    expect(error.message.length - dir.length).toBeLessThan(400);
  });
});
