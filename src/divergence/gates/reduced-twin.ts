/** A checkpoint of the same architecture, types and head layout, but with few layers and small matrices of zeros. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { requiredTensors } from '../../checkpoint/required-tensors.ts';
import type { Checkpoint, ModelConfig, TensorInfo } from '../../checkpoint/types.ts';
import { type KernelPreset, mostSlices } from '../../graph/kernels.ts';

const smallSize = 64;
const keptLayers = 2;

/**
 * Write the twin's weights into `dir`. The operators of a graph depend on neither sizes nor values, so the twin's
 * optimized graphs have those of the model; head count, head size and element types stay what they are.
 */
export function reducedTwin(checkpoint: Checkpoint, dir: string, kernels: KernelPreset): Checkpoint {
  const { config } = checkpoint;
  // A sum cannot be cut into more slices than it has terms.
  const size = Math.max(smallSize, mostSlices(kernels));
  const layers = Math.min(config.layers, keptLayers);
  const small: ModelConfig = {
    ...config,
    layers,
    hiddenSize: size,
    intermediateSize: size,
    vocabSize: size,
  };
  const file = join(dir, 'twin.safetensors');
  const tensors = new Map<string, TensorInfo>();
  let offset = 0;
  for (const [name, shape] of requiredTensors(small)) {
    const tensor = checkpoint.tensors.get(name)!;
    const bytes = shape.reduce((total, size) => total * size, tensor.dtype === 'F32' ? 4 : 2);
    tensors.set(name, { ...tensor, shape, file, offset, bytes });
    offset += bytes;
  }
  writeFileSync(file, new Uint8Array(offset));
  return { ...checkpoint, config: small, tensors, weightsRoot: dir };
}
