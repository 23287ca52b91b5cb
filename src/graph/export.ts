/**
 * Exported graphs: one ONNX file per stage, or all of a model in one, and graph.json that says what they compute.
 *
 * Weights stay in the checkpoint's safetensors files: graph.json names the checkpoint by a relative path and the sha256
 * of its weights. The bytes depend on the model, the policy, the preset and the hooks alone.
 */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { Checkpoint, ModelConfig } from '../checkpoint/types.ts';
import { buildSingle, buildStage, type Stage } from './build.ts';
import type { BuiltGraph } from './builder.ts';
import { selectHooks } from './hooks.ts';
import {
  type GraphKernel,
  type KernelPreset,
  kernelSignature,
  kernelsSchema,
  operationClasses,
  stageClasses,
} from './kernels.ts';
import { encodeModel } from './onnx/codec.ts';
import { policySchema, type RoundingPolicy } from './rounding.ts';

/** Every layer's residual stream and K/V tensors, and the logits. */
export const exportedHooks = 'core,*.hook_cache_*';

/** One model under one policy and one kernel preset, and how its graphs are laid out. */
export interface ExportOptions {
  checkpoint: Checkpoint;
  policy: RoundingPolicy;
  kernels: KernelPreset;
  /** GLOB of hooks that become outputs. */
  hooks: string;
  /** All stages in one file, for other runtimes and viewers. */
  singleFile: boolean;
}

/** One graph file. */
export interface GraphFile {
  /** Name inside the folder. */
  file: string;
  bytes: Uint8Array;
  entry: z.infer<typeof graphEntry>;
}

const digest = z.string().regex(/^[0-9a-f]{64}$/, 'expected a sha256 in hexadecimal digits');
const graphEntry = z.strictObject({
  file: z.string().regex(/^[a-z0-9_]{1,60}\.onnx$/, 'expected a plain file name such as block_0.onnx'),
  /** The steps that run it. */
  roles: z.array(z.enum(['prefill', 'decode'])).min(1),
  sha256: digest,
  inputs: z.array(z.string()),
  outputs: z.array(z.string()),
});

/** graph.json. */
export const graphManifestSchema = z.strictObject({
  schemaVersion: z.literal(1),
  /** Name of the checkpoint's folder. */
  model: z.string(),
  architecture: z.string(),
  layout: z.enum(['per-layer', 'single-file']),
  policy: policySchema,
  /** Name of the kernel preset; the preset itself where it has no name of kvlens's own. */
  kernels: z.union([z.string(), kernelsSchema]),
  hooks: z.string(),
  checkpoint: z.strictObject({
    /** From the graph folder to the checkpoint folder, with forward slashes. */
    path: z.string(),
    sha256: digest,
  }),
  /** Where the graphs' external data begins, from the graph folder. */
  weights: z.string(),
  /** The graphs repeat the checkpoint's K/V heads to one per query head. */
  expandedKv: z.boolean().default(false),
  graphs: z.array(graphEntry).min(1),
});
export type GraphManifest = z.infer<typeof graphManifestSchema>;

/** Build the files of an export. Graphs that prefill and decode share are written once. */
export function exportGraphs(options: ExportOptions): GraphFile[] {
  const { checkpoint, kernels, singleFile } = options;
  const { config } = checkpoint;
  const stages: (Stage | 'model')[] = singleFile ? ['model'] : modelStages(config);
  return stages.flatMap((stage) => {
    const name = typeof stage === 'string' ? stage : `block_${stage.block}`;
    if (sameGraph(kernels, stage))
      return [graphFile(`${name}.onnx`, build(stage, kernels.prefill, options), ['prefill', 'decode'])];
    return [
      graphFile(`${name}_prefill.onnx`, build(stage, kernels.prefill, options), ['prefill']),
      graphFile(`${name}_decode.onnx`, build(stage, kernels.decode, options), ['decode']),
    ];
  });
}

/** True if prefill and decode run one graph: how weights are packed is no part of it. */
function sameGraph({ prefill, decode }: KernelPreset, stage: Stage | 'model'): boolean {
  const kind = typeof stage === 'string' ? stage : 'block';
  const classes = kind === 'model' ? operationClasses : stageClasses[kind];
  const of = (kernel: GraphKernel) => kernelSignature({ ...kernel, prepack: true }, classes);
  return of(prefill) === of(decode);
}

function modelStages({ layers }: ModelConfig): Stage[] {
  return ['embed', ...Array.from({ length: layers }, (_, block) => ({ block })), 'unembed'];
}

function build(
  stage: Stage | 'model',
  kernel: GraphKernel,
  { checkpoint, policy, hooks: globs }: ExportOptions,
): BuiltGraph {
  const wanted = selectHooks(globs, checkpoint.config).filter(({ definition, layer }) => {
    if (stage === 'model') return true;
    if (typeof stage === 'string') return definition.stage === stage;
    return definition.stage === 'block' && layer === stage.block;
  });
  const options = {
    ...{ checkpoint, policy, kernel },
    hooks: new Set(wanted.map(({ name }) => name)),
    patchPoints: new Set<string>(),
  };
  return stage === 'model' ? buildSingle(options) : buildStage(stage, options);
}

function graphFile(file: string, graph: BuiltGraph, roles: ('prefill' | 'decode')[]): GraphFile {
  const bytes = encodeModel(graph.model);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  return { file, bytes, entry: { file, roles, sha256, inputs: graph.inputs, outputs: graph.outputs } };
}
