/** An executor that also returns what meets the checkpoint's weights: both operands of every product with a weight. */
import type { Stage } from '../../src/graph/build.ts';
import type { BuiltGraph } from '../../src/graph/builder.ts';
import { dataTypes, type GraphProto } from '../../src/graph/onnx/messages.ts';
import type { Place } from '../../src/graph/rounding.ts';
import type { FloatArray } from '../../src/model/arrays.ts';
import {
  type Activations,
  type BlockOutput,
  type Capture,
  Executor,
  type StepKernel,
} from '../../src/model/executor.ts';

export interface Operand {
  /** The graph's name and the value's name in it. */
  name: string;
  /** Where it was last rounded. */
  place: Place;
  data: FloatArray;
}

export class OperandProbe extends Executor {
  /** The operands of every step so far. */
  readonly operands: Operand[] = [];
  private readonly places = new Map<string, Place>();

  override graph(...request: Parameters<Executor['graph']>): BuiltGraph {
    const built = super.graph(...request);
    const graph = built.model.graph!;
    const output = [...graph.output!];
    const bindings = new Map(built.bindings);
    for (const [value, place] of weightedOperands(graph)) {
      const name = `${graph.name}/${value}`;
      this.places.set(name, place);
      bindings.set(name, { value, dtype: 'f32' });
      if (!output.some((info) => info.name === value))
        output.push({ name: value, type: { tensorType: { elemType: dataTypes.float } } });
    }
    const model = { ...built.model, graph: { ...graph, output } };
    return { ...built, model, bindings, outputs: output.map((info) => info.name!) };
  }

  override async block(...request: Parameters<Executor['block']>): Promise<BlockOutput> {
    const [layer, residual, rows, history, kernel, capture] = request;
    const asked = this.withOperands({ block: layer }, kernel, capture);
    const output = await super.block(layer, residual, rows, history, kernel, asked);
    this.keep(output.activations);
    return output;
  }

  override async unembed(...request: Parameters<Executor['unembed']>): Promise<Activations> {
    const [residual, count, kernel, capture] = request;
    const activations = await super.unembed(residual, count, kernel, this.withOperands('unembed', kernel, capture));
    this.keep(activations);
    return activations;
  }

  /** Ask for the operands beside the hooks; building the graph tells their names. */
  private withOperands(stage: Stage, kernel: StepKernel, capture: Capture): Capture {
    this.graph(stage, kernel, capture.hooks);
    return { ...capture, hooks: new Set([...capture.hooks, ...this.places.keys()]) };
  }

  private keep(activations: Activations): void {
    for (const [name, { data }] of activations) {
      const place = this.places.get(name);
      if (place) this.operands.push({ name, place, data });
    }
  }
}

/** Operands of the products with a weight, and where each of them was rounded. */
function weightedOperands({ node: nodes = [], initializer = [] }: GraphProto): Map<string, Place> {
  const producers = new Map(nodes.map((node) => [node.output![0], node]));
  const stored = new Set(initializer.filter((tensor) => tensor.externalData).map((tensor) => tensor.name));
  const weightKey = (name: string): string | null => {
    if (stored.has(name)) return name;
    const { opType = '', input = [] } = producers.get(name) ?? {};
    return ['Cast', 'Transpose'].includes(opType) ? weightKey(input[0]) : null;
  };
  const found = new Map<string, Place>();
  for (const { opType = '', input = [] } of nodes) {
    const keys = input.map(weightKey);
    const key = keys.find((candidate) => candidate !== null);
    if (!['MatMul', 'Mul'].includes(opType) || !key) continue;
    const other = key.includes('o_proj') ? 'attention_out' : key.includes('down_proj') ? 'mlp' : 'norm';
    for (const [index, name] of input.entries()) found.set(name, keys[index] === null ? other : 'weights');
  }
  return found;
}
