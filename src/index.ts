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
export { resolveStrategy, type Strategy, strategyName } from './model/sampling/index.ts';
export { type ForcedRun, forcedRun } from './patching/arms/forced-run.ts';
export {
  attributeClasses,
  attributePlaces,
  measureAmplification,
  playClasses,
  predictDrift,
} from './patching/attribution/index.ts';
export { type AttributeOptions, attribute } from './patching/attribution/run/attribute.ts';
export type { AttributionSummary } from './patching/attribution/run/summary.ts';
export {
  type CleanCorruptedFindings,
  type CleanCorruptedProgress,
  type CleanCorruptedRunOptions,
  type CleanCorruptedSummary,
  patchCleanCorrupted,
} from './patching/clean-corrupted/run.ts';
export {
  DriftRecord,
  type ExplainOptions,
  type ExplainVerdict,
  type Explanation,
  explain,
} from './patching/explain/index.ts';
export {
  type AttributionOptions,
  type Contribution,
  type DirectLogitAttribution,
  directLogitAttribution,
} from './patching/lens/direct-logit-attribution.ts';
export { type LogitLens, logitLens } from './patching/lens/logit-lens.ts';
export { placebo, randomUlp, summariseNull } from './patching/nulls/index.ts';
export { type PatchOptions, type PatchProgress, patch } from './patching/run/patch.ts';
export type { CellSummary, PatchSummary } from './patching/run/summary.ts';
export type { CleanCorruptedSpec } from './patching/specification/clean-corrupted.ts';
export {
  type ArmsSpec,
  armsSpec,
  type PatchSpec,
  type PatchSpecInput,
  parsePatchSpec,
} from './patching/specification/spec.ts';
export { openPatchSpec, shippedSpecs } from './patching/specification/spec-files.ts';
export {
  type ActPatchOptions,
  type ActPatchResult,
  genericActivationPatch,
} from './patching/sweep/act-patch.ts';
export * from './patching/sweep/act-patch-hooks.ts';
export {
  type CellDistance,
  type CleanCorrupted,
  type CleanCorruptedRequest,
  type CleanCorruptedRow,
  runCleanCorrupted,
} from './patching/sweep/clean-corrupted.ts';
export type { PatchAxis, PatchTarget } from './patching/sweep/grid.ts';
export {
  klDivergence,
  type LogitMetric,
  logitDiff,
  logitDistance,
  type PatchMetric,
  recovery,
} from './patching/sweep/metrics.ts';
export {
  type SweepMethod,
  type SweepOptions,
  type SweepRequest,
  type SweepResult,
  sweep,
} from './patching/sweep/sweep.ts';
export {
  drawFigure,
  drawPatchGrid,
  type FigureName,
  type FigureRequest,
  figureNames,
  type Shown,
} from './report/catalogue.ts';
export { isMissing, type Missing } from './report/data/missing.ts';
export { openRunFolder } from './report/data/run-folder.ts';
export type { RunTables } from './report/data/run-tables.ts';
export type { Figure, FigureOptions } from './report/figures/frame.ts';
export { type GridColumn, type GridPanel, type PatchGrid, recoveryScale } from './report/figures/patch-grid.ts';
export { patchColumns, patchPanel } from './report/patch-panel.ts';
export { openGraphFolder, writeGraphFolder } from './store/graph-folder.ts';
export { openArrow } from './store/reader.ts';
export { RunDirectory } from './store/run-directory.ts';
export { tables } from './store/schemas.ts';
export { type Prompt, promptFromText, promptFromTokens, readPromptFile } from './study/prompts.ts';
