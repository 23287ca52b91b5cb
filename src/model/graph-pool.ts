/**
 * The loaded graphs of one executor: opened when a step first needs them, shared by steps of equal kernels, hooks and patch
 * points, and closed together.
 */
import type { Stage } from '../graph/build.ts';
import type { HookBinding } from '../graph/builder.ts';
import { findHook, type HookedModel, isCacheHook } from '../graph/hooks.ts';
import { type GraphKernel, kernelSignature, stageClasses } from '../graph/kernels.ts';
import { pruned } from '../graph/prune.ts';
import type { Executor, Patch, StepKernel } from './executor.ts';
import type { LoadedGraph } from './session.ts';

/** What graphs come from: an executor makes and opens them. */
type GraphSource = Pick<Executor, 'config' | 'kernels' | 'options' | 'graph' | 'openGraph' | 'sessionOptions'>;

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

/** Opens, finds and closes sessions. */
export class GraphPool {
  private readonly source: GraphSource;
  private readonly sessions = new Map<string, OpenSession>();
  /** How many hold patched sessions open. */
  private holders = 0;
  /** Sessions by the identity of the hook set, so that a step costs two look-ups and no string work. */
  private recent = new WeakMap<ReadonlySet<string>, Map<string, Promise<Fetch>>>();
  private readonly kernelNumbers = new WeakMap<GraphKernel, Partial<Record<keyof typeof stageClasses, number>>>();
  private readonly signatures = new Map<string, number>();

  constructor(source: GraphSource) {
    this.source = source;
  }

  /** The session of a step, and what the step takes from it. */
  fetch(
    stage: Stage,
    kernel: StepKernel,
    hooks: ReadonlySet<string>,
    always: readonly string[],
    patches: readonly Patch[],
  ): Promise<Fetch> {
    const make = async (): Promise<Fetch> => {
      const session = await this.open(stage, kernel, hooks, always, patches);
      const { graph } = session;
      const all = [...graph.bindings];
      const asked = ([name]: (typeof all)[number]) => hooks.has(name) || always.includes(name);
      const optional = ([name]: (typeof all)[number]) => this.source.options.sharedHooks || isNewRow(name);
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
  open(
    stage: Stage,
    kernel: StepKernel,
    hooks: ReadonlySet<string>,
    always: readonly string[],
    patches: readonly Patch[],
  ): Promise<LoadedGraph> {
    const own = new Set(always.filter((name) => findHook(name, this.source.config)));
    const shared = patches.length === 0 ? this.source.options.sharedHooks : undefined;
    for (const name of shared ?? hooks) if (belongsTo(name, stage, this.source.config)) own.add(name);
    // Rows attention reads are views of the cache; only a patched graph has to say what it really read.
    if (patches.length === 0) for (const name of own) if (isCacheHook(name)) own.delete(name);
    const points = new Set(patches.map((patch) => patch.hook));
    const number = this.kernelNumber(kernel, stage);
    const key = [stageKey(stage), number, [...own].sort().join(), [...points].sort().join()].join('|');
    const known = this.sessions.get(key);
    if (known) return known.loaded;
    const whole = this.source.graph(stage, kernel, own, points);
    const graph = own.size > 0 ? whole : pruned(whole);
    const { host, lane = 0 } = this.source.options;
    const loaded =
      host && patches.length === 0
        ? host.open(graph, this.source.sessionOptions(kernel), lane + this.stageIndex(stage))
        : this.source.openGraph(graph, kernel);
    this.sessions.set(key, { stage, number, patched: points.size > 0, loaded });
    return loaded;
  }

  /** 0 for the embedding, then the blocks, then the unembedding. */
  private stageIndex(stage: Stage): number {
    if (typeof stage !== 'string') return stage.block + 1;
    return stage === 'embed' ? 0 : this.source.config.layers + 1;
  }

  /** Close the sessions of one stage, or of all; the executor opens them again when needed. */
  async release(stage?: Stage): Promise<void> {
    const key = stage === undefined ? null : stageKey(stage);
    await this.close(([, of]) => key === null || stageKey(of.stage) === key);
  }

  /** Close the sessions of steps under this kernel, unless a kernel of the preset shares them. */
  async releaseKernel(kernel: StepKernel): Promise<void> {
    const { prefill, decode } = this.source.kernels;
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

  /** A number per kernel that computes a stage in its own way, looked up by the object so that a step writes no text. */
  private kernelNumber(kernel: StepKernel, stage: Stage): number {
    const of = typeof kernel === 'string' ? this.source.kernels[kernel] : kernel;
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
}

function stageKey(stage: Stage): string {
  return typeof stage === 'string' ? stage : String(stage.block);
}

/** True for the K/V rows that a block returns beside its hooks. */
function isNewRow(name: string): boolean {
  return name.endsWith('.attn.new_k') || name.endsWith('.attn.new_v');
}

/** True for a hook that this stage computes. */
export function belongsTo(name: string, stage: Stage, model: HookedModel): boolean {
  const hook = findHook(name, model);
  if (!hook) return false;
  if (typeof stage === 'string') return hook.definition.stage === stage;
  return hook.definition.stage === 'block' && hook.layer === stage.block;
}
