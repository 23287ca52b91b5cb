/**
 * config.json → ModelConfig. Three lists decide about every key: *used*, *refused unless neutral* (it changes the
 * mathematics and kvlens does not implement it) and *inert*. Any other key is reported, never silently ignored.
 */
import { join } from 'node:path';
import { z } from 'zod';
import { InputError } from '../errors.ts';
import { type Family, families } from './families.ts';
import { readJsonFile } from './json-file.ts';
import { quantisedHint } from './require-tensor.ts';
import { ropeParameters } from './rope.ts';
import { show, showName } from './show.ts';
import { slidingWindows } from './sliding-windows.ts';
import { type ModelConfig, type ModelType, modelTypes } from './types.ts';

const count = z
  .int()
  .min(1)
  .max(2 ** 31 - 1);
const tokenId = z
  .int()
  .min(0)
  .max(2 ** 31 - 1);

const usedKeys = z.looseObject({
  model_type: z.string(),
  vocab_size: count,
  hidden_size: count,
  intermediate_size: count,
  num_hidden_layers: count.max(1000),
  num_attention_heads: count,
  num_key_value_heads: count.nullish(),
  head_dim: count.nullish(),
  max_position_embeddings: count.max(2 ** 24).optional(),
  rms_norm_eps: z.number().positive().max(1).default(1e-6),
  sliding_window: count.nullish(),
  use_sliding_window: z.boolean().default(false),
  max_window_layers: z.int().min(0).default(28),
  layer_types: z.array(z.string()).nullish(),
  query_pre_attn_scalar: z.number().positive().nullish(),
  attn_logit_softcapping: z.number().positive().nullish(),
  final_logit_softcapping: z.number().positive().nullish(),
  rope_theta: z.number().positive().nullish(),
  rope_parameters: z.looseObject({}).nullish(),
  rope_scaling: z.looseObject({}).nullish(),
  hidden_act: z.string().optional(),
  hidden_activation: z.string().nullish(),
  tie_word_embeddings: z.boolean().optional(),
  bos_token_id: tokenId.nullish(),
  eos_token_id: z.union([tokenId, z.array(tokenId)]).nullish(),
});
type UsedKeys = z.infer<typeof usedKeys>;

/** Keys that change the mathematics: refused unless the value is one of these. Absent is always neutral. */
const refusedUnlessNeutral: Record<string, readonly unknown[]> = {
  attention_bias: [false],
  mlp_bias: [false],
  qkv_bias: [false],
  use_bias: [false],
  attention_out_bias: [false],
  partial_rotary_factor: [1, null],
  rotary_pct: [1, null],
  rotary_dim: [null],
  position_embedding_type: ['absolute', 'rope', null],
  quantization_config: [null],
  compression_config: [null],
  use_qk_norm: [false],
  qk_layernorm: [false],
  clip_qkv: [null],
  logit_scale: [1, null],
  logits_scaling: [1, null],
  embedding_multiplier: [1, null],
  residual_multiplier: [1, null],
  attention_multiplier: [null],
  scale_embedding: [false],
  scale_emb: [1, null],
  scale_depth: [null],
  num_local_experts: [0, 1, null],
  num_experts: [0, null],
  n_routed_experts: [0, null],
  num_experts_per_tok: [0, 1, null],
  is_encoder_decoder: [false],
  add_cross_attention: [false],
  alibi: [false],
  use_alibi: [false],
  parallel_attn: [false],
  no_rope_layers: [null],
  attention_chunk_size: [null],
};

/** Keys that do not change what a forward pass computes. */
const inertKeys: ReadonlySet<string> = new Set(
  `_name_or_path architectures attention_dropout attn_implementation _attn_implementation_autoset auto_map bad_words_ids
  cache_implementation chunk_size_feed_forward decoder_start_token_id do_sample dtype embd_pdrop finetuning_task
  forced_bos_token_id forced_eos_token_id hidden_dropout hidden_dropout_prob id2label initializer_range is_decoder label2id
  length_penalty max_length min_length name no_repeat_ngram_size num_beams num_return_sequences output_attentions
  output_hidden_states output_scores pad_token_id prefix pretraining_tp problem_type remove_invalid_values
  repetition_penalty resid_pdrop return_dict return_dict_in_generate sep_token_id suppress_tokens task_specific_params
  temperature tokenizer_class top_k top_p torch_dtype torchscript transformers_version typical_p use_bfloat16 use_cache
  num_hidden_groups encoder_no_repeat_ngram_size diversity_penalty early_stopping exponential_decay_length_penalty
  cross_attention_hidden_size begin_suppress_tokens tie_encoder_decoder tf_legacy_loss pruned_heads`.split(/\s+/),
);

/** A checked configuration and the keys that nobody knows. */
export interface ReadConfig {
  config: ModelConfig;
  unknownKeys: string[];
  /** Used keys that config.json does not have, or has as null: their values are defaults. */
  absentKeys: ReadonlySet<string>;
}

/**
 * Read and check `config.json` (and the end tokens of `generation_config.json`, if there is one).
 * @throws InputError naming file, key, value and what was expected.
 */
export function readConfig(dir: string, hasGenerationConfig: boolean): ReadConfig {
  const file = join(dir, 'config.json');
  const raw = readJsonFile(file);
  const refuse = (key: string, value: unknown, expected: string, hint?: string): never => {
    throw new InputError(`${file}: ${key} is ${show(value)}, expected ${expected}`, hint);
  };
  if (typeof raw !== 'object' || raw === null || Array.isArray(raw)) return refuse('the content', raw, 'a JSON object');
  const modelType = 'model_type' in raw ? raw.model_type : undefined;
  const known = modelTypes.find((type) => type === modelType);
  if (known === undefined) {
    const hint = modelType === undefined ? 'it names the architecture' : 'this architecture is not supported yet';
    return refuse('model_type', modelType, `one of ${modelTypes.join(', ')}`, hint);
  }
  const parsed = usedKeys.safeParse(raw);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const key = issue.path.join('.');
    const value = issue.path.reduce<unknown>((at, part) => (isRecord(at) ? at[String(part)] : undefined), raw);
    return refuse(key, value, describeIssue(issue) + (takesNull(key) ? ', or null' : ''));
  }
  for (const [key, neutral] of Object.entries(refusedUnlessNeutral)) {
    const value = key in raw ? parsed.data[key] : undefined;
    if (value !== undefined && !neutral.includes(value)) {
      refuse(
        key,
        value,
        `${neutral.map(show).join(' or ')} or absent`,
        key === 'quantization_config' || key === 'compression_config'
          ? quantisedHint
          : `${key} changes the mathematics and is not supported`,
      );
    }
  }
  const config = normalise(parsed.data, known, refuse);
  if (hasGenerationConfig) config.eosTokenIds = mergeEos(config, join(dir, 'generation_config.json'));
  const used = new Set([...Object.keys(usedKeys.shape), ...Object.keys(refusedUnlessNeutral)]);
  const unknownKeys = Object.keys(raw).filter((key) => !used.has(key) && !inertKeys.has(key));
  const absentKeys = new Set(Object.keys(usedKeys.shape).filter((key) => parsed.data[key] == null));
  return { config, unknownKeys: unknownKeys.map(showName), absentKeys };
}

type Refuse = (key: string, value: unknown, expected: string, hint?: string) => never;

function normalise(raw: UsedKeys, modelType: ModelType, refuse: Refuse): ModelConfig {
  const family = families[modelType];
  const heads = raw.num_attention_heads;
  const kvHeads = raw.num_key_value_heads ?? (raw.num_key_value_heads === undefined ? family.kvHeads : null) ?? heads;
  if (kvHeads > heads || heads % kvHeads !== 0) {
    const given = raw.num_key_value_heads;
    const assumed = given === undefined ? `, but ${modelType} models without the key have ${kvHeads}` : '';
    refuse('num_key_value_heads', given, `a divisor of num_attention_heads (${heads})${assumed}`);
  }
  const givenHeadDim = raw.head_dim ?? (raw.head_dim === undefined ? family.headDim : null);
  if (givenHeadDim === null && raw.hidden_size % heads !== 0) {
    refuse('hidden_size', raw.hidden_size, `a multiple of num_attention_heads (${heads}), or head_dim given`);
  }
  const headDim = givenHeadDim ?? raw.hidden_size / heads;
  if (headDim % 2 !== 0) refuse('head_dim', headDim, 'an even number (rotary embedding turns pairs)');
  checkActivation(raw, family, refuse);
  const softcap = (key: 'attn_logit_softcapping' | 'final_logit_softcapping', fallback: number) => {
    const value = raw[key];
    if (family.knows.includes('softcaps')) return value === undefined ? fallback : value;
    return value == null ? null : refuse(key, value, 'null or absent', `${modelType} models have no soft-cap`);
  };
  const maxPositions = raw.max_position_embeddings ?? family.maxPositions;
  return {
    modelType,
    vocabSize: raw.vocab_size,
    hiddenSize: raw.hidden_size,
    intermediateSize: raw.intermediate_size,
    layers: raw.num_hidden_layers,
    heads,
    kvHeads,
    storedKvHeads: kvHeads,
    headDim,
    maxPositions,
    normEpsilon: raw.rms_norm_eps,
    rope: ropeParameters({ ...raw, max_position_embeddings: maxPositions }, refuse),
    activation: family.activation,
    tiedEmbeddings: raw.tie_word_embeddings ?? family.tiedEmbeddings,
    slidingWindows: slidingWindows(raw, modelType, refuse),
    scoreScale: scoreScale(raw, family, headDim, modelType, refuse),
    attentionSoftcap: softcap('attn_logit_softcapping', 50),
    finalSoftcap: softcap('final_logit_softcapping', 30),
    attentionBias: family.attentionBias,
    queryKeyNorm: family.queryKeyNorm,
    bosTokenId: checkedToken('bos_token_id', raw.bos_token_id ?? null, raw.vocab_size, refuse),
    eosTokenIds: asList(raw.eos_token_id).map((id) => checkedToken('eos_token_id', id, raw.vocab_size, refuse)),
  };
}

const activationNames: Record<ModelConfig['activation'], string> = { silu: 'silu', gelu_tanh: 'gelu_pytorch_tanh' };

/** Gemma-2's files carry hidden_act and hidden_activation; only the latter counts. */
function checkActivation(raw: UsedKeys, { activation }: Family, refuse: Refuse): void {
  const expected = activationNames[activation];
  const key = activation === 'silu' ? 'hidden_act' : 'hidden_activation';
  const value = raw[key] ?? expected;
  if (value !== expected) refuse(key, value, show(expected));
}

/** Scores are q·k · headDim^−½, or · query_pre_attn_scalar^−½ where a family has it. */
function scoreScale(raw: UsedKeys, family: Family, headDim: number, modelType: ModelType, refuse: Refuse): number {
  const scalar = raw.query_pre_attn_scalar;
  if (family.knows.includes('query_pre_attn_scalar')) return 1 / Math.sqrt(scalar ?? 256);
  if (scalar != null) refuse('query_pre_attn_scalar', scalar, 'null or absent', `${modelType} models do not use it`);
  return 1 / Math.sqrt(headDim);
}

function checkedToken<T extends number | null>(key: string, id: T, vocabSize: number, refuse: Refuse): T {
  if (id !== null && id >= vocabSize) refuse(key, id, `an id below vocab_size (${vocabSize})`);
  return id;
}

const generationConfig = z.looseObject({ eos_token_id: z.union([tokenId, z.array(tokenId)]).nullish() });

/** End tokens of both files: Hugging Face's `generate` stops on generation_config.json's. */
function mergeEos(config: ModelConfig, file: string): number[] {
  const parsed = generationConfig.safeParse(readJsonFile(file));
  if (!parsed.success) throw new InputError(`${file}: eos_token_id is not as expected, a token id or a list of them`);
  const ids = new Set([...config.eosTokenIds, ...asList(parsed.data.eos_token_id)]);
  for (const id of ids) {
    if (id >= config.vocabSize) {
      throw new InputError(`${file}: eos_token_id is ${id}, expected an id below vocab_size (${config.vocabSize})`);
    }
  }
  return [...ids];
}

function asList(value: number | number[] | null | undefined): number[] {
  if (value == null) return [];
  return Array.isArray(value) ? value : [value];
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

const typeNames: Record<string, string> = {
  int: 'a whole number',
  object: 'an object',
  boolean: 'true or false',
  array: 'a list',
};

/** True for keys whose null means none. */
function takesNull(key: string): boolean {
  return Object.entries(usedKeys.shape).some(([name, schema]) => name === key && schema.safeParse(null).success);
}

function describeIssue(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_type') return typeNames[issue.expected] ?? `a ${issue.expected}`;
  if (issue.code === 'invalid_union') return 'a token id or a list of them';
  if (issue.code === 'too_small') return `${issue.inclusive === false ? 'more than' : 'at least'} ${issue.minimum}`;
  if (issue.code === 'too_big') return `at most ${issue.maximum}`;
  return issue.message.replaceAll('\n', ' ');
}
