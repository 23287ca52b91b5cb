/**
 * One executor: `step` runs one stage of the model on some rows, given a history. Everything else – prefill, decode,
 * stand-ins, patched and counterfactual steps – is a plan, an ordered list of such steps (see `plans.ts`).
 */
import { Tensor } from 'onnxruntime-node';
import type { Checkpoint, ModelConfig } from '../checkpoint/types.ts';
import { UsageError } from '../errors.ts';
import { buildStage, inputNames, type Stage } from '../graph/build.ts';
import type { BuiltGraph, HookBinding } from '../graph/builder.ts';
import { findHook, type HookedModel, hookName } from '../graph/hooks.ts';
import { checkSlices, type GraphKernel, type KernelPreset, kernelSignature, stageClasses } from '../graph/kernels.ts';
import { pruned } from '../graph/prune.ts';
import { computeType, type RoundingPolicy } from '../graph/rounding.ts';
import type { StorageType } from '../numerics/types.ts';
import { allocate, type FloatArray, floatData, floatTensor } from './arrays.ts';
import { KVCache } from './kv-cache.ts';
import {
  causalMask,
  changedMask,
  givenTables,
  type RotaryTables,
  rotaryTables,
  type WrongPositions,
} from './positions.ts';
import { type Feeds, GraphSession, type LoadedGraph, type SessionOptions } from './session.ts';
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
  /** Positions that a planted fault changes: rotary rows and mask are those of `start` and `count` otherwise. */
  wrong?: WrongPositions | null;
}

/** K/V rows 0 … start − 1 that a block reads before its own: [batch, pos, kv_head, d_head] each. */
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

/** A loaded graph and what a step takes from it. */
interface Fetch {
  session: LoadedGraph;
  bindings: [name: string, binding: HookBinding][];
  outputs: string[];
}

/** A session, loaded or on its way. */
interface OpenSession {
  stage: Stage;
  /** Of its kernel. */
  number: number;
  patched: boolean;
  loaded: Promise<LoadedGraph>;
}

const noHooks: ReadonlySet<string> = new Set();

/** Run for the result alone. */
export const captureNothing: Capture = { hooks: noHooks };

/** Equal passes, counted. */
export class PassCounts {
  private readonly counts = new Map<string, { rows: number; past: number; count: number }>();

  add(rows: number, past: number, times = 1): void {
    const key = `${rows} ${past}`;
    const known = this.counts.get(key);
    if (known) known.count += times;
    else this.counts.set(key, { rows, past, count: times });
  }

  /** In the order they first ran. */
  list(): { rows: number; past: number; count: number }[] {
    return [...this.counts.values()];
  }
}

/** Runs the stages of one model under one policy and one kernel preset. */
export class Executor {
  readonly config: ModelConfig;
  readonly policy: RoundingPolicy;
  readonly kernels: KernelPreset;
  readonly compute: 'f32' | 'f64';
  readonly options: ExecutorOptions;
  private readonly sessions = new Map<string, OpenSession>();
  /** How many hold patched sessions open. */
  private holders = 0;
  /** Sessions by the identity of the hook set, so that a step costs two look-ups and no string work. */
  private recent = new WeakMap<ReadonlySet<string>, Map<string, Promise<Fetch>>>();
  private readonly kernelNumbers = new WeakMap<GraphKernel, Partial<Record<keyof typeof stageClasses, number>>>();
  private readonly signatures = new Map<string, number>();
  private tables: RotaryTables | undefined;
  private masks = new Map<string, Tensor>();
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
    if (options.tables) this.tables = givenTables(options.tables, this.config, options.policy);
  }

  /** The blocks whose tensors a pass returns: all of them, or what the tape is at. */
  get blocks(): number[] {
    return this.options.tape?.blocks ?? Array.from({ length: this.config.layers }, (_, layer) => layer);
  }

  /** An empty cache for sequences of up to `capacity` tokens. */
  newCache(capacity: number): KVCache {
    const { layers, kvHeads, headDim } = this.config;
    return new KVCache({ layers, kvHeads, headDim, compute: this.compute }, capacity);
  }

  /** Residual rows of `tokens`: [1, pos, d_model]. */
  async embed(tokens: readonly number[], kernel: StepKernel, capture: Capture): Promise<BlockOutput['activations']> {
    const ids = new Tensor('int64', BigInt64Array.from(tokens, BigInt), [1, tokens.length]);
    return this.run('embed', kernel, { [inputNames.tokens]: ids }, capture, ['hook_embed']);
  }

  /**
   * One block on residual rows [batch, count, d_model], reading `history` (rows 0 … start − 1) and its own new rows.
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
    const { batch = 1 } = rows;
    const past = [batch, rows.start, kvHeads, headDim];
    this.passes.block.add(rows.count, rows.start, batch);
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
    for (const kernel of ['prefill', 'decode'] as const) await this.openSession(stage, kernel, noHooks, wanted, []);
  }

  /** Close the sessions of one stage, or of all; the executor opens them again when needed. */
  async release(stage?: Stage): Promise<void> {
    const key = stage === undefined ? null : stageKey(stage);
    await this.close(([, of]) => key === null || stageKey(of.stage) === key);
  }

  /** Close the sessions of steps under this kernel, unless a kernel of the preset shares them. */
  async releaseKernel(kernel: StepKernel): Promise<void> {
    const { prefill, decode } = this.kernels;
    await this.close(([, { stage, number }]) => {
      const isKept = [prefill, decode].some((kept) => this.kernelNumber(kept, stage) === number);
      return !isKept && this.kernelNumber(kernel, stage) === number;
    });
  }

  /**
   * Hold the sessions of patched graphs, of which there may be one per block and set of hooks. What is returned gives them up:
   * when nobody holds them any more they are closed.
   */
  holdPatched(): () => Promise<void> {
    this.holders += 1;
    return async () => {
      this.holders -= 1;
      if (this.holders === 0) await this.close(([, { patched }]) => patched);
    };
  }

  private async close(of: (entry: [string, OpenSession]) => boolean): Promise<void> {
    const closing = [...this.sessions].filter(of);
    this.recent = new WeakMap();
    for (const [name] of closing) this.sessions.delete(name);
    for (const [, { loaded }] of closing) await (await loaded).release();
  }

  /** What a block always returns: its output, and its K and V rows. */
  private blockOutputs(layer: number): [residual: string, keys: string, values: string] {
    return [hookName('resid_post', layer), inputNames.newKeys(layer), inputNames.newValues(layer)];
  }

  private kernel(kernel: StepKernel): GraphKernel {
    return typeof kernel === 'string' ? this.kernels[kernel] : kernel;
  }

  /** A number per kernel that computes a stage in its own way, looked up by the object so that a step writes no text. */
  private kernelNumber(kernel: StepKernel, stage: Stage): number {
    const of = this.kernel(kernel);
    const kind = typeof stage === 'string' ? stage : 'block';
    const numbers = this.kernelNumbers.get(of) ?? {};
    const known = numbers[kind];
    if (known !== undefined) return known;
    const signature = kernelSignature(of, stageClasses[kind]);
    const number = this.signatures.get(signature) ?? this.signatures.size;
    this.signatures.set(signature, number);
    this.kernelNumbers.set(of, { ...numbers, [kind]: number });
    return number;
  }

  /** What depends on positions alone: rotary rows and the mask of these rows, in a layer of this window. */
  positionFeeds({ start, count, wrong }: Rows, slidingWindow: number | null): Feeds {
    const { headDim, maxPositions } = this.config;
    this.tables ??= rotaryTables(this.config, this.policy, maxPositions);
    const rows = this.tables.cos.length / headDim;
    const first = start + (wrong?.offset ?? 0);
    if (first < 0 || first + count > rows) {
      const position = first < 0 ? first : first + count - 1;
      const planted = wrong?.offset ? ` (a planted fault's offset ${wrong.offset})` : '';
      throw new UsageError(
        `position ${position}${planted}: rotary tables have ${rows} rows, expected one per position`,
      );
    }
    const window = (table: FloatArray) => table.subarray(first * headDim, (first + count) * headDim);
    const dims = [1, count, 1, headDim];
    const right = this.mask(start, count, slidingWindow);
    const mask = wrong?.mask
      ? floatTensor(changedMask(floatData(right), start, count, slidingWindow, wrong.mask), right.dims)
      : right;
    return {
      [inputNames.cos]: floatTensor(window(this.tables.cos), dims),
      [inputNames.sin]: floatTensor(window(this.tables.sin), dims),
      [inputNames.mask(slidingWindow)]: mask,
    };
  }

  /** Masks of the current step are shared by its layers. */
  private mask(start: number, count: number, window: number | null): Tensor {
    const key = `${start}+${count} ${window}`;
    const known = this.masks.get(key);
    if (known) return known;
    if (this.masks.size >= 8) this.masks.clear();
    const mask = floatTensor(causalMask(this.compute, start, count, window), [count, start + count]);
    this.masks.set(key, mask);
    return mask;
  }

  private async run(
    stage: Stage,
    kernel: StepKernel,
    feeds: Feeds,
    { hooks, patches = [] }: Capture,
    always: readonly string[],
  ): Promise<Activations> {
    const mine = patches.filter((patch) => belongsTo(patch.hook, stage, this.config));
    const { session, bindings, outputs } = await this.fetch(stage, kernel, hooks, always, mine);
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

  private fetch(
    stage: Stage,
    kernel: StepKernel,
    hooks: ReadonlySet<string>,
    always: readonly string[],
    patches: readonly Patch[],
  ): Promise<Fetch> {
    const make = async (): Promise<Fetch> => {
      const session = await this.openSession(stage, kernel, hooks, always, patches);
      const { graph } = session;
      const all = [...graph.bindings];
      const asked = ([name]: (typeof all)[number]) => hooks.has(name) || always.includes(name);
      const optional = ([name]: (typeof all)[number]) => this.options.sharedHooks || isNewRow(name);
      const bindings = all.filter((binding) => !optional(binding) || asked(binding));
      const values = new Set(bindings.map(([, { value }]) => value));
      return { session, bindings, outputs: graph.outputs.filter((name) => values.has(name)) };
    };
    if (patches.length > 0) return make();
    const slot = `${stageKey(stage)}|${this.kernelNumber(kernel, stage)}|${always[0]}|${always.length}`;
    const known = this.recent.get(hooks)?.get(slot);
    if (known) return known;
    const made = make();
    const slots = this.recent.get(hooks) ?? new Map<string, Promise<Fetch>>();
    this.recent.set(hooks, slots.set(slot, made));
    return made;
  }

  /** The session of this stage with these outputs and patch points: opened once, shared by equal kernels. */
  private openSession(
    stage: Stage,
    kernel: StepKernel,
    hooks: ReadonlySet<string>,
    always: readonly string[],
    patches: readonly Patch[],
  ): Promise<LoadedGraph> {
    const own = new Set(always.filter((name) => findHook(name, this.config)));
    const shared = patches.length === 0 ? this.options.sharedHooks : undefined;
    for (const name of shared ?? hooks) if (belongsTo(name, stage, this.config)) own.add(name);
    // Rows attention reads are views of the cache; only a patched graph has to say what it really read.
    if (patches.length === 0) for (const name of own) if (isCacheHook(name)) own.delete(name);
    const points = new Set(patches.map((patch) => patch.hook));
    const number = this.kernelNumber(kernel, stage);
    const key = [stageKey(stage), number, [...own].sort().join(), [...points].sort().join()].join('|');
    const known = this.sessions.get(key);
    if (known) return known.loaded;
    const whole = this.graph(stage, kernel, own, points);
    const graph = own.size > 0 ? whole : pruned(whole);
    const { host, lane = 0 } = this.options;
    const loaded =
      host && patches.length === 0
        ? host.open(graph, this.sessionOptions(kernel), lane + this.stageIndex(stage))
        : this.openGraph(graph, kernel);
    this.sessions.set(key, { stage, number, patched: points.size > 0, loaded });
    return loaded;
  }

  /** 0 for the embedding, then the blocks, then the unembedding. */
  private stageIndex(stage: Stage): number {
    if (typeof stage !== 'string') return stage.block + 1;
    return stage === 'embed' ? 0 : this.config.layers + 1;
  }
}

function stageKey(stage: Stage): string {
  return typeof stage === 'string' ? stage : String(stage.block);
}

/** True for `blocks.{i}.attn.hook_cache_k|cache_v`. */
export function isCacheHook(name: string): boolean {
  return name.endsWith('.attn.hook_cache_k') || name.endsWith('.attn.hook_cache_v');
}

/** True for the K/V rows that a block returns beside its hooks. */
function isNewRow(name: string): boolean {
  return name.endsWith('.attn.new_k') || name.endsWith('.attn.new_v');
}

function belongsTo(name: string, stage: Stage, model: HookedModel): boolean {
  const hook = findHook(name, model);
  if (!hook) return false;
  if (typeof stage === 'string') return hook.definition.stage === stage;
  return hook.definition.stage === 'block' && hook.layer === stage.block;
}
