/** Read what the runtime really runs: the operators and casts of a dumped, optimized graph. */
import { dataTypes, type ModelProto, type NodeProto } from '../../graph/onnx/messages.ts';

/** What the provenance gate wants to know about an optimized graph. */
export interface OptimizedGraph {
  /** Operators on non-constant values: operator (casts with their target, foreign domains after `@`) → count. */
  operators: Map<string, number>;
  /** Operators that compute on float16 or bfloat16 values. */
  narrowCompute: string[];
  /** Operators of a domain that is neither ONNX's nor the runtime's. */
  unknownDomains: string[];
}

/** These move values without computing on them; in 16 bits they are exact. */
const movement = new Set([
  'Cast',
  'Concat',
  'Expand',
  'Gather',
  'Identity',
  'Reshape',
  'Shape',
  'Slice',
  'Split',
  'Squeeze',
  'Transpose',
  'Unsqueeze',
]);
const onnxDomains = new Set(['', 'ai.onnx']);
const knownDomains = new Set([...onnxDomains, 'com.microsoft']);
const narrowTypes: ReadonlySet<number | undefined> = new Set([dataTypes.float16, dataTypes.bfloat16]);

/** Parse a dumped model. Types are followed from inputs and initializers, as the dump does not state them. */
export function readOptimized({ graph }: ModelProto): OptimizedGraph {
  const types = new Map<string, number | undefined>();
  const constants = new Set<string>();
  for (const { name = '', type } of graph?.input ?? []) types.set(name, type?.tensorType?.elemType);
  for (const { name = '', dataType } of graph?.initializer ?? []) {
    types.set(name, dataType);
    constants.add(name);
  }
  const result: OptimizedGraph = { operators: new Map(), narrowCompute: [], unknownDomains: [] };
  for (const node of graph?.node ?? []) {
    const { input = [], output = [], opType = '', domain = '' } = node;
    const constant = input.every((name) => constants.has(name));
    const type = outputType(node, types);
    for (const name of output) {
      types.set(name, type);
      if (constant) constants.add(name);
    }
    if (!knownDomains.has(domain)) result.unknownDomains.push(`${opType}@${domain}`);
    const narrow = input.some((name) => narrowTypes.has(types.get(name))) || narrowTypes.has(type);
    if (narrow && !movement.has(opType)) result.narrowCompute.push(opType);
    if (constant) continue;
    const label = labelOf(node);
    result.operators.set(label, (result.operators.get(label) ?? 0) + 1);
  }
  return result;
}

function labelOf({ opType = '', domain = '', attribute }: NodeProto): string {
  if (opType === 'Cast') return `Cast(${attribute?.find(({ name }) => name === 'to')?.i})`;
  return onnxDomains.has(domain) ? opType : `${opType}@${domain}`;
}

function outputType({ opType, input = [], attribute }: NodeProto, types: Map<string, number | undefined>) {
  if (opType === 'Cast') return attribute?.find(({ name }) => name === 'to')?.i;
  if (opType === 'Shape') return dataTypes.int64;
  return types.get(input[opType === 'Where' ? 1 : 0] ?? '');
}

/** Where two multisets of operators differ, in words; empty if they do not. */
export function multisetDifference(found: ReadonlyMap<string, number>, expected: ReadonlyMap<string, number>): string {
  return [...new Set([...expected.keys(), ...found.keys()])]
    .filter((label) => found.get(label) !== expected.get(label))
    .map((label) => `${nameOf(label)} ${found.get(label) ?? 0}, not ${expected.get(label) ?? 0}`)
    .join(', ');
}

/** `Cast(10)` → `Cast(float16)`. */
function nameOf(label: string): string {
  const cast = /^Cast\((\d+)\)$/.exec(label);
  if (!cast) return label;
  const target = Object.entries(dataTypes).find(([, number]) => number === Number(cast[1]));
  return `Cast(${target?.[0] ?? cast[1]})`;
}
