/**
 * A model to look into: tokens in, logits and activations out, functions on hooks in between. Names and argument
 * meanings follow TransformerLens's `HookedTransformer`; one sequence at a time (batch is 1).
 */
import ndarray, { type NdArray } from 'ndarray';
import { resolveModel } from '../checkpoint/embedded.ts';
import { checkFiniteWeights } from '../checkpoint/finite-weights.ts';
import { openCheckpoint } from '../checkpoint/open.ts';
import type { Checkpoint, ModelConfig } from '../checkpoint/types.ts';
import { InputError, UsageError } from '../errors.ts';
import { canonicalHookName, findHook, type Hook, modelHooks, selectHooks } from '../graph/hooks.ts';
import { type KernelPreset, resolveKernels } from '../graph/kernels.ts';
import { type RoundingPolicy, resolvePolicy } from '../graph/rounding.ts';
import { ActivationCache } from './activation-cache.ts';
import type { FloatArray } from './arrays.ts';
import { Executor, type ExecutorOptions, type StepKernel } from './executor.ts';
import type { Generated, GenerateOptions } from './generate.ts';
import { generate } from './generate.ts';
import type { HookedFunction, HookFunction } from './hook-functions.ts';
import type { KVCache } from './kv-cache.ts';
import { forward } from './plans.ts';

/** Under which arithmetic a model runs. */
export interface ModelOptions {
  /** Name of a rounding policy, path of one, or a policy; default `fp16`. */
  precision?: string | RoundingPolicy;
  /** Name of a kernel preset; default `ort`. */
  kernels?: string | KernelPreset;
  /** Intra-op threads; default 1. */
  threads?: number;
}

/** Which hooks to keep: a name or glob, several, or a test of each name. */
export type NamesFilter = string | readonly string[] | ((name: string) => boolean);

/** What a run captures, and which blocks and rows it runs: TransformerLens’s names for the same. */
export interface RunOptions {
  /** Hooks to capture; default all but the opt-in ones. */
  namesFilter?: NamesFilter;
  /** Run blocks startAtLayer … ; the input is then the residual stream [1, pos, d_model] before that block. */
  startAtLayer?: number;
  /** Stop before this block and return its residual input instead of logits. Negative counts from the end. */
  stopAtLayer?: number;
  /** Rows that ran before: new rows continue after them, and are appended. */
  past?: PastKeyValues;
  /** Kernel of the preset, or one of its own; default `prefill`, or `decode` for a single row after `past`. */
  kernel?: StepKernel;
}

/** Tokens and the cache that holds their K/V rows. */
export interface PastKeyValues {
  readonly cache: KVCache;
  length: number;
}

/** A text, token ids, or with `startAtLayer` a residual stream. */
export type ModelInput = string | readonly number[] | NdArray<FloatArray>;

/** One model under one rounding policy and one kernel preset. */
export class Model {
  readonly checkpoint: Checkpoint;
  readonly config: ModelConfig;
  readonly executor: Executor;

  private constructor(executor: Executor) {
    this.executor = executor;
    this.checkpoint = executor.options.checkpoint;
    this.config = executor.config;
  }

  /**
   * Open an embedded model by name, or a checkpoint folder.
   * @throws InputError for a checkpoint that cannot be used, UsageError for an unknown precision or preset.
   */
  static async open(model: string, options: ModelOptions = {}): Promise<Model> {
    const { precision = 'fp16', kernels = 'ort', threads = 1 } = options;
    const policy = typeof precision === 'string' ? resolvePolicy(precision) : precision;
    const preset = typeof kernels === 'string' ? resolveKernels(kernels) : kernels;
    const resolved = resolveModel(model);
    if (resolved.kind === 'graph')
      throw new InputError(`${model}: an exported graph folder`, 'open it with openGraphFolder and Model.from');
    const name = resolved.name === undefined ? {} : { name: resolved.name };
    const checkpoint = await openCheckpoint(resolved.dir, name);
    checkFiniteWeights(checkpoint);
    return Model.from({ checkpoint, policy, kernels: preset, threads });
  }

  /** A model of what is open already, for example what `openGraphFolder` returns. */
  static from(options: Omit<ExecutorOptions, 'threads'> & { threads?: number }): Model {
    return new Model(new Executor({ threads: 1, ...options }));
  }

  /** Names of all hooks, in execution order, opt-in ones included. */
  get hookNames(): string[] {
    return modelHooks(this.config).map(({ name }) => name);
  }

  /**
   * Token ids of a text, with BOS where the model's tokenizer adds it.
   * @throws InputError without a tokenizer.
   */
  toTokens(text: string): number[] {
    return this.tokenizer().encode(text);
  }

  /** Text of token ids, special tokens left out. @throws InputError without a tokenizer. */
  toText(tokens: readonly number[]): string {
    return this.tokenizer().decode(tokens);
  }

  /** An empty K/V cache to pass as `past`: rows of later runs are appended to it. */
  newPast(capacity = this.config.maxPositions): PastKeyValues {
    return { cache: this.executor.newCache(capacity), length: 0 };
  }

  /**
   * Run and capture.
   * @returns `logits` [1, pos, d_vocab] (null with `stopAtLayer`), `residual` [1, pos, d_model] after the last block
   *   that ran, and the captured activations.
   */
  async runWithCache(input: ModelInput, options: RunOptions = {}) {
    const hooks = new Set(this.filteredNames(options.namesFilter ?? 'all'));
    const { activations, ...result } = await this.run(input, options, hooks, []);
    return { ...result, cache: new ActivationCache(activations, this.config) };
  }

  /**
   * Run with functions on hooks: each is called with a copy of its hook's value and may return another, or change the
   * copy. Functions run in the order of the forward pass, so that a later one sees what an earlier one caused.
   * @param fwdHooks name (or glob, filter) and function
   */
  async runWithHooks(input: ModelInput, fwdHooks: readonly [NamesFilter, HookFunction][], options: RunOptions = {}) {
    const functions = fwdHooks.flatMap(([names, run]) =>
      this.filteredNames(names).map((name): HookedFunction => ({ hook: this.hook(name), run })),
    );
    const hooks = new Set(options.namesFilter === undefined ? [] : this.filteredNames(options.namesFilter));
    const { activations, ...result } = await this.run(input, options, hooks, functions);
    return { ...result, cache: new ActivationCache(activations, this.config) };
  }

  /** Continue a prompt in either arm. */
  generate(prompt: string | readonly number[], options: GenerateOptions): Promise<Generated> {
    return generate(this.executor, typeof prompt === 'string' ? this.toTokens(prompt) : prompt, options);
  }

  /** Close the sessions; the model opens them again when it is used. */
  release(): Promise<void> {
    return this.executor.release();
  }

  private async run(
    input: ModelInput,
    { startAtLayer, stopAtLayer, past, kernel }: RunOptions,
    hooks: ReadonlySet<string>,
    functions: readonly HookedFunction[],
  ) {
    const { layers, vocabSize, hiddenSize } = this.config;
    const first = this.layerIndex('startAtLayer', startAtLayer ?? 0, layers - 1);
    const stop = stopAtLayer === undefined ? undefined : this.layerIndex('stopAtLayer', stopAtLayer, layers);
    const start = past?.length ?? 0;
    const { tokens, residual } = this.rows(input, startAtLayer !== undefined);
    checkTokens(this.config, tokens, start);
    const result = await forward(this.executor, {
      tokens,
      start,
      cache: past?.cache ?? this.executor.newCache(tokens.length),
      kernel: kernel ?? (start > 0 && tokens.length === 1 ? 'decode' : 'prefill'),
      capture: { hooks },
      functions,
      startAtLayer: first,
      ...(stop === undefined ? {} : { stopAtLayer: stop }),
      ...(residual === undefined ? {} : { residual }),
    });
    if (past) past.length += tokens.length;
    return {
      logits: result.logits && ndarray(result.logits, [1, tokens.length, vocabSize]),
      residual: ndarray(result.residual, [1, tokens.length, hiddenSize]),
      activations: result.activations,
    };
  }

  /** Token ids of the input, or a residual stream and as many stand-ins. */
  private rows(input: ModelInput, isResidual: boolean): { tokens: readonly number[]; residual?: FloatArray } {
    if (typeof input === 'string' || !('shape' in input)) {
      if (isResidual)
        throw new UsageError('startAtLayer: the input must be a residual stream, an ndarray [1, pos, d_model]');
      return { tokens: typeof input === 'string' ? this.toTokens(input) : input };
    }
    const { hiddenSize } = this.config;
    const [batch, count, width] = input.shape;
    if (!isResidual || input.dimension !== 3 || batch !== 1 || width !== hiddenSize) {
      const found = `[${input.shape.join(', ')}]`;
      throw new UsageError(
        `input: found an array ${found}, expected [1, pos, ${hiddenSize}] together with startAtLayer`,
      );
    }
    const data = this.executor.compute === 'f64' ? new Float64Array(input.size) : new Float32Array(input.size);
    for (let pos = 0; pos < count; pos++) {
      for (let i = 0; i < width; i++) data[pos * width + i] = input.get(0, pos, i);
    }
    return { tokens: new Array<number>(count).fill(0), residual: data };
  }

  private layerIndex(name: string, layer: number, most: number): number {
    const index = layer < 0 ? layer + this.config.layers : layer;
    if (Number.isInteger(index) && index >= 0 && index <= most) return index;
    throw new UsageError(`${name}: found ${layer}, expected a layer from ${-this.config.layers} to ${most}`);
  }

  private filteredNames(filter: NamesFilter): string[] {
    if (typeof filter === 'function') return this.hookNames.filter(filter);
    const globs = typeof filter === 'string' ? [filter] : filter;
    return globs.length === 0 ? [] : selectHooks(globs.join(), this.config).map(({ name }) => name);
  }

  private hook(name: string): Hook {
    const hook = findHook(canonicalHookName(name), this.config);
    if (!hook) throw new UsageError(`"${name}" is no hook of this model`);
    return hook;
  }

  private tokenizer() {
    const { tokenizer, dir } = this.checkpoint;
    if (tokenizer) return tokenizer;
    throw new InputError(`${dir}: has no tokenizer.json, so texts cannot be tokenised`, 'give token ids');
  }
}

/**
 * Rows start, start + 1, … of these tokens fit the model.
 * @throws UsageError for no token, an id that is none of the vocabulary's, or more tokens than the context holds
 */
export function checkTokens(
  { vocabSize, maxPositions }: Pick<ModelConfig, 'vocabSize' | 'maxPositions'>,
  tokens: readonly number[],
  start = 0,
): void {
  if (tokens.length === 0) throw new UsageError('input: found no token, expected at least one');
  const bad = tokens.find((id) => !Number.isInteger(id) || id < 0 || id >= vocabSize);
  if (bad !== undefined) throw new UsageError(`input: found token id ${bad}, expected 0 … ${vocabSize - 1}`);
  const length = start + tokens.length;
  if (length > maxPositions) {
    throw new UsageError(`input: found ${length} tokens, expected at most ${maxPositions}, the context`);
  }
}
