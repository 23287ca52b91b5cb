/** Recovery as text. */
import type { CellSummary, HorizonSummary } from '../../patching/run/summary.ts';
import { formatValue } from './numbers.ts';

/** A cell at one horizon. */
export function at(cell: CellSummary | undefined, horizon: number): HorizonSummary | undefined {
  return cell?.horizons.find((one) => one.horizon === horizon);
}

/** `0.31 [0.22–0.40]`, `1 =`, `∅`. */
export function recoveryText(found: HorizonSummary | undefined, isBase = false): string {
  if (found === undefined || found.count === 0) return '–';
  if (isBase) return '0 (the cached arm)';
  if (found.recovery === null) return found.harmful > 0 ? 'harmful' : '∅ nothing to recover';
  const mark = found.exact === found.count ? ' =' : '';
  const forced = isForced(found) ? ' ○' : '';
  const interval = mark === '' && intervalText(found) !== '' ? ` [${intervalText(found)}]` : '';
  return `${shown(found.recovery)}${mark}${forced}${interval}`;
}

/** No measurement of the cell could come out otherwise. */
export function isForced({ byConstruction, count }: HorizonSummary): boolean {
  return count > 0 && byConstruction === count;
}

/** R to two decimals; exactly 0 and 1 are bare. */
export function shown(value: number): string {
  if (value === 0 || value === 1) return String(value);
  if (Math.abs(value) >= 10) return formatValue(value);
  const text = Math.abs(value).toFixed(2);
  if (text === '1.00' && value < 1 && value > 0) return '> 0.99';
  if (text === '0.00') return value < 0 ? '−0.00' : '0.00';
  return value < 0 ? `−${text}` : text;
}

/** As `recoveryText`, without the interval. */
export function shortText(found: HorizonSummary | undefined): string {
  if (found === undefined || found.count === 0) return '–';
  if (found.recovery === null) return found.harmful > 0 ? 'harmful' : '∅';
  const mark = `${found.exact === found.count ? ' =' : ''}${isForced(found) ? ' ○' : ''}`;
  return shown(found.recovery) + mark;
}

/** `0.22–0.40`; empty where there is nothing to say. */
export function intervalText(found: HorizonSummary | undefined): string {
  if (!found?.interval || found.exact === found.count) return '';
  const { low, high } = found.interval;
  // Of an interval that is a point there is nothing to say.
  return low === high ? '' : `${shown(low)}–${shown(high)}`;
}
