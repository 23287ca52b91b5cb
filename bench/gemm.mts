/**
 * What the matmuls of a model cost in the bare runtime: one session per matmul that holds nothing but that matmul, its
 * weight from the checkpoint, opened with the options of `src/model/session.ts`.
 */

import { relative, sep } from 'node:path';
import type { Checkpoint, ModelConfig, TensorDtype } from '../src/checkpoint/types.ts';
import { encodeModel } from '../src/graph/onnx/codec.ts';
import { attributeTypes, type DataType, dataTypes, type NodeProto } from '../src/graph/onnx/messages.ts';
import { InferenceSession, Tensor } from '../src/model/onnxruntime.ts';
import { runtimeOptions } from '../src/model/session.ts';
import type { Calls } from './calls.mts';
import { Random } from './random.mts';
import { interpolate, median } from './statistics.mts';

/** Median seconds by number of rows. */
export type SecondsByRows = Map<number, number>;

export interface GemmRates {
  /** All matmuls of one block, one after the other. */
  block: SecondsByRows;
  /** The output matrix. */
  head: SecondsByRows;
  /** Seconds to open the sessions of one block, and of the head: reading, conversion to float32, packing. */
  blockLoad: number;
  headLoad: number;
}

const stored: Record<TensorDtype, DataType> = { F16: 'float16', BF16: 'bfloat16', F32: 'float' };

/** Measure with `repetitions` passes per number of rows, sizes in rotating order. */
export async function measureGemm(
  checkpoint: Checkpoint,
  { rows, threads, repetitions }: { rows: readonly number[]; threads: number; repetitions: number },
): Promise<GemmRates> {
  const { tiedEmbeddings } = checkpoint.config;
  // All matmuls of a block are open at once: a pass over them reads as many weights as a pass over the block does.
  const block = await measure(checkpoint, blockKeys(checkpoint), threads, rows, repetitions);
  const headKey = tiedEmbeddings ? 'model.embed_tokens.weight' : 'lm_head.weight';
  const head = await measure(checkpoint, [headKey], threads, rows, repetitions);
  return { block: block.seconds, head: head.seconds, blockLoad: block.load, headLoad: head.load };
}

/** Seconds of arithmetic in these forward calls: weight matmuls alone. */
export function arithmeticSeconds(
  { layers }: ModelConfig,
  { block, head }: GemmRates,
  calls: readonly Calls[],
): number {
  return calls.reduce((sum, { rows, count, logits = rows }) => {
    return sum + count * (layers * interpolate(block, rows) + (logits === 0 ? 0 : interpolate(head, logits)));
  }, 0);
}

/** Passes through one block, or through the unembedding: what a run's manifest lists in `provenance.passes`. */
export interface Passes {
  block: readonly { rows: number; count: number }[];
  unembed: readonly { rows: number; count: number }[];
}

/** Seconds of arithmetic in the passes a run made. */
export function passSeconds({ block, head }: GemmRates, passes: Passes): number {
  const sum = (rates: SecondsByRows, list: Passes['block']) =>
    list.reduce((total, { rows, count }) => total + count * interpolate(rates, rows), 0);
  return sum(block, passes.block) + sum(head, passes.unembed);
}

/** Multiply-adds of attention's two products relative to those of the weight matmuls, in these calls. */
export function attentionShare(checkpoint: Checkpoint, calls: readonly Calls[]): number {
  const { heads, headDim, layers } = checkpoint.config;
  const weights = blockKeys(checkpoint).reduce((sum, key) => sum + size(checkpoint, key), 0);
  let attention = 0;
  let linear = 0;
  for (const { rows, past, count } of calls) {
    attention += count * layers * 2 * rows * (past + rows) * heads * headDim;
    linear += count * layers * rows * weights;
  }
  return attention / linear;
}

/** Keys of block 0's matrices in the order they are used. */
function blockKeys({ tensors }: Checkpoint): string[] {
  return [...tensors.values()]
    .filter(({ name, shape }) => name.startsWith('model.layers.0.') && shape.length === 2)
    .map(({ name }) => name);
}

function size({ tensors }: Checkpoint, key: string): number {
  return tensors.get(key)!.shape.reduce((product, length) => product * length, 1);
}

async function measure(
  checkpoint: Checkpoint,
  keys: readonly string[],
  threads: number,
  rows: readonly number[],
  repetitions: number,
): Promise<{ seconds: SecondsByRows; load: number }> {
  const began = performance.now();
  const sessions: { session: InferenceSession; width: number }[] = [];
  for (const key of keys) {
    const session = await openMatmul(checkpoint, key, threads);
    sessions.push({ session, width: checkpoint.tensors.get(key)!.shape[1] });
  }
  const load = (performance.now() - began) / 1000;
  const widest = Math.max(...sessions.map(({ width }) => width)) * Math.max(...rows);
  const random = new Random(1);
  const numbers = Float32Array.from({ length: widest }, () => random.normal());
  const timed = new Map(rows.map((count): [number, number[]] => [count, []]));
  for (let repetition = -1; repetition < repetitions; repetition++) {
    for (let i = 0; i < rows.length; i++) {
      const count = rows[(i + repetition + 1) % rows.length];
      const passBegan = performance.now();
      for (const { session, width } of sessions) {
        await session.run({ x: new Tensor('float32', numbers.subarray(0, count * width), [1, count, width]) });
      }
      // The first pass of each size grows the arena.
      if (repetition >= 0) timed.get(count)!.push((performance.now() - passBegan) / 1000);
    }
  }
  for (const { session } of sessions) await session.release();
  return { seconds: new Map([...timed].map(([count, passes]) => [count, median(passes)])), load };
}

/**
 * A session that computes y = x Wᵀ for one weight matrix, x [1, rows, in].
 *
 * It has kvlens's own options, so that weights of more than 1 GiB (the head of a large vocabulary) are folded too: otherwise
 * the runtime converts them in every call (one row of Gemma-2-2B's head: 2.2 s instead of 0.16 s).
 */
export function openMatmul(checkpoint: Checkpoint, key: string, threads: number): Promise<InferenceSession> {
  const options = runtimeOptions({ threads, prepack: true, weightsRoot: checkpoint.weightsRoot });
  return InferenceSession.create(matmul(checkpoint, key), options);
}

/** The graph: conversion and transposition of the checkpoint's matrix are folded at load, one packed matmul is left. */
function matmul(checkpoint: Checkpoint, key: string): Uint8Array {
  const { shape, dtype, file, offset, bytes } = checkpoint.tensors.get(key)!;
  const location = relative(checkpoint.weightsRoot, file).split(sep).join('/');
  const external = { location, offset: String(offset), length: String(bytes) };
  const cast: NodeProto[] =
    dtype === 'F32'
      ? []
      : [
          {
            ...{ opType: 'Cast', name: 'cast', input: ['stored'], output: ['weight'] },
            attribute: [{ name: 'to', i: dataTypes.float, type: attributeTypes.int }],
          },
        ];
  const info = (name: string, width: number) => {
    const dim = [{ dimValue: 1 }, { dimParam: 'rows' }, { dimValue: width }];
    return { name, type: { tensorType: { elemType: dataTypes.float, shape: { dim } } } };
  };
  return encodeModel({
    irVersion: 8,
    opsetImport: [{ domain: '', version: 17 }],
    graph: {
      name: 'matmul',
      node: [
        ...cast,
        {
          ...{
            opType: 'Transpose',
            name: 'transpose',
            input: [dtype === 'F32' ? 'stored' : 'weight'],
            output: ['right'],
          },
          attribute: [{ name: 'perm', ints: [1, 0], type: attributeTypes.ints }],
        },
        { opType: 'MatMul', name: 'matmul', input: ['x', 'right'], output: ['y'] },
      ],
      initializer: [
        {
          ...{ name: 'stored', dims: shape, dataType: dataTypes[stored[dtype]], dataLocation: 1 },
          externalData: Object.entries(external).map(([name, value]) => ({ key: name, value })),
        },
      ],
      input: [info('x', shape[1])],
      output: [info('y', shape[0])],
    },
  });
}
