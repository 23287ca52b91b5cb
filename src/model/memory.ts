/**
 * What a run will hold in memory, from shapes: enough to choose between all layers at once and one at a time, not a promise.
 *
 * The runtime keeps 4 bytes per parameter of a loaded graph (8 in float64) whatever the checkpoint stores: 16-bit weights are
 * folded to float32 and packed. While a graph loads, its largest matrix exists in up to three forms.
 */
import { loadedParameters } from '../checkpoint/expand-kv.ts';
import { requiredTensors } from '../checkpoint/required-tensors.ts';
import type { Checkpoint, ModelConfig, TensorDtype } from '../checkpoint/types.ts';
import { modelHooks } from '../graph/hooks.ts';
import { computeType, type RoundingPolicy, typeAt } from '../graph/rounding.ts';
import { contains, type StorageType } from '../numerics/types.ts';
import { rowElements } from './activation-rows.ts';

/** Bytes of a run. */
export interface MemoryEstimate {
  /** All layers loaded, one prompt at a time. */
  resident: number;
  /** What each further worker adds. */
  perWorker: number;
  /** One layer at a time. */
  byLayer: number;
}

const storedTypes: Record<TensorDtype, StorageType> = { F16: 'f16', BF16: 'bf16', F32: 'f32' };

/** Node, the runtime's library and what a small run allocates; rows that are saved are not counted. */
export const processBytes = 300e6;
/** Gates compare up to three graphs of every stage: without hooks, with some, with all. */
const gateCopies = 3;
/** A prompt's steps run two: with every hook, and the bare one that attributes a layer's difference. */
const workerCopies = 2;
/** Layer by layer: the stage that computes, and the next one as it loads – converted, transposed and packed. */
const stageCopies = 4;
/** Captured passes that are alive at once: kept by the gates, being compared, and not yet collected. */
const captures = 8;

/** Estimate a run whose longest sequence has `rows` tokens. */
export function estimateMemory(checkpoint: Checkpoint, policy: RoundingPolicy, rows: number): MemoryEstimate {
  const { config } = checkpoint;
  const size = computeType(policy) === 'f64' ? 8 : 4;
  const stages = stageParameters(config);
  const weights = size * stages.reduce((total, parameters) => total + parameters, 0);
  const loading = 2 * size * largestMatrix(checkpoint);
  const captured = captures * size * rows * elementsPerRow(config, rows);
  const largest = Math.max(...stages);
  // As they lie in the file, and once more where the policy rounds them to another 16-bit type.
  const stored = [...checkpoint.tensors.values()].map(({ dtype }) => dtype);
  const converted = stored.some((dtype) => dtype !== 'F32' && !contains(typeAt(policy, 'weights'), storedTypes[dtype]));
  const stageBytes = largest * (stageCopies * size + (stored.includes('F32') ? 4 : 2) + (converted ? 2 : 0));
  return {
    resident: processBytes + gateCopies * weights + loading + captured * config.layers,
    perWorker: workerCopies * weights,
    byLayer: processBytes + stageBytes + captured,
  };
}

/** Loaded weights of an executor that runs without gates. */
export function loadedBytes(checkpoint: Checkpoint, policy: RoundingPolicy): number {
  return processBytes + (computeType(policy) === 'f64' ? 8 : 4) * loadedParameters(checkpoint);
}

/** Parameters of each block and of the unembedding; rows of the embedding are gathered from the file. */
export function stageParameters(config: ModelConfig): number[] {
  const stages: number[] = new Array(config.layers + 1).fill(0);
  for (const [name, shape] of requiredTensors({ ...config, storedKvHeads: config.kvHeads })) {
    const parameters = shape.reduce((a, b) => a * b, 1);
    const layer = /^model\.layers\.(\d+)\./.exec(name);
    const isHead = name === (config.tiedEmbeddings ? 'model.embed_tokens.weight' : 'lm_head.weight');
    if (layer) stages[Number(layer[1])] += parameters;
    else if (isHead) stages[config.layers] += parameters;
  }
  return stages;
}

function largestMatrix({ tensors }: Checkpoint): number {
  return Math.max(...[...tensors.values()].map(({ shape }) => shape.reduce((a, b) => a * b, 1)));
}

/** Numbers that every hook of the largest stage has per row. */
function elementsPerRow(config: ModelConfig, rows: number): number {
  const byStage = new Map<number, number>();
  for (const hook of modelHooks(config)) {
    if (hook.definition.optIn) continue;
    byStage.set(hook.layer, (byStage.get(hook.layer) ?? 0) + rowElements(hook, config, rows));
  }
  return Math.max(...byStage.values());
}
