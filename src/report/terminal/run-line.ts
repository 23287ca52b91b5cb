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
  const gap = Math.min(columns, 80) - 1 - displayWidth(left) - displayWidth(right);
  const first = gap >= 2 ? [left + ' '.repeat(gap) + right] : [left, `  ${right}`];
  const planted = summary.planted.flatMap((fault) =>
    wrap(`PLANTED FAULT in the cached arm: ${fault}`, Math.min(columns, 80), { first: '  ', indent: '    ' }),
  );
  return [...first, ...machineLines(summary), ...planted];
}

/** What the precision is on a CPU, and which kernels are imitated. */
export function machineLines({
  precision,
  kernels,
  emulated,
}: Pick<DivergenceSummary, 'precision' | 'kernels' | 'emulated'>): string[] {
  const lines = [`  on this CPU: ${storage[precision] ?? `roundings of policy ${precision}`}`];
  if (emulated) lines.push(`  ${kernels} imitates a GPU's kernel inside the graph`);
  return lines;
}

/** The first lines of an experiment: model, spec and condition, with what it covers on the right. */
export function experimentHead(
  {
    model,
    spec,
    precision,
    strategy,
    kernels,
    decodeRows,
  }: Pick<DivergenceSummary, 'model' | 'precision' | 'strategy' | 'kernels' | 'decodeRows'> & {
    spec: { name: string; description?: string | undefined };
  },
  right: string,
  columns: number,
): string[] {
  const condition = [precision, strategy, kernels, ...(decodeRows > 1 ? [`decode-rows ${decodeRows}`] : [])].join(', ');
  const left = `${model}  ${spec.name}  ${condition}`;
  const gap = Math.min(columns, 80) - 1 - displayWidth(left) - displayWidth(right);
  const first = gap >= 2 ? [left + ' '.repeat(gap) + right] : [left, `  ${right}`];
  return spec.description === undefined
    ? first
    : [...first, ...wrap(spec.description, columns, { first: '  ', indent: '  ' })];
}
