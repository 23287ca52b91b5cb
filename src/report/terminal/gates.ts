/** Gates: one line of marks in a run's summary, one block per gate in an audit. */
import { firstStages, type GateResult } from '../../divergence/summary.ts';
import { flow, type TerminalOptions, toAscii, wrap } from './layout.ts';
import { type Marks, marks } from './marks.ts';
import { formatCounted } from './numbers.ts';

/** What a failed identification gate leaves open. */
const notIdentifiable: Record<string, string> = {
  null: 'whether summation order alone makes the arms differ',
  prefix: 'a single cache-free trajectory to compare with',
  finite: 'drift where values are not finite',
  'batch-threads': 'the effect of the cache apart from batch and threads',
};

/** Gates that void every number when they fail. */
export function failedHarnessGates(gates: readonly GateResult[]): GateResult[] {
  return gates.filter((gate) => gate.class === 'harness' && !gate.passed);
}

/** `gate "full patch" failed: 3 elements differ, 0 required` */
export function gateFailure({ name, measured, required }: GateResult): string {
  const needed = /^0 \S+( \S+)? differ$/.test(required) ? '0 required' : `required: ${required}`;
  return `gate "${name.replaceAll('-', ' ')}" failed: ${measured}, ${needed}`;
}

/** What a run with a failed harness gate says instead of numbers. @param run its folder */
export function notValidLines(
  gates: readonly GateResult[],
  { color, columns }: TerminalOptions,
  run: string,
): string[] {
  const paint = marks(color);
  const [first, ...others] = failedHarnessGates(gates);
  return [
    ...wrap(`${paint.bad('!')} NOT VALID  ${gateFailure(first)}`, columns, { indent: '  ' }),
    ...others.flatMap((gate) => wrap(`also ${gateFailure(gate)}`, columns, { first: '  ', indent: '  ' })),
    ...wrap(`No result is reported. See ${run}/controls.json.`, columns, { first: '  ', indent: '  ' }),
  ];
}

/** The `Gates` block of a run. */
export function gateLines(gates: readonly GateResult[], columns: number, color: boolean): string[] {
  const paint = marks(color);
  const passed = gates.filter(({ status }) => status === 'passed');
  const failed = gates.filter(({ status }) => status === 'failed');
  const notRun = gates.filter(({ status }) => status === 'not-applicable');
  const indent = ' '.repeat(8);
  const names = [...failed, ...passed].map((gate) => [`${gateMark(gate, paint)} ${gate.name}`]);
  const lines = names.length === 0 ? [] : flowColored(names.flat(), columns, indent);
  if (notRun.length > 0) {
    const parts = notRun.map((gate) => `${gateMark(gate, paint)} ${gate.name}`);
    lines.push(...flowColored([...parts, '(○ = not applicable)'], columns, indent));
  }
  if (lines.length === 0) return ['Gates   none was run'];
  lines[0] = `Gates   ${lines[0].slice(8)}`;
  const partial = gates.filter(({ scope }) => scope.endsWith(firstStages)).map(({ name }) => name);
  if (partial.length > 0) {
    const text = `${partial.join(', ')}: ${firstStages}`;
    lines.push(...wrap(text, columns, { first: indent, indent: `${indent}  ` }));
  }
  for (const gate of failed) {
    const open = notIdentifiable[gate.name] ?? 'what this gate guards';
    lines.push(...wrap(`${gateFailure(gate)}`, columns, { first: indent, indent: `${indent}  ` }));
    lines.push(...wrap(`not identifiable: ${open}`, columns, { first: indent, indent: `${indent}  ` }));
  }
  return lines;
}

/** Every gate with what it measured, what it required and what it covered; the verdict last. */
export function renderAudit(gates: readonly GateResult[], options: TerminalOptions, heading?: string): string {
  const paint = marks(options.color);
  const failed = gates.filter(({ passed }) => !passed);
  const lines = heading === undefined ? [] : [heading, ''];
  for (const gate of gates) {
    lines.push(`${gateMark(gate, paint)} ${gate.name.padEnd(15)}${gate.class}`);
    for (const [label, text] of [
      ['measured', gate.measured],
      ['required', gate.required],
      ['scope', gate.scope],
    ]) {
      lines.push(...wrap(text, options.columns, { first: `    ${label.padEnd(10)}`, indent: ' '.repeat(14) }));
    }
  }
  const names = failed.map(({ name }) => name).join(', ');
  const [measured, other] = [gates.filter(({ status }) => status !== 'not-applicable').length, gates.length];
  const verdict =
    failed.length > 0
      ? [`${paint.bad('✗')} GATES FAILED  ${failed.length} of ${formatCounted(measured, 'gate')}: ${names}`]
      : [
          `${paint.good('✓')} GATES HELD  ${formatCounted(measured, 'gate')}${other > measured ? `, ${other - measured} not applicable` : ''}`,
        ];
  lines.push('', ...verdict);
  return finish(lines, options);
}

/** Join lines, in ASCII where nothing else can be shown. */
export function finish(lines: readonly string[], { unicode }: TerminalOptions): string {
  const text = lines.map((line) => line.trimEnd()).join('\n');
  return unicode ? text : toAscii(text);
}

function gateMark({ status }: GateResult, paint: Marks): string {
  if (status === 'passed') return paint.good('✓');
  return status === 'failed' ? paint.bad('✗') : paint.dim('○');
}

function flowColored(parts: readonly string[], columns: number, indent: string): string[] {
  return flow(parts, columns, { first: indent, indent, separator: '  ' });
}
