/** Find each tensor a model needs among those a checkpoint holds, or say which key of config.json asked for it. */
import { join } from 'node:path';
import { InputError } from '../errors.ts';
import type { ReadConfig } from './config.ts';
import { type AxisKeys, axisSize, requiredAxes } from './required-tensors.ts';
import type { LocatedTensor } from './shards.ts';
import { showName } from './show.ts';
import type { TensorDtype, TensorInfo } from './types.ts';

/** What to do about weights in fewer bits. */
export const quantisedHint = 'quantised weights are not supported: use the checkpoint in F32, F16 or BF16';

/**
 * Every tensor the model needs, where it lies.
 * @param realPath the file behind a name inside the folder
 * @throws InputError naming the tensor, what was found and what config.json expects.
 */
export function requireTensors(
  dir: string,
  read: ReadConfig,
  located: ReadonlyMap<string, LocatedTensor>,
  realPath: (fileName: string) => string,
): Map<string, TensorInfo> {
  const required = requiredAxes(read.config);
  const tensors = new Map<string, TensorInfo>();
  for (const [name, axes] of required) {
    const found = located.get(name);
    if (!found)
      throw missing(
        dir,
        name,
        axes,
        read,
        [...located.keys()].filter((other) => !required.has(other)),
      );
    const { dtype, shape, fileName, offset, bytes } = found;
    // First the type: a quantised tensor's shape is that of its packed bytes.
    if (!isSupported(dtype)) {
      const hint = dtype === 'F64' ? 'convert the checkpoint to F32' : quantisedHint;
      throw new InputError(`${join(dir, fileName)}: tensor ${name} is ${dtype}, expected F32, F16 or BF16`, hint);
    }
    const expected = axes.map(axisSize);
    if (shape.length !== expected.length || shape.some((size, axis) => size !== expected[axis])) {
      const differing = shape.length === axes.length ? axes.filter((_, axis) => shape[axis] !== expected[axis]) : axes;
      throw new InputError(
        `${join(dir, fileName)}: tensor ${name} has shape [${shape.join(', ')}], config.json expects [${expected.join(', ')}]: ${differing.map((keys) => reason(keys, read)).join(', ')}`,
      );
    }
    tensors.set(name, { name, dtype, shape, file: realPath(fileName), offset, bytes });
  }
  return tensors;
}

function isSupported(dtype: string): dtype is TensorDtype {
  return dtype === 'F32' || dtype === 'F16' || dtype === 'BF16';
}

/** `num_key_value_heads 8 × head_dim 128 = 1024` */
function reason(keys: AxisKeys, { absentKeys }: ReadConfig): string {
  const factors = keys.map(([key, value]) => `${key} ${value}${absentKeys.has(key) ? ' (the default)' : ''}`);
  return keys.length === 1 ? factors[0] : `${factors.join(' × ')} = ${axisSize(keys)}`;
}

function missing(
  dir: string,
  name: string,
  axes: AxisKeys[],
  { config, absentKeys }: ReadConfig,
  others: readonly string[],
): InputError {
  const tied = absentKeys.has('tie_word_embeddings') ? 'absent, the default is false' : 'false';
  const layers = name.startsWith('model.layers.') ? ` (num_hidden_layers is ${config.layers})` : '';
  const because = name === 'lm_head.weight' ? ` (tie_word_embeddings is ${tied})` : layers;
  const shape = axes.map(axisSize).join(', ');
  // What stands in its place: a part of the same module (a quantised weight), of the same sublayer (a fused one), or any.
  const parts = name.split('.');
  const inside = (levels: number) => others.find((other) => other.startsWith(`${parts.slice(0, -levels).join('.')}.`));
  const instead = inside(1) ?? (parts.length > 3 ? inside(2) : undefined) ?? others[0];
  const found = instead === undefined ? '' : `; found ${showName(instead)}, not part of a ${config.modelType} model`;
  return new InputError(
    `${dir}: tensor ${name} is missing, expected shape [${shape}]${because}${found}`,
    instead !== undefined && instead === inside(1) ? quantisedHint : undefined,
  );
}
