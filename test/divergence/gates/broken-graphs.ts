/** Graphs with one deliberate fault each: what the canary and provenance gates must catch. */
import type { BuiltGraph } from '../../../src/graph/builder.ts';
import {
  attributeTypes,
  dataTypes,
  type GraphProto,
  type NodeProto,
  type TensorProto,
  type ValueInfoProto,
} from '../../../src/graph/onnx/messages.ts';
import { float16Bits } from '../../../src/numerics/half.ts';

const { float, float16, bfloat16 } = dataTypes;

/**
 * The same graph typed float16 throughout, as a half-precision export is: values and constants are float16, nothing is
 * cast back to float32 but the outputs.
 */
export function float16Typed(built: BuiltGraph): BuiltGraph {
  return withGraph(built, (graph) => {
    const inputs = (graph.input ?? []).filter(isFloat);
    const outputs = (graph.output ?? []).filter(isFloat);
    const fed = new Map(inputs.map(({ name = '' }) => [name, `${name}/half`]));
    const kept = new Map(outputs.map(({ name = '' }) => [name, `${name}/half`]));
    const inside = (name: string) => fed.get(name) ?? kept.get(name) ?? name;
    const body = (graph.node ?? []).map((node) => {
      const half = { ...node, input: node.input?.map(inside), output: node.output?.map(inside) };
      return castTarget(node) === float ? castNode(half.input?.[0] ?? '', half.output?.[0] ?? '', float16) : half;
    });
    return {
      ...graph,
      initializer: graph.initializer?.map(halfConstant),
      node: [
        ...[...fed].map(([name, half]) => castNode(name, half, float16)),
        ...body,
        ...[...kept].map(([name, half]) => castNode(half, name, float)),
      ],
    };
  });
}

/** The same graph with every rounding of a computed value left out. */
export function withoutRoundings(built: BuiltGraph): BuiltGraph {
  return withGraph(built, (graph) => {
    const constants = new Set(graph.initializer?.map(({ name }) => name));
    const roundings = new Map<string, string>();
    for (const node of graph.node ?? []) {
      const input = node.input?.[0] ?? '';
      if (isNarrow(castTarget(node)) && !constants.has(input)) roundings.set(node.output?.[0] ?? '', input);
    }
    const node = (graph.node ?? [])
      .filter(({ output }) => !roundings.has(output?.[0] ?? ''))
      .map((each) => {
        const unrounded = roundings.get(each.input?.[0] ?? '');
        if (each.opType !== 'Cast' || unrounded === undefined) return each;
        return { opType: 'Identity', name: each.name, input: [unrounded], output: each.output };
      });
    return { ...graph, node };
  });
}

/** The same graph rounding to bfloat16 where it should round to float16. */
export function roundedToBfloat16(built: BuiltGraph): BuiltGraph {
  return withGraph(built, (graph) => ({
    ...graph,
    node: graph.node?.map((node) =>
      castTarget(node) === float16 ? castNode(node.input?.[0] ?? '', node.output?.[0] ?? '', bfloat16) : node,
    ),
  }));
}

function withGraph(built: BuiltGraph, change: (graph: GraphProto) => GraphProto): BuiltGraph {
  return { ...built, model: { ...built.model, graph: change(built.model.graph ?? {}) } };
}

function castTarget({ opType, attribute }: NodeProto): number | undefined {
  return opType === 'Cast' ? attribute?.find(({ name }) => name === 'to')?.i : undefined;
}

function isNarrow(target: number | undefined): boolean {
  return target === float16 || target === bfloat16;
}

function isFloat({ type }: ValueInfoProto): boolean {
  return type?.tensorType?.elemType === float;
}

function castNode(input: string, output: string, to: number): NodeProto {
  return {
    opType: 'Cast',
    name: `cast ${output}`,
    input: [input],
    output: [output],
    attribute: [{ name: 'to', i: to, type: attributeTypes.int }],
  };
}

function halfConstant(tensor: TensorProto): TensorProto {
  if (tensor.dataType !== float || !tensor.rawData) return tensor;
  const values = new Float32Array(tensor.rawData.slice().buffer);
  return { ...tensor, dataType: float16, rawData: new Uint8Array(Uint16Array.from(values, float16Bits).buffer) };
}
