/**
 * A stage's graph, cut at its roundings: every rounded value becomes an output, and whatever read it reads a given value
 * instead. One run then computes each operation from given inputs alone, so that a difference belongs to the operation
 * that shows it and to no earlier one.
 */
import type { BuiltGraph } from '../../src/graph/builder.ts';
import { dataTypes, type NodeProto } from '../../src/graph/onnx/messages.ts';

/** One rounding of an activation: names of the graph's values. */
export interface Rounding {
  /** Output: the operation's result in the compute type, not yet rounded. */
  unrounded: string;
  /** Output: the result, rounded. */
  rounded: string;
  /** Input: what the operations after it read. */
  given: string;
}

/** Cut a graph; the roundings come in the order in which the graph computes them. */
export function cutAtRoundings(
  built: BuiltGraph,
  compute: 'f32' | 'f64',
): { graph: BuiltGraph; roundings: Rounding[] } {
  const graph = built.model.graph!;
  const nodes = graph.node!;
  const wide = compute === 'f64' ? dataTypes.double : dataTypes.float;
  const producers = new Map(nodes.flatMap((node) => node.output!.map((name): [string, NodeProto] => [name, node])));
  const constant = new Set(graph.initializer!.map((tensor) => tensor.name));
  const roundings: Rounding[] = [];
  for (const node of nodes) {
    if (node.input!.every((name) => constant.has(name))) for (const name of node.output!) constant.add(name);
    else if (isCast(node, dataTypes.float16) || isCast(node, dataTypes.bfloat16)) {
      const back = nodes.find((other) => other.input!.includes(node.output![0]) && isCast(other, wide));
      if (!back) throw new Error(`${node.name}: is not cast back`);
      const before = producers.get(node.input![0]);
      // From float64 the way leads through float32.
      const unrounded = compute === 'f64' && isCast(before, dataTypes.float) ? before!.input![0] : node.input![0];
      roundings.push({ unrounded, rounded: back.output![0], given: `${back.output![0]}.given` });
    }
  }
  const given = new Map(roundings.map((rounding) => [rounding.rounded, rounding.given]));
  const type = { tensorType: { elemType: wide } };
  const outputs = new Set([...built.outputs, ...roundings.flatMap(({ unrounded, rounded }) => [unrounded, rounded])]);
  const extra = [...outputs].filter((name) => !built.outputs.includes(name));
  const model = {
    ...built.model,
    graph: {
      ...graph,
      node: nodes.map((node) => ({ ...node, input: node.input!.map((name) => given.get(name) ?? name) })),
      input: [...graph.input!, ...[...given.values()].map((name) => ({ name, type }))],
      output: [...graph.output!, ...extra.map((name) => ({ name, type }))],
    },
  };
  return {
    graph: { ...built, model, inputs: [...built.inputs, ...given.values()], outputs: [...outputs] },
    roundings,
  };
}

function isCast(node: NodeProto | undefined, type: number): boolean {
  return node?.opType === 'Cast' && node.attribute![0].i === type;
}
