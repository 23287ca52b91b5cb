/** A checkpoint of the same architecture, types and head layout, but with few layers and small matrices of zeros. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Checkpoint, ModelConfig, TensorInfo } from '../../checkpoint/types.ts';

const smallSize = 64;
const keptLayers = 2;

/**
 * Write the twin's weights into `dir`. The operators of a graph depend on neither sizes nor values, so the twin's
 * optimized graphs have those of the model; head count, head size and element types stay what they are.
 */
export function reducedTwin(checkpoint: Checkpoint, dir: string): Checkpoint {
  const { config } = checkpoint;
  const layers = Math.min(config.layers, keptLayers);
  const small: ModelConfig = {
    ...config,
    layers,
    hiddenSize: smallSize,
    intermediateSize: smallSize,
    vocabSize: smallSize,
  };
  const file = join(dir, 'twin.safetensors');
  const tensors = new Map<string, TensorInfo>();
  let offset = 0;
  for (const tensor of checkpoint.tensors.values()) {
    const layer = /^model\.layers\.(\d+)\./.exec(tensor.name);
    if (layer && Number(layer[1]) >= layers) continue;
    const shape = smallShape(tensor, small);
    const bytes = shape.reduce((total, size) => total * size, tensor.dtype === 'F32' ? 4 : 2);
    tensors.set(tensor.name, { ...tensor, shape, file, offset, bytes });
    offset += bytes;
  }
  writeFileSync(file, new Uint8Array(offset));
  return { ...checkpoint, config: small, tensors, weightsRoot: dir };
}

/** Linear weights are [out, in]; vectors are norms over d_model. */
function smallShape({ name, shape }: TensorInfo, { heads, kvHeads, headDim }: ModelConfig): number[] {
  if (shape.length === 1) return [smallSize];
  if (name.endsWith('q_proj.weight')) return [heads * headDim, smallSize];
  if (/[kv]_proj\.weight$/.test(name)) return [kvHeads * headDim, smallSize];
  if (name.endsWith('o_proj.weight')) return [smallSize, heads * headDim];
  return [smallSize, smallSize];
}
