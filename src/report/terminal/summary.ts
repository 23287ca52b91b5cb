/**
 * The summary of a divergence run as a person reads it, 80 columns: run, drift per layer, tokens, first divergence,
 * gates, and the verdict last, because that is what remains above the prompt.
 */
import type { DivergenceSummary, Origin } from '../../divergence/summary.ts';
import { driftLines } from './drift.ts';
import { failedHarnessGates, finish, gateFailure, gateLines } from './gates.ts';
import { displayWidth, flow, type TerminalOptions, wrap } from './layout.ts';
import { marks } from './marks.ts';
import { formatCount, formatCounted, formatShare } from './numbers.ts';
import { textRate } from './rates.ts';
import { runLines } from './run-line.ts';
import { tokenLines } from './tokens.ts';

export interface SummaryOptions extends TerminalOptions {
  /** Where the run's files are; null if nothing was written. */
  run: string | null;
}

/** Lay out a summary. A failed harness gate replaces every number. */
export function renderSummary(summary: DivergenceSummary, options: SummaryOptions): string {
  const { columns, color } = options;
  const head = runLines(summary, columns);
  if (failedHarnessGates(summary.gates).length > 0)
    return finish([...head, '', ...notValid(summary, options)], options);
  const blocks = [
    head,
    driftLines(summary),
    summary.steps === 0 ? [] : tokenLines(summary),
    originLines(summary, columns),
    gateLines(summary.gates, columns, color),
    [...verdictLines(summary, options), ...removedBy(summary, columns), ...look(options)],
  ];
  const lines = blocks.filter((block) => block.length > 0).flatMap((block, i) => (i === 0 ? block : ['', ...block]));
  return finish(lines, options);
}

function originLines({ firstDivergence, origins }: DivergenceSummary, columns: number): string[] {
  if (!firstDivergence) return [];
  const { hook, promptIndex, step, nDiffer, nElements, operation, head } = firstDivergence;
  const place = `  ${hook}   prompt ${promptIndex}, step ${step}   `;
  const long = `${place}inputs equal, ${formatCount(nDiffer)} of ${formatCount(nElements)} values not`;
  const short = `${place}${nDiffer === 1 ? '1 element differs' : `${formatCount(nDiffer)} elements differ`}`;
  const inHead = head === null ? '' : `, head ${head}`;
  const lines = ['First divergence', displayWidth(long) <= columns ? long : short];
  lines.push(...wrap(`${operation}${inHead}: ${why(firstDivergence)}`, columns, { first: '  ', indent: '  ' }));
  const others = origins.length - 1;
  if (others > 0) lines.push(`  and ${formatCounted(others, 'other operation')} of the same step`);
  return lines;
}

/** Why the kernel, or the cache, is where it starts: every input of an origin is bit-equal. */
function why(origin: Origin): string {
  if (startsInCache(origin)) return 'the rows read are not the rows written, so the cache starts it';
  if (!origin.readsCache) return 'reads no cache, so the kernel starts it';
  return 'the cache it reads is equal, so the kernel starts it';
}

function startsInCache({ hook }: Origin): boolean {
  return hook.includes('.hook_cache_');
}

function verdictLines(summary: DivergenceSummary, { color, columns }: SummaryOptions): string[] {
  const { verdict, steps, prompts, differingSteps, divergedPrompts, firstDivergence, gates } = summary;
  const paint = marks(color);
  const say = (mark: string, text: string) => wrap(`${mark} ${text}`, columns, { indent: '  ' });
  // The last line is the one that is read: it says what a failed gate leaves open.
  const failed = gates.filter(({ passed }) => !passed).map(({ name }) => name);
  const doubt = failed.length === 0 ? '' : `; in doubt, as ${failed.join(', ')} failed`;
  const texts = `${prompts === 0 ? '' : `, texts ${textRate(0, prompts)}`}${doubt}`;
  switch (verdict) {
    case 'equal':
      if (steps === 0)
        return say(paint.good('='), 'EQUAL  the prompt alone was run, which both arms compute the same way');
      return say(paint.good('='), `EQUAL  not one bit differs in ${formatCounted(steps, 'step')}${texts}`);
    case 'bits-differ': {
      const share = steps === 0 ? '' : ` (${formatShare(differingSteps / steps)})`;
      const found = `in ${formatCount(differingSteps)} of ${formatCounted(steps, 'step')}${share}`;
      return say(paint.warn('≈'), `BITS DIFFER  ${found}; no token changed${texts}`);
    }
    case 'tokens-differ': {
      const where = firstDivergence ? ` ${startsWhere(firstDivergence)}` : '';
      const found = `${formatCount(divergedPrompts)} of ${formatCounted(prompts, 'text')}.`;
      return say(paint.bad('✗'), `TOKENS DIFFER  ${found}${where}`);
    }
    case 'not-valid':
      return say(paint.bad('!'), 'NOT VALID');
  }
}

function startsWhere(origin: Origin): string {
  return startsInCache(origin)
    ? 'Starts in the cache: the rows read are not the rows written.'
    : 'Starts in the decode kernel, not in the cache.';
}

/** What makes the difference vanish, as the null control measured it. */
function removedBy(summary: DivergenceSummary, columns: number): string[] {
  const { verdict, decodeRows, gates, kernels, matchedKernels, planted } = summary;
  // The control runs without planted faults: it says nothing about what removes them.
  if (verdict === 'equal' || decodeRows > 1 || planted.length > 0) return [];
  const control = gates.find(({ name }) => name === 'null');
  if (control?.status !== 'passed') return [];
  // The null gate runs the prefill's kernel: decode steps must run it too, under a name or in the preset's file.
  const kernel =
    matchedKernels === kernels ? '' : matchedKernels ? `--kernels ${matchedKernels} ` : "the prefill's kernel and ";
  const parts = [`${kernel}--decode-rows 2`, `(null gate: ${control.measured})`];
  return flow(parts, columns, { first: '  removed by     ', indent: ' '.repeat(17), separator: '   ' });
}

function look({ run }: SummaryOptions): string[] {
  return run === null ? [] : [`  look           ${run}`];
}

function notValid({ gates }: DivergenceSummary, { color, columns, run }: SummaryOptions): string[] {
  const paint = marks(color);
  // NaN makes many gates fail: where there is some, it is the cause.
  const finite = gates.filter(({ name, passed }) => name === 'finite' && !passed);
  const [first, ...others] = [...finite, ...failedHarnessGates(gates)];
  const file = run === null ? 'controls.json' : `${run}/controls.json`;
  return [
    ...wrap(`${paint.bad('!')} NOT VALID  ${gateFailure(first)}`, columns, { indent: '  ' }),
    ...others.flatMap((gate) => wrap(`also ${gateFailure(gate)}`, columns, { first: '  ', indent: '  ' })),
    ...wrap(`No result is reported. See ${file}; kvlens audit MODEL shows every gate.`, columns, {
      first: '  ',
      indent: '  ',
    }),
  ];
}
