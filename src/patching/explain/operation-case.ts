/** One operation by itself: its piece of the stage's graph, the numbers it reads, and what it gave inside the whole run. */

import { inputsOf } from '../../divergence/operations.ts';
import { inputNames, type Stage } from '../../graph/build.ts';
import type { BuiltGraph } from '../../graph/builder.ts';
import { cutGraph, hookValue } from '../../graph/cut.ts';
import { findHook, type Hook, isCacheHook } from '../../graph/hooks.ts';
import { newestRows } from '../../model/activation-rows.ts';
import { type FloatArray, floatData, floatTensor } from '../../model/arrays.ts';
import type { Activation, Activations, Executor, KernelRole, Rows } from '../../model/executor.ts';
import type { Tensor } from '../../model/onnxruntime.ts';
import type { Feeds } from '../../model/session.ts';

/** The operation under one kernel on one set of numbers. */
export interface OperationCase {
  name: string;
  hook: Hook;
  role: KernelRole;
  graph: BuiltGraph;
  feeds: Feeds;
  expected: Activation;
}

export interface OperationRequest {
  name: string;
  /** The operation's output. */
  hook: Hook;
  role: KernelRole;
  /** Newest rows of `activations` that it runs. */
  rows: Rows;
  /** What it reads and gave: at least these rows of its hooks, and the rows of the cache. */
  activations: Activations;
  /** Another mask than the one of the rows. */
  mask?: Tensor;
}

/** What has to be captured to run an operation by itself: what it reads, and its output. */
export function operationHooks({ config }: Executor, hook: Hook): string[] {
  return [...inputsOf(hook, config), hook.name];
}

/** Cut an operation out of its stage; or why that is not possible. */
export function operationCase(executor: Executor, request: OperationRequest): OperationCase | string {
  const { hook, role, rows, activations, name } = request;
  const { stage: part } = hook.definition;
  const stage: Stage = part === 'block' ? { block: hook.layer } : part;
  const reads = inputsOf(hook, executor.config);
  const built = executor.graph(stage, role, new Set(operationHooks(executor, hook)));
  const given = new Map(reads.map((read) => [hookValue(built, read), read]));
  const same = given.get(hookValue(built, hook.name));
  if (same !== undefined) return `${hook.name} is ${same} itself`;
  const graph = cutGraph(built, reads, hook.name);
  const window = part === 'block' ? executor.config.slidingWindows[hook.layer] : null;
  const positions = executor.positionFeeds(rows, window);
  if (request.mask) positions[inputNames.mask(window)] = request.mask;
  const feeds: Feeds = {};
  for (const input of graph.inputs) {
    const read = given.get(input);
    const tensor = read === undefined ? positions[input] : tensorOf(executor, activations, read, rows.count);
    if (!tensor) return `${hook.name} reads ${input}, which is no hook`;
    feeds[input] = tensor;
  }
  const output = activations.get(hook.name);
  if (!output) return `${hook.name} was not captured`;
  return { name, hook, role, graph, feeds, expected: newestRows(hook, output, rows.count) };
}

function tensorOf(executor: Executor, activations: Activations, name: string, count: number): Tensor | null {
  const hook = findHook(name, executor.config);
  const found = activations.get(name);
  if (!hook || !found) return null;
  const { data, dims } = isCacheHook(name) ? found : newestRows(hook, found, count);
  return floatTensor(data, dims);
}

/** The operation's output, computed by its piece of the graph alone. */
export async function runAlone(executor: Executor, { graph, role, feeds }: OperationCase): Promise<FloatArray> {
  const session = await executor.openGraph(graph, role);
  const [output] = graph.outputs;
  try {
    const found = await session.run(feeds, [output]);
    const tensor = found[output];
    if (!('dims' in tensor)) throw new Error(`${output}: expected a tensor`);
    return floatData(tensor);
  } finally {
    await session.release();
  }
}
