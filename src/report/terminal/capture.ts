/** What a capture wrote. */
import type { GateResult } from '../../divergence/summary.ts';
import { failedHarnessGates, finish, gateFailure, gateLines } from './gates.ts';
import { type TerminalOptions, wrap } from './layout.ts';
import { marks } from './marks.ts';
import { formatCount, formatCounted } from './numbers.ts';

export interface CaptureText {
  model: string;
  arm: string;
  run: string;
  files: readonly string[];
  hooks: readonly string[];
  rows: number;
  tokens: readonly number[];
  gates: readonly GateResult[];
}

/** Files, hooks and rows; the gates; where to look. */
export function renderCapture(found: CaptureText, options: TerminalOptions): string {
  const { model, arm, run, files, hooks, rows, tokens, gates } = found;
  const paint = marks(options.color);
  const failed = failedHarnessGates(gates);
  const lines = [`${model}  ${arm} arm, ${formatCounted(tokens.length, 'new token')}`, ''];
  if (failed.length > 0) {
    lines.push(...failed.flatMap((gate) => wrap(`${paint.bad('!')} NOT VALID  ${gateFailure(gate)}`, options.columns)));
    lines.push(`Nothing was captured. See ${run}/controls.json.`);
    return finish(lines, options);
  }
  for (const file of files) lines.push(`  ${file}`);
  lines.push('', ...gateLines(gates, options.columns, options.color), '');
  lines.push(`${formatCount(rows)} rows of ${formatCounted(hooks.length, 'hook')}`, `  look           ${run}`);
  return finish(lines, options);
}
