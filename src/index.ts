/**
 * kvlens: does decoding with a KV cache compute the same thing as decoding without it?
 *
 * ```ts
 * import { Model } from 'kvlens';
 *
 * const model = await Model.open('mini-llama', { precision: 'fp16' });
 * const { logits, cache } = await model.runWithCache('Tom has 3 apples.\n');
 * cache.get('resid_post', 3); // ndarray [1, pos, d_model]
 * ```
 */

export { embeddedModels } from './checkpoint/embedded.ts';
export { expandKeyValueHeads } from './checkpoint/expand-kv.ts';
export { openCheckpoint } from './checkpoint/open.ts';
export type { Checkpoint, ModelConfig, Tokenizer } from './checkpoint/types.ts';
export { type CaptureOptions, type CaptureSummary, capture } from './divergence/capture.ts';
export { type DivergeOptions, type DivergeProgress, diverge } from './divergence/diverge.ts';
export { audit, gates, runGates } from './divergence/gates/index.ts';
export type { DivergenceSummary, GateResult, Origin } from './divergence/summary.ts';
export { InputError, InterruptedError, KvlensError, RunError, UsageError } from './errors.ts';
export { type ExportOptions, exportGraphs } from './graph/export.ts';
export { type HookDefinition, hookDefinitions, hookName, selectHooks } from './graph/hooks.ts';
export {
  type ClassKernel,
  type GraphKernel,
  type KernelPreset,
  kernelPresets,
  type OperationClass,
  operationClasses,
  resolveKernels,
} from './graph/kernels.ts';
export { policies, type RoundingPolicy, resolvePolicy } from './graph/rounding.ts';
export { type Pulled, type PullOptions, type PullProgress, pull } from './hub/pull.ts';
export { ActivationCache } from './model/activation-cache.ts';
export { Executor } from './model/executor.ts';
export { describeFault, type Fault, parseFaults } from './model/faults.ts';
export { type Generated, type GeneratedStep, type GenerateOptions, generate } from './model/generate.ts';
export type { HookFunction } from './model/hook-functions.ts';
export { Model, type ModelOptions, type NamesFilter, type PastKeyValues, type RunOptions } from './model/model.ts';
export {
  DriftRecord,
  type Explanation,
  type ExplainOptions,
  type ExplainVerdict,
  explain,
} from './patching/explain/index.ts';
export { resolveStrategy, type Strategy, strategyName } from './model/sampling/index.ts';
export { openGraphFolder, writeGraphFolder } from './store/graph-folder.ts';
export { openArrow } from './store/reader.ts';
export { RunDirectory } from './store/run-directory.ts';
export { tables } from './store/schemas.ts';
export { type Prompt, promptFromText, promptFromTokens, readPromptFile } from './study/prompts.ts';
