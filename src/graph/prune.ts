/** Leave out what no output of a graph needs. */
import type { BuiltGraph } from './builder.ts';
import type { NodeProto } from './onnx/messages.ts';
import { reach } from './reach.ts';

/** The same graph without nodes, weights and inputs that its outputs do not depend on. What remains keeps its order. */
export function pruned(built: BuiltGraph): BuiltGraph {
  const { graph } = built.model;
  if (!graph) return built;
  const { nodes, inputs, initializers } = reach(graph, built.outputs);
  const constants = new Set((graph.initializer ?? []).map(({ name }) => name ?? ''));
  return {
    ...built,
    model: {
      ...built.model,
      graph: {
        ...graph,
        node: nodes,
        initializer: initializers,
        input: (graph.input ?? []).filter(({ name }) => inputs.has(name ?? '')),
      },
    },
    inputs: built.inputs.filter((name) => inputs.has(name)),
    operators: countOperators(nodes, constants),
  };
}

/** Operators on values that are not known at load, casts with their target. */
function countOperators(nodes: readonly NodeProto[], constants: Set<string>): Map<string, number> {
  const operators = new Map<string, number>();
  for (const { input = [], output = [], opType = '', attribute = [] } of nodes) {
    if (input.every((name) => constants.has(name))) {
      for (const name of output) constants.add(name);
      continue;
    }
    const label = opType === 'Cast' ? `Cast(${attribute.find(({ name }) => name === 'to')?.i})` : opType;
    operators.set(label, (operators.get(label) ?? 0) + 1);
  }
  return operators;
}
