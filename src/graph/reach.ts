/** What a graph needs to compute some of its values. */
import type { GraphProto, NodeProto, TensorProto } from './onnx/messages.ts';

/** What `reach` found; nodes and initializers keep the graph's order. */
export interface Reached {
  nodes: NodeProto[];
  /** Names that no node computes: inputs of the graph, and sources. */
  inputs: Set<string>;
  initializers: TensorProto[];
}

/** Walk back from the targets to graph inputs and initializers, and no further than the sources. */
export function reach(graph: GraphProto, targets: Iterable<string>, sources: ReadonlySet<string> = new Set()): Reached {
  const producers = new Map<string, NodeProto>();
  for (const node of graph.node ?? []) for (const name of node.output ?? []) producers.set(name, node);
  const known = new Map((graph.initializer ?? []).map((tensor) => [tensor.name, tensor]));
  const found = { nodes: new Set<NodeProto>(), inputs: new Set<string>(), initializers: new Set<TensorProto>() };
  const open = [...targets];
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    const initializer = known.get(name);
    const node = sources.has(name) ? undefined : producers.get(name);
    if (initializer) found.initializers.add(initializer);
    else if (!node) found.inputs.add(name);
    else if (!found.nodes.has(node)) {
      found.nodes.add(node);
      open.push(...(node.input ?? []));
    }
  }
  return {
    nodes: (graph.node ?? []).filter((node) => found.nodes.has(node)),
    inputs: found.inputs,
    initializers: (graph.initializer ?? []).filter((tensor) => found.initializers.has(tensor)),
  };
}
