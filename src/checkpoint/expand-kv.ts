/**
 * The same checkpoint with its K/V heads repeated to multi-head attention: mathematically equal, and grouped-query and
 * multi-head attention can be compared within one model. The weights stay as they are; graphs repeat their rows.
 */
import { openCheckpoint } from './open.ts';
import { requiredTensors } from './required-tensors.ts';
import type { Checkpoint, ModelConfig } from './types.ts';

/**
 * The checkpoint as a model with one K/V head per query head: query head j reads a copy of K/V head ⌊j·K/H⌋. The name
 * says so. A checkpoint that has as many already comes back as it is.
 */
export function expandKeyValueHeads(checkpoint: Checkpoint): Checkpoint {
  const { config, name } = checkpoint;
  if (config.kvHeads === config.heads) return checkpoint;
  return { ...checkpoint, name: `${name} (expanded KV)`, config: { ...config, kvHeads: config.heads } };
}

/** True for a model whose graphs repeat the heads its checkpoint stores. */
export function isExpanded({ kvHeads, storedKvHeads }: ModelConfig): boolean {
  return kvHeads !== storedKvHeads;
}

/** What it takes to open a checkpoint again in another thread or process: plain data. */
export interface CheckpointReference {
  dir: string;
  name: string;
  expandedKv: boolean;
}

/** How to open this checkpoint again. */
export function referenceTo({ dir, name, config }: Checkpoint): CheckpointReference {
  return { dir, name, expandedKv: isExpanded(config) };
}

/** Open what `referenceTo` describes. */
export async function openReference({ dir, name, expandedKv }: CheckpointReference): Promise<Checkpoint> {
  const stored = await openCheckpoint(dir, { name });
  return expandedKv ? { ...expandKeyValueHeads(stored), name } : stored;
}

/** Parameters of the graphs' matrices and vectors once loaded, repeated heads included. */
export function loadedParameters({ config }: Checkpoint): number {
  const tensors = requiredTensors({ ...config, storedKvHeads: config.kvHeads });
  let parameters = 0;
  for (const shape of tensors.values()) parameters += shape.reduce((product, size) => product * size, 1);
  return parameters;
}
