/**
 * Cut a piece out of a stage's graph: the nodes between given values and one hook, as a graph of its own. Given values become
 * inputs, so that the piece computes one operation from numbers of one's choice, with the very nodes of the stage.
 */
import { closeSync, openSync, readSync } from 'node:fs';
import { resolve } from 'node:path';
import { InputError } from '../errors.ts';
import type { BuiltGraph } from './builder.ts';
import type { TensorProto, ValueInfoProto } from './onnx/messages.ts';
import { reach } from './reach.ts';

/**
 * The piece of `built` that computes hook `output` from the hooks `given`; both must be among the hooks it was built with.
 * Its inputs are those of the given hooks that it reads, under their hook names, and what it reads of the stage's own inputs.
 */
export function cutGraph(built: BuiltGraph, given: Iterable<string>, output: string): BuiltGraph {
  const { graph = {} } = built.model;
  const value = (hook: string) => hookValue(built, hook);
  const target = value(output);
  const sources = new Set([...given].map(value));
  if (sources.has(target)) throw new Error(`cut: ${output} is given and wanted`);
  const { nodes, inputs, initializers } = reach(graph, [target], sources);
  const declared = new Map([...(graph.input ?? []), ...(graph.output ?? [])].map((info) => [info.name, info]));
  const infos = [...inputs].map((name): ValueInfoProto => {
    const info = declared.get(name);
    if (!info) throw new Error(`cut: ${name} has no declared type`);
    return info;
  });
  return {
    ...built,
    model: {
      ...built.model,
      graph: {
        name: `${graph.name}, ${output}`,
        node: nodes,
        initializer: initializers,
        input: infos,
        output: (graph.output ?? []).filter((info) => info.name === target),
      },
    },
    inputs: [...inputs],
    outputs: [target],
    bindings: new Map([...built.bindings].filter(([name]) => name === output)),
  };
}

/** The value that carries a hook: what the graph was built to expose, or an input of the stage. */
export function hookValue(built: BuiltGraph, hook: string): string {
  const value = built.bindings.get(hook)?.value ?? built.inputs.find((name) => name === hook);
  if (value === undefined) throw new Error(`cut: ${hook} is not among the hooks of ${built.model.graph?.name}`);
  return value;
}

/** Bytes of the weights a graph points to. */
export function externalBytes({ model }: BuiltGraph): number {
  const tensors = model.graph?.initializer ?? [];
  return tensors.reduce((total, tensor) => total + (isExternal(tensor) ? Number(field(tensor, 'length')) : 0), 0);
}

/** The same graph with the weights it points to inside it. @param weightsRoot folder that their locations are relative to */
export function embedWeights(built: BuiltGraph, weightsRoot: string): BuiltGraph {
  const { graph = {} } = built.model;
  const initializer = (graph.initializer ?? []).map((tensor): TensorProto => {
    if (!isExternal(tensor)) return tensor;
    const { externalData: _, dataLocation: __, ...rest } = tensor;
    return { ...rest, rawData: readWeights(tensor, weightsRoot) };
  });
  return { ...built, model: { ...built.model, graph: { ...graph, initializer } } };
}

function readWeights(tensor: TensorProto, weightsRoot: string): Uint8Array {
  const file = resolve(weightsRoot, field(tensor, 'location'));
  const bytes = new Uint8Array(Number(field(tensor, 'length')));
  const descriptor = openSync(file, 'r');
  try {
    const read = readSync(descriptor, bytes, 0, bytes.length, Number(field(tensor, 'offset')));
    if (read !== bytes.length) throw new InputError(`${file}: ends inside ${tensor.name}, was it changed?`);
  } finally {
    closeSync(descriptor);
  }
  return bytes;
}

function isExternal({ dataLocation }: TensorProto): boolean {
  return dataLocation === 1;
}

function field({ externalData = [], name }: TensorProto, key: string): string {
  const value = externalData.find((entry) => entry.key === key)?.value;
  if (value === undefined) throw new Error(`${name}: external data without ${key}`);
  return value;
}
