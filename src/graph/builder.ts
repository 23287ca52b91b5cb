/**
 * A small builder of ONNX graphs: operations, weights that stay in the checkpoint, explicit roundings, hooks and
 * optional patch points.
 *
 * Every value carries the type its numbers are representable in, so that a rounding that cannot change a bit is not
 * emitted and the operators of the optimized graph can be predicted exactly (the provenance gate).
 */
import { relative, sep } from 'node:path';
import type { Checkpoint, ModelConfig, TensorDtype, TensorInfo } from '../checkpoint/types.ts';
import { InputError, UsageError } from '../errors.ts';
import { roundTo } from '../numerics/half.ts';
import { contains, type StorageType } from '../numerics/types.ts';
import { type Axis, findHook } from './hooks.ts';
import { type GraphKernel, patchRefusal } from './kernels.ts';
import {
  type AttributeProto,
  attributeTypes,
  type DataType,
  dataTypes,
  type ModelProto,
  type NodeProto,
  type TensorProto,
  type ValueInfoProto,
} from './onnx/messages.ts';
import { computeType, constantsType, type Place, type RoundingPolicy, typeAt } from './rounding.ts';

/** A tensor in the graph under construction. */
export interface Value {
  readonly name: string;
  /** Its numbers are representable in this type (integers and booleans carry the compute type). */
  readonly type: StorageType;
  /** Known at load time: folded by the runtime. */
  readonly constant: boolean;
}

/** How many heads a tensor's rows hold in the checkpoint, and how many the graph uses. */
export interface HeadRows {
  stored: number;
  used: number;
}

const asStored: HeadRows = { stored: 1, used: 1 };

/** For each of `heads` heads, the one it shares among fewer: ⌊j · shared / heads⌋. */
export function sharedHeads(heads: number, shared: number): number[] {
  return Array.from({ length: heads }, (_, head) => Math.floor((head * shared) / heads));
}

/** What a graph is built for. */
export interface GraphOptions {
  checkpoint: Checkpoint;
  policy: RoundingPolicy;
  kernel: GraphKernel;
  /** Full names of the hooks that become outputs. */
  hooks: ReadonlySet<string>;
  /** Full names of the hooks that get a patch point: inputs `{hook}.mask` (bool) and `{hook}.patch`. */
  patchPoints: ReadonlySet<string>;
}

/** Where a hook's value is found, and the type it is representable in. */
export interface HookBinding {
  /** Name of the graph output, or of the graph input that carries it unchanged. */
  value: string;
  dtype: StorageType;
}

/** A finished graph with what the executor and the gates need to know about it. */
export interface BuiltGraph {
  model: ModelProto;
  inputs: string[];
  outputs: string[];
  /** Where each selected hook, and each of this step's K/V row outputs, is found. */
  bindings: Map<string, HookBinding>;
  /** Operators on non-constant values, as the optimized graph must show them: operator (casts with their target) → count. */
  operators: Map<string, number>;
}

const opsetVersion = 17;
const irVersion = 8;
const storageTypes: Record<StorageType, DataType> = { f16: 'float16', bf16: 'bfloat16', f32: 'float', f64: 'double' };
const tensorTypes: Record<TensorDtype, StorageType> = { F16: 'f16', BF16: 'bf16', F32: 'f32' };

type Attributes = Record<string, number | number[]>;

export class GraphBuilder {
  readonly config: ModelConfig;
  readonly policy: RoundingPolicy;
  readonly kernel: GraphKernel;
  readonly compute: 'f32' | 'f64';
  private readonly options: GraphOptions;
  private readonly nodes: NodeProto[] = [];
  private readonly initializers = new Map<string, TensorProto>();
  private readonly graphInputs: ValueInfoProto[] = [];
  private readonly graphOutputs: ValueInfoProto[] = [];
  private readonly bindings = new Map<string, HookBinding>();
  private readonly publicNames = new Map<string, string>();
  private readonly operators = new Map<string, number>();
  private readonly folded = new Map<string, Value>();
  private counter = 0;

  /** @throws UsageError for a patch point that graphs of this kernel do not have. */
  constructor(options: GraphOptions) {
    for (const hook of options.patchPoints) {
      const refusal = patchRefusal(options.kernel, hook);
      if (refusal !== null) throw new UsageError(refusal);
    }
    this.options = options;
    this.config = options.checkpoint.config;
    this.policy = options.policy;
    this.kernel = options.kernel;
    this.compute = computeType(options.policy);
  }

  /** Declare a graph input; `type` is what its numbers are representable in. */
  input(name: string, dims: (number | string)[], type: StorageType = this.compute, dataType?: DataType): Value {
    this.graphInputs.push(valueInfo(name, dataType ?? storageTypes[this.compute], dims));
    return { name, type, constant: false };
  }

  /** One operation with one output; the result's numbers are representable in the compute type unless `type` says more. */
  op(operator: string, inputs: Value[], attributes: Attributes = {}, type: StorageType = this.compute): Value {
    return this.emit(operator, inputs, [this.fresh(operator)], attributes, type)[0];
  }

  /** One operation with several outputs. */
  ops(operator: string, inputs: Value[], count: number, attributes: Attributes, type: StorageType): Value[] {
    const names = Array.from({ length: count }, () => this.fresh(operator));
    return this.emit(operator, inputs, names, attributes, type);
  }

  /** A floating-point scalar in the policy's constants type, computed once in double. */
  scalar(value: number): Value {
    const rounded = constantsType(this.policy) === 'f32' ? Math.fround(value) : value;
    const data = this.compute === 'f64' ? new Float64Array([rounded]) : new Float32Array([rounded]);
    const name = this.intern(`scalar_${rounded}`, storageTypes[this.compute], [], new Uint8Array(data.buffer));
    return { name, type: this.compute, constant: true };
  }

  /** A scalar that is stored in the policy's type at `place`, as a tensor of the model's type is. */
  scalarAt(value: number, place: Place): Value {
    return this.scalar(roundTo(typeAt(this.policy, place), value));
  }

  /** An int64 vector, for shapes, split sizes and orders; a long one has a name of its own. */
  integers(values: number[], ownName = `int64_${values.join('_')}`): Value {
    const data = new BigInt64Array(values.map(BigInt));
    const name = this.intern(ownName, 'int64', [values.length], new Uint8Array(data.buffer));
    return { name, type: this.compute, constant: true };
  }

  /** An int64 scalar: gathering at it drops the axis. */
  index(value: number): Value {
    const data = new BigInt64Array([BigInt(value)]);
    return {
      name: this.intern(`index_${value}`, 'int64', [], new Uint8Array(data.buffer)),
      type: this.compute,
      constant: true,
    };
  }

  /** Columns of a stored matrix: what a linear layer sums over. */
  columns(key: string): number {
    return this.tensor(key).shape[1];
  }

  /** A checkpoint tensor as it lies on disk, not yet converted. */
  stored(key: string): Value {
    const tensor = this.tensor(key);
    if (!this.initializers.has(key)) {
      const location = relative(this.options.checkpoint.weightsRoot, tensor.file).split(sep).join('/');
      this.initializers.set(key, {
        dims: tensor.shape,
        dataType: dataTypes[storageTypes[tensorTypes[tensor.dtype]]],
        name: key,
        externalData: [
          { key: 'location', value: location },
          { key: 'offset', value: String(tensor.offset) },
          { key: 'length', value: String(tensor.bytes) },
        ],
        dataLocation: 1,
      });
    }
    return { name: key, type: tensorTypes[tensor.dtype], constant: true };
  }

  /**
   * A stored tensor of `stored` heads in rows, [stored · d_head, …], with each head repeated so that there are `used`:
   * head j is a copy of stored head ⌊j · stored / used⌋. Folded at load.
   */
  storedHeads(key: string, { stored, used }: HeadRows): Value {
    const x = this.stored(key);
    if (used === stored) return x;
    const [, ...rest] = this.initializers.get(key)!.dims!;
    const heads = this.op('Reshape', [x, this.integers([stored, -1])], {}, x.type);
    const copies = this.op('Gather', [heads, this.integers(sharedHeads(used, stored))], { axis: 0 }, x.type);
    return this.op('Reshape', [copies, this.integers([-1, ...rest])], {}, x.type);
  }

  /** Round a stored tensor (or rows of one) at place `weights` and bring it to the compute type. */
  convert(value: Value): Value {
    const target = typeAt(this.policy, 'weights');
    const rounded = contains(target, value.type) ? value : this.cast(value, target);
    return rounded.type === this.compute ? rounded : { ...this.cast(rounded, this.compute), type: rounded.type };
  }

  /** A checkpoint tensor in the compute type, rounded at place `weights`; folded to a constant at load. */
  weight(key: string, heads: HeadRows = asStored): Value {
    return this.once(key, () => this.convert(this.storedHeads(key, heads)));
  }

  /** A linear layer's weight, stored [out, in], as the right operand of a matmul: [in, out]. */
  linearWeight(key: string, heads: HeadRows = asStored): Value {
    return this.once(`${key}ᵀ`, () => {
      const weight = this.weight(key, heads);
      return this.op('Transpose', [weight], { perm: [1, 0] }, weight.type);
    });
  }

  /** Round to the type the policy names for `place`: a cast there and back, or nothing where no bit could change. */
  round(x: Value, place: Place): Value {
    const target = typeAt(this.policy, place);
    if (contains(target, x.type)) return x;
    // float64 has no direct path to 16 bits in the runtime: it goes through float32, as every implementation does.
    const narrowed =
      this.compute === 'f64' && target !== 'f32' ? this.cast(this.cast(x, 'f32'), target) : this.cast(x, target);
    return { ...this.cast(narrowed, this.compute), type: target };
  }

  /** Say that `x` is of the policy's type at `place`, where its numbers happen to fit into a narrower one. */
  widen(x: Value, place: Place): Value {
    return { ...x, type: typeAt(this.policy, place) };
  }

  /**
   * Mark `x` as the hook `name`: an output if selected, patchable if asked for.
   * Returns the value the rest of the graph must use.
   */
  hook(name: string, x: Value): Value {
    const patched = this.options.patchPoints.has(name) ? this.patchPoint(name, x) : x;
    if (this.options.hooks.has(name)) this.expose(name, patched, this.hookDims(name));
    return patched;
  }

  /** Make `x` readable under `name`: an output, unless it is one already or is a graph input. */
  expose(name: string, x: Value, dims: (number | string)[]): void {
    const known = this.publicNames.get(x.name);
    const isInput = this.graphInputs.some((info) => info.name === x.name);
    // A patched block input is another value than the input that already bears the hook's name.
    const output = this.graphInputs.some((info) => info.name === name) ? `${name}.patched` : name;
    this.bindings.set(name, { value: known ?? (isInput ? x.name : output), dtype: x.type });
    if (known !== undefined || isInput) return;
    this.publicNames.set(x.name, output);
    this.graphOutputs.push(valueInfo(output, storageTypes[this.compute], dims));
  }

  /** True if a hook was selected as output or patch point. */
  wants(name: string): boolean {
    return this.options.hooks.has(name) || this.options.patchPoints.has(name);
  }

  finish(name: string): BuiltGraph {
    const publicName = (value: string) => this.publicNames.get(value) ?? value;
    const nodes = this.nodes.map((node) => ({
      ...node,
      input: node.input!.map(publicName),
      output: node.output!.map(publicName),
    }));
    return {
      model: {
        irVersion,
        producerName: 'kvlens',
        opsetImport: [{ domain: '', version: opsetVersion }],
        graph: {
          name,
          node: nodes,
          initializer: [...this.initializers.values()],
          input: this.graphInputs,
          output: this.graphOutputs,
        },
      },
      inputs: this.graphInputs.map((info) => info.name!),
      outputs: this.graphOutputs.map((info) => info.name!),
      bindings: this.bindings,
      operators: this.operators,
    };
  }

  private tensor(key: string): TensorInfo {
    const tensor = this.options.checkpoint.tensors.get(key);
    if (!tensor) throw new InputError(`${this.options.checkpoint.dir}: tensor ${key} is missing`);
    return tensor;
  }

  private cast(x: Value, type: StorageType): Value {
    return this.op('Cast', [x], { to: dataTypes[storageTypes[type]] }, type);
  }

  private patchPoint(name: string, x: Value): Value {
    const dims = this.hookDims(name);
    // Mask and patch sizes are symbolic: they broadcast, so one graph serves masks of any shape.
    const mask = this.input(
      `${name}.mask`,
      dims.map((_, axis) => `${name}.mask_${axis}`),
      this.compute,
      'bool',
    );
    const patch = this.input(
      `${name}.patch`,
      dims.map((_, axis) => `${name}.patch_${axis}`),
      x.type,
    );
    return this.op('Where', [mask, patch, x], {}, x.type);
  }

  private hookDims(name: string): (number | string)[] {
    const hook = findHook(name, this.config);
    if (!hook) throw new Error(`builder: ${name} is not a hook of this model`);
    return hook.definition.axes.map((axis) => this.axisSize(axis));
  }

  private axisSize(axis: Axis): number | string {
    const { config } = this;
    const sizes: Partial<Record<Axis, number>> = {
      head: config.heads,
      kv_head: config.kvHeads,
      d_head: config.headDim,
      d_model: config.hiddenSize,
      d_mlp: config.intermediateSize,
      d_vocab: config.vocabSize,
      one: 1,
    };
    return sizes[axis] ?? { query: 'pos', key: 'cache' }[axis as string] ?? axis;
  }

  private emit(
    operator: string,
    inputs: Value[],
    outputs: string[],
    attributes: Attributes,
    type: StorageType,
  ): Value[] {
    const constant = inputs.every((input) => input.constant);
    if (!constant) {
      const label = operator === 'Cast' ? `Cast(${attributes.to})` : operator;
      this.operators.set(label, (this.operators.get(label) ?? 0) + 1);
    }
    this.nodes.push({
      input: inputs.map((input) => input.name),
      output: outputs,
      name: outputs[0],
      opType: operator,
      attribute: Object.entries(attributes).map(([name, value]) => attribute(name, value)),
    });
    return outputs.map((name) => ({ name, type, constant }));
  }

  private fresh(operator: string): string {
    return `${operator.toLowerCase()}_${this.counter++}`;
  }

  /** A value that several layers need, made once: the runtime would merge the copies anyway. */
  once(key: string, make: () => Value): Value {
    const known = this.folded.get(key) ?? make();
    this.folded.set(key, known);
    return known;
  }

  private intern(name: string, type: DataType, dims: number[], rawData: Uint8Array): string {
    if (!this.initializers.has(name)) this.initializers.set(name, { dims, dataType: dataTypes[type], name, rawData });
    return name;
  }
}

function attribute(name: string, value: number | number[]): AttributeProto {
  if (Array.isArray(value)) return { name, ints: value, type: attributeTypes.ints };
  return { name, i: value, type: attributeTypes.int };
}

function valueInfo(name: string, type: DataType, dims: (number | string)[]): ValueInfoProto {
  const dim = dims.map((size) => (typeof size === 'number' ? { dimValue: size } : { dimParam: size }));
  return { name, type: { tensorType: { elemType: dataTypes[type], shape: { dim } } } };
}
