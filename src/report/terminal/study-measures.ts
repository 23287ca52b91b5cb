/** What explains the conditions of a study: flips predicted, precision, layers, recovery; by setting, a line for each model. */
import { settingName } from '../../study/outcome/setting.ts';
import type { Measured, StudyOutcome } from '../../study/outcome/types.ts';
import { padRight, visibleWords } from './layout.ts';
import { formatCount, formatValue } from './numbers.ts';
import type { Family } from './study.ts';

/** One model in one setting. */
interface Row {
  setting: string;
  model: string;
  cells: readonly string[];
}

const nameWidth = 32;
const cellWidth = 22;

/** A title with the heads of its columns, then each setting and below it its models; nothing where there is no row. */
function table(title: string, heads: readonly string[], rows: readonly Row[], note?: string): string[] {
  if (rows.length === 0) return [];
  const line = (name: string, cells: readonly string[]) =>
    `  ${padRight(name, nameWidth)}${cells.map((cell) => padRight(cell, cellWidth)).join('')}`.trimEnd();
  return [
    title,
    line('', heads),
    ...rows.flatMap(({ setting, model, cells }, i) => [
      ...(rows[i - 1]?.setting === setting ? [] : [`  ${setting}`]),
      line(`  ${visibleWords(model)}`, cells),
    ]),
    ...(note === undefined ? [] : [`  ${note}`]),
  ];
}

/** Do drift and margins say how many flips there are? Greedy conditions that have some. */
export function predictionLines(families: readonly Family[]): string[] {
  const rows = families.flatMap(({ name, conditions }) =>
    conditions.flatMap(({ results, model }): Row[] => {
      const found = results?.prediction;
      if (found?.kind !== 'greedy' || found.observed === 0) return [];
      const auc = found.auc === null ? '–' : decimal(found.auc);
      return [
        { setting: name, model, cells: [`${formatCount(found.observed)} / ${formatValue(found.predicted)}`, auc] },
      ];
    }),
  );
  return table('Flips, greedy: predicted from margins here and drift elsewhere', ['observed / predicted', 'AUC'], rows);
}

export function falsificationLines({ falsification }: StudyOutcome): string[] {
  const shown = (decades: Measured | null, line: number) =>
    decades === null ? `∅ (${line.toFixed(1)})` : `${decades.value.toFixed(1)} (${line.toFixed(1)})`;
  const rows = falsification.map(
    (found): Row => ({
      setting: settingName(found),
      model: found.model,
      cells: [shown(found.l2, found.predicted.linear), shown(found.kl, found.predicted.quadratic)],
    }),
  );
  const note = 'in brackets what the ratio of the roundoffs predicts; ∅: single precision does not differ';
  return table(
    'Precision: decades that the drift shrinks in single precision',
    ['L2, linear', 'KL, quadratic'],
    rows,
    note,
  );
}

export function profileLines({ profiles }: StudyOutcome): string[] {
  const rows = profiles.flatMap((profile): Row[] => {
    const { model, sharpness, unevenness } = profile;
    if (sharpness === null || unevenness === null) return [];
    return [{ setting: settingName(profile), model, cells: [interval(sharpness), interval(unevenness)] }];
  });
  return table('Layers: error that each adds; S = first, U = largest over the median', ['S', 'U'], rows);
}

/** What recomputed history and the residual patch bring back. */
export function recoveryLines(families: readonly Family[]): string[] {
  const rows = families.flatMap(({ name, conditions }) =>
    conditions.flatMap(({ results, model }): Row[] => {
      const at = (spec: string, history: string, horizon: number) =>
        results?.cells.find(
          (cell) =>
            cell.spec === spec && cell.history === history && cell.kernel === 'decode' && cell.horizon === horizon,
        )?.recovery ?? null;
      const history = at('two-by-two', 'recomputed', 0);
      const residual = at('residual', 'cached', 1);
      if (history === null && residual === null) return [];
      const shown = (found: Measured | null) => (found === null ? '∅' : interval(found));
      return [{ setting: name, model, cells: [shown(history), shown(residual)] }];
    }),
  );
  return table(
    'Recovery R: recomputed history, at its step; residual patch, a step later',
    ['history', 'residual'],
    rows,
  );
}

/** `0.83 [0.74–0.89]` */
export function interval({ value, lower, upper }: Measured): string {
  if (lower === null || upper === null) return decimal(value);
  return `${decimal(value)} [${decimal(lower)}–${decimal(upper)}]`;
}

export function decimal(value: number): string {
  if (value === 0) return '0';
  return Math.abs(value) < 0.005 ? formatValue(value) : value.toFixed(2).replace('-', '−');
}
