/** What a run looks like in a terminal: pure functions from results to text. */
export { type AttributionText, renderAttribution } from './attribution.ts';
export { type CaptureText, renderCapture } from './capture.ts';
export { renderCleanCorrupted } from './clean-corrupted.ts';
export { renderExplanation } from './explain.ts';
export { renderAudit } from './gates.ts';
export { type ArmText, firstDifference, renderGeneration } from './generation.ts';
export type { TerminalOptions } from './layout.ts';
export { type ModelListing, renderModels } from './models.ts';
export { type PatchText, renderPatch } from './patching.ts';
export { renderPull } from './pull.ts';
export { renderReport } from './report.ts';
export { renderStudy } from './study.ts';
export { renderSummary, type SummaryOptions } from './summary.ts';
