/**
 * One executor: `step` runs one stage of the model on some rows, given a history. Everything else – prefill, decode,
 * stand-ins, patched and counterfactual steps – is a plan, an ordered list of such steps (see `plans.ts`).
 */

import type { Checkpoint, ModelConfig } from '../checkpoint/types.ts';
import { buildStage, inputNames, type Stage } from '../graph/build.ts';
import type { BuiltGraph } from '../graph/builder.ts';
import { hookName } from '../graph/hooks.ts';
import { checkSlices, type GraphKernel, type KernelPreset } from '../graph/kernels.ts';
import { computeType, type RoundingPolicy } from '../graph/rounding.ts';
import type { StorageType } from '../numerics/types.ts';
import { allocate, type FloatArray, floatData, floatTensor } from './arrays.ts';
import { belongsTo, GraphPool } from './graph-pool.ts';
import { KVCache } from './kv-cache.ts';
import { Tensor } from './onnxruntime.ts';
import { PassCounts } from './pass-counts.ts';
import { PositionFeeds } from './position-feeds.ts';
import type { RotaryTables, WrongPositions } from './positions.ts';
import { type Feeds, GraphSession, type SessionOptions } from './session.ts';
import type { SessionHost } from './session-host.ts';
import type { Tape } from './tape.ts';

/** One captured tensor: row-major numbers, sizes along the hook's axes, and the type they are representable in. */
export interface Activation {
  data: FloatArray;
  dims: number[];
  dtype: StorageType;
}

/** Captured tensors by full hook name. */
export type Activations = Map<string, Activation>;

/**
 * Replace a hook's value where `mask` is 1. Mask and value broadcast to the hook's shape; the value must be
 * representable in the hook's type, since no later rounding of it is emitted.
 */
export interface Patch {
  hook: string;
  mask: { data: Uint8Array; dims: number[] };
  value: { data: FloatArray; dims: number[] };
}

/** A kernel of the preset. */
export type KernelRole = 'prefill' | 'decode';

/** Which kernel a step uses: one of the preset's, or one of its own. */
export type StepKernel = KernelRole | GraphKernel;

/** The rows a step runs: absolute positions start … start + count − 1. */
export interface Rows {
  start: number;
  count: number;
  /** Sequences that run side by side, each with its own history: the leading axis of every array. Default 1. */
  batch?: number;
  /** Left padding: rows at positions −padding … −1, which rows of the sequence do not see. Default 0. */
  padding?: number;
  /** Positions that a planted fault changes: rotary rows and mask are those of `start` and `count` otherwise. */
  wrong?: WrongPositions | null;
}

/** K/V rows −padding … start − 1 that a block reads before its own: [batch, pos, kv_head, d_head] each. */
export interface History {
  keys: FloatArray;
  values: FloatArray;
}

/** What a step must return, and what it must replace. */
export interface Capture {
  /** Full hook names; those of other stages are ignored. */
  hooks: ReadonlySet<string>;
  patches?: readonly Patch[];
  /** A block returns its rows' output alone, without the K/V rows: nothing will read them. */
  outputOnly?: boolean;
}

export interface BlockOutput {
  /** blocks.{i}.hook_resid_post of the rows: [batch, pos, d_model]. */
  residual: FloatArray;
  /** This step's rows as the cache stores them: [batch, pos, kv_head, d_head]; empty with `outputOnly`. */
  keys: FloatArray;
  values: FloatArray;
  activations: Activations;
}

export interface ExecutorOptions {
  checkpoint: Checkpoint;
  policy: RoundingPolicy;
  kernels: KernelPreset;
  threads: number;
  /**
   * Rotary tables to feed instead of those of the configuration: another implementation's, to compare everything else
   * with it. Rows from position 0 on; they limit how many positions can be run.
   */
  tables?: RotaryTables;
  /** Run one stage at a time: see `Tape`. */
  tape?: Tape;
  /**
   * Give every unpatched graph these hooks and fetch from it what a step asks for, so that a stage is loaded once whatever
   * its steps capture. The observer gate shows that this changes no bit. Absent: each hook set has graphs of its own.
   */
  sharedHooks?: ReadonlySet<string>;
  /** Load unpatched graphs in threads, neighbouring stages in different ones. */
  host?: SessionHost;
  /** Where in the threads' turn stage 0 is loaded; default 0. */
  lane?: number;
}

const noHooks: ReadonlySet<string> = new Set();

/** Run for the result alone. */
export const captureNothing: Capture = { hooks: noHooks };

/** Runs the stages of one model under one policy and one kernel preset. */
export class Executor {
  readonly config: ModelConfig;
  readonly policy: RoundingPolicy;
  readonly kernels: KernelPreset;
  readonly compute: 'f32' | 'f64';
  readonly options: ExecutorOptions;
  private readonly positions: PositionFeeds;
  private readonly graphs: GraphPool;
  /** How often a block ran so many rows after so many, and the unembedding so many: what a run's arithmetic is made of. */
  readonly passes = { block: new PassCounts(), unembed: new PassCounts() };

  /** @throws UsageError for a preset that the model's sizes do not allow. */
  constructor(options: ExecutorOptions) {
    this.options = options;
    this.config = options.checkpoint.config;
    checkSlices(options.kernels, this.config);
    this.policy = options.policy;
    this.kernels = options.kernels;
    this.compute = computeType(options.policy);
    this.positions = new PositionFeeds(this.config, options.policy, options.tables);
    this.graphs = new GraphPool(this);
  }

  /** The blocks whose tensors a pass returns: all of them, or what the tape is at. */
  get blocks(): number[] {
    return this.options.tape?.blocks ?? Array.from({ length: this.config.layers }, (_, layer) => layer);
  }

  /** An empty cache for sequences of up to `capacity` tokens, after `padding` rows of left padding. */
  newCache(capacity: number, padding = 0): KVCache {
    const { layers, kvHeads, headDim } = this.config;
    return new KVCache({ layers, kvHeads, headDim, compute: this.compute }, capacity, padding);
  }

  /** Residual rows of `tokens`: [1, pos, d_model]. */
  async embed(tokens: readonly number[], kernel: StepKernel, capture: Capture): Promise<BlockOutput['activations']> {
    const ids = new Tensor('int64', BigInt64Array.from(tokens, BigInt), [1, tokens.length]);
    return this.run('embed', kernel, { [inputNames.tokens]: ids }, capture, ['hook_embed']);
  }

  /**
   * One block on residual rows [batch, count, d_model], reading `history` (the rows before `start`) and its own new rows.
   */
  async block(
    layer: number,
    residual: FloatArray,
    rows: Rows,
    history: History,
    kernel: StepKernel,
    capture: Capture,
  ): Promise<BlockOutput> {
    const { hiddenSize, kvHeads, headDim } = this.config;
    const { batch = 1, padding = 0 } = rows;
    const before = padding + rows.start;
    const past = [batch, before, kvHeads, headDim];
    this.passes.block.add(rows.count, before, batch);
    const all = this.blockOutputs(layer);
    const wanted = capture.outputOnly ? [all[0]] : all;
    const feeds: Feeds = {
      [hookName('resid_pre', layer)]: floatTensor(residual, [batch, rows.count, hiddenSize]),
      [inputNames.pastKeys(layer)]: floatTensor(history.keys, past),
      [inputNames.pastValues(layer)]: floatTensor(history.values, past),
      ...this.positionFeeds(rows, this.config.slidingWindows[layer]),
    };
    const found = await this.run({ block: layer }, kernel, feeds, capture, wanted);
    const take = (name: string) => found.get(name)?.data ?? allocate(this.compute, 0);
    const output = { residual: take(all[0]), keys: take(all[1]), values: take(all[2]) };
    for (const name of wanted) if (!capture.hooks.has(name)) found.delete(name);
    return { ...output, activations: found };
  }

  /**
   * The K/V rows of a block alone, [batch, pos, kv_head, d_head]: what later rows need of rows whose own output nobody
   * reads.
   */
  async keysValues(layer: number, residual: FloatArray, rows: Rows, kernel: StepKernel): Promise<History> {
    const { batch = 1, count } = rows;
    const feeds: Feeds = {
      [hookName('resid_pre', layer)]: floatTensor(residual, [batch, count, this.config.hiddenSize]),
      ...this.positionFeeds(rows, this.config.slidingWindows[layer]),
    };
    delete feeds[inputNames.mask(this.config.slidingWindows[layer])];
    const wanted = [inputNames.newKeys(layer), inputNames.newValues(layer)];
    const found = await this.run({ block: layer }, kernel, feeds, captureNothing, wanted);
    return { keys: found.get(wanted[0])!.data, values: found.get(wanted[1])!.data };
  }

  /** Final norm and logits of residual rows [1, count, d_model]. */
  async unembed(residual: FloatArray, count: number, kernel: StepKernel, capture: Capture): Promise<Activations> {
    const { hiddenSize, layers } = this.config;
    this.passes.unembed.add(count, 0);
    const feeds = { [hookName('resid_post', layers - 1)]: floatTensor(residual, [1, count, hiddenSize]) };
    return this.run('unembed', kernel, feeds, capture, ['logits']);
  }

  /** The graph a step of this stage would run, with exactly these hooks and patch points. */
  graph(
    stage: Stage,
    kernel: StepKernel,
    hooks: ReadonlySet<string>,
    patchPoints: ReadonlySet<string> = noHooks,
  ): BuiltGraph {
    const { checkpoint } = this.options;
    return buildStage(stage, { checkpoint, policy: this.policy, kernel: this.kernel(kernel), hooks, patchPoints });
  }

  /** How sessions of this executor are opened. */
  sessionOptions(kernel: StepKernel): SessionOptions {
    const { checkpoint, threads } = this.options;
    return { threads, prepack: this.kernel(kernel).prepack, weightsRoot: checkpoint.weightsRoot };
  }

  /**
   * Load a graph as this executor loads its own; the caller releases it.
   * @param optimizedModelPath where to write the graph that really runs, if wanted.
   */
  openGraph(graph: BuiltGraph, kernel: StepKernel, optimizedModelPath?: string): Promise<GraphSession> {
    return GraphSession.open(graph, {
      ...this.sessionOptions(kernel),
      ...(optimizedModelPath === undefined ? {} : { optimizedModelPath }),
    });
  }

  /** Begin to load what passes will run at a stage; needs `sharedHooks`, or there is no telling what they will ask for. */
  async load(stage: Stage): Promise<void> {
    const { sharedHooks } = this.options;
    if (!sharedHooks) throw new Error('load: there is no telling which hooks passes will ask for');
    const always = { embed: ['hook_embed'], unembed: ['logits'] };
    const wanted = typeof stage === 'string' ? always[stage] : this.blockOutputs(stage.block);
    for (const kernel of ['prefill', 'decode'] as const) await this.graphs.open(stage, kernel, noHooks, wanted, []);
  }

  /** Close the sessions of one stage, or of all; the executor opens them again when needed. */
  release(stage?: Stage): Promise<void> {
    return this.graphs.release(stage);
  }

  /** Close the sessions of steps under this kernel, unless a kernel of the preset shares them. */
  releaseKernel(kernel: StepKernel): Promise<void> {
    return this.graphs.releaseKernel(kernel);
  }

  /**
   * Hold the sessions of patched graphs, of which there may be one per block and set of hooks. What is returned gives them up:
   * when nobody holds them any more they are closed.
   */
  holdPatched(): () => Promise<void> {
    return this.graphs.holdPatched();
  }

  /** What a block always returns: its output, and its K and V rows. */
  private blockOutputs(layer: number): [residual: string, keys: string, values: string] {
    return [hookName('resid_post', layer), inputNames.newKeys(layer), inputNames.newValues(layer)];
  }

  private kernel(kernel: StepKernel): GraphKernel {
    return typeof kernel === 'string' ? this.kernels[kernel] : kernel;
  }

  /** What depends on positions alone: rotary rows and the mask of these rows, in a layer of this window. */
  positionFeeds(rows: Rows, slidingWindow: number | null): Feeds {
    return this.positions.feeds(rows, slidingWindow);
  }

  private async run(
    stage: Stage,
    kernel: StepKernel,
    feeds: Feeds,
    { hooks, patches = [] }: Capture,
    always: readonly string[],
  ): Promise<Activations> {
    const mine = patches.filter((patch) => belongsTo(patch.hook, stage, this.config));
    const { session, bindings, outputs } = await this.graphs.fetch(stage, kernel, hooks, always, mine);
    for (const patch of mine) {
      feeds[`${patch.hook}.mask`] = new Tensor('bool', patch.mask.data, patch.mask.dims);
      feeds[`${patch.hook}.patch`] = floatTensor(patch.value.data, patch.value.dims);
    }
    const results = await session.run(feeds, outputs);
    const activations: Activations = new Map();
    for (const [name, { value, dtype }] of bindings) {
      const tensor = value in feeds ? feeds[value] : (results[value] as Tensor);
      activations.set(name, { data: floatData(tensor), dims: [...tensor.dims], dtype });
    }
    return activations;
  }
}
