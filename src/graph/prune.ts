/** Leave out what no output of a graph needs. */
import type { BuiltGraph } from './builder.ts';

/** The same graph without nodes, weights and inputs that its outputs do not depend on. What remains keeps its order. */
export function pruned(built: BuiltGraph): BuiltGraph {
  const { graph } = built.model;
  if (!graph) return built;
  const needed = new Set(built.outputs);
  const kept = (graph.node ?? []).toReversed().filter((node) => {
    const used = (node.output ?? []).some((name) => needed.has(name));
    if (used) for (const name of node.input ?? []) needed.add(name);
    return used;
  });
  const constants = new Set((graph.initializer ?? []).map(({ name }) => name ?? ''));
  const node = kept.toReversed();
  return {
    ...built,
    model: {
      ...built.model,
      graph: {
        ...graph,
        node,
        initializer: (graph.initializer ?? []).filter(({ name }) => needed.has(name ?? '')),
        input: (graph.input ?? []).filter(({ name }) => needed.has(name ?? '')),
      },
    },
    inputs: built.inputs.filter((name) => needed.has(name)),
    operators: countOperators(node, constants),
  };
}

/** Operators on values that are not known at load, casts with their target. */
function countOperators(
  nodes: readonly {
    input?: string[];
    output?: string[];
    opType?: string;
    attribute?: { name?: string; i?: number }[];
  }[],
  constants: Set<string>,
): Map<string, number> {
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
