/** The first lines: what ran, and on what kind of machine. */
import type { DivergenceSummary } from '../../divergence/summary.ts';
import { displayWidth, wrap } from './layout.ts';
import { formatCount, formatCounted } from './numbers.ts';

/** Precisions whose storage has a name of its own; the rest are policies read from a file. */
const storage: Record<string, string> = {
  fp32: 'fp32 storage, fp32 accumulation',
  fp16: 'fp16 storage, fp32 accumulation',
  bf16: 'bf16 storage, fp32 accumulation',
  'fp16-sdpa': 'fp16 storage (scores and softmax fp32), fp32 accumulation',
  'bf16-sdpa': 'bf16 storage (scores and softmax fp32), fp32 accumulation',
  fp64: 'fp64 storage, fp64 accumulation',
};

/** `stories260K  fp16, greedy, ort      40 prompts × 149 steps`, then what "fp16" means on a CPU. */
export function runLines(summary: DivergenceSummary, columns: number): string[] {
  const { model, precision, strategy, kernels, emulated, decodeRows, prompts, steps, longestSteps } = summary;
  const condition = [precision, strategy, `${kernels}${emulated ? ' (emulated)' : ''}`];
  if (decodeRows > 1) condition.push(`decode-rows ${decodeRows}`);
  const left = `${model}  ${condition.join(', ')}`;
  const atMost = steps < prompts * longestSteps ? '≤ ' : '';
  const count = longestSteps === 1 ? '1 step' : `${formatCount(longestSteps)} steps`;
  const right = `${formatCounted(prompts, 'prompt')} × ${atMost}${count}`;
  return [...headLine(left, right, columns), ...machineLines(summary, columns)];
}

/** What computed, and what was planted: a run of either kind must not look like another. */
export function machineLines(
  { precision, kernels, emulated, planted }: Pick<DivergenceSummary, 'precision' | 'kernels' | 'emulated' | 'planted'>,
  columns: number,
): string[] {
  const lines = [`  on this CPU: ${storage[precision] ?? `roundings of policy ${precision}`}`];
  if (emulated) lines.push(`  ${kernels} imitates a GPU's kernel inside the graph`);
  const faults = planted.flatMap((fault) =>
    wrap(`PLANTED FAULT in the cached arm: ${fault}`, Math.min(columns, 80), { first: '  ', indent: '    ' }),
  );
  return [...lines, ...faults];
}

/** What an experiment's first lines are made of. */
type ExperimentHead = Pick<
  DivergenceSummary,
  'model' | 'precision' | 'strategy' | 'kernels' | 'decodeRows' | 'emulated' | 'planted'
> & { spec: { name: string; description?: string | undefined } };

/** The first lines of an experiment: model, spec and condition, with what it covers on the right; what computed. */
export function experimentHead(summary: ExperimentHead, right: string, columns: number): string[] {
  const { model, spec, precision, strategy, kernels, emulated, decodeRows } = summary;
  const condition = [precision, strategy, `${kernels}${emulated ? ' (emulated)' : ''}`];
  if (decodeRows > 1) condition.push(`decode-rows ${decodeRows}`);
  const described =
    spec.description === undefined ? [] : wrap(spec.description, columns, { first: '  ', indent: '  ' });
  const first = headLine(`${model}  ${spec.name}  ${condition.join(', ')}`, right, columns);
  return [...first, ...machineLines(summary, columns), ...described];
}

/** Two texts at the ends of a line, or on two lines where they do not fit. */
function headLine(left: string, right: string, columns: number): string[] {
  const gap = Math.min(columns, 80) - 1 - displayWidth(left) - displayWidth(right);
  return gap >= 2 ? [left + ' '.repeat(gap) + right] : [left, `  ${right}`];
}
