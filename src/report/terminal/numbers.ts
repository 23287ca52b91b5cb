/**
 * Numbers as kvlens prints them: two significant digits, a true minus, counts in full with thousands separators, and
 * `0` only for exactly 0.
 */

const minus = '−';
/** Below this a value that is not 0 is said to be small, and no more. */
const smallest = 1e-9;

/** A whole number in full: `5,960`. */
export function formatCount(count: number): string {
  return count.toLocaleString('en-US').replace('-', minus);
}

/** A count with its noun: `1 prompt`, `40 prompts`. */
export function formatCounted(count: number, noun: string, plural = `${noun}s`): string {
  return `${formatCount(count)} ${count === 1 ? noun : plural}`;
}

/** A size in decimal units, as disks and connections are sold: `530 B`, `2.5 MB`, `14 GB`. */
export function formatBytes(bytes: number): string {
  const exponent = bytes < 1000 ? 0 : Math.min(4, Math.floor(Math.log10(bytes) / 3));
  const value = bytes / 1000 ** exponent;
  return `${exponent > 0 && value < 9.95 ? value.toFixed(1) : Math.round(value)} ${['B', 'kB', 'MB', 'GB', 'TB'][exponent]}`;
}

/** A measured value: `0.20`, `7.8e-3`, `1.6e-5`, `1,300`, `< 1e-9`; `0` is exactly 0. */
export function formatValue(value: number): string {
  return formatWith(value, (magnitude) => (magnitude < 0.01 ? exponential(magnitude) : plain(magnitude)));
}

/** A cell of the drift table, in u: like `formatValue`, but two decimals below 1, so that the column lines up. */
export function formatDrift(value: number): string {
  return formatWith(value, (magnitude) => {
    if (magnitude < 0.01) return exponential(magnitude);
    return magnitude < 0.995 ? magnitude.toFixed(2) : plain(magnitude);
  });
}

/** A share of all: `0 %` and `100 %` are exact, otherwise whole percents, `< 1 %` or `> 99 %`. */
export function formatShare(share: number): string {
  const percent = Math.round(share * 100);
  if (share > 0 && percent === 0) return '< 1 %';
  if (share < 1 && percent === 100) return '> 99 %';
  return `${percent} %`;
}

/** Percent with as many decimals as `n` trials can tell apart: `25` of 40, `0.18` of 5,960. */
export function formatPercent(share: number, n: number): string {
  return (share * 100).toFixed(Math.max(0, Math.ceil(Math.log10(Math.max(1, n))) - 2));
}

function formatWith(value: number, positive: (magnitude: number) => string): string {
  if (Number.isNaN(value)) return 'NaN';
  const sign = value < 0 ? minus : '';
  const magnitude = Math.abs(value);
  if (magnitude === Infinity) return `${sign}∞`;
  if (magnitude === 0) return '0';
  if (magnitude < smallest) return value < 0 ? `> ${minus}1e-9` : '< 1e-9';
  return sign + positive(magnitude);
}

function plain(magnitude: number): string {
  const rounded = Number(magnitude.toPrecision(2));
  if (rounded >= 1e4) return exponential(magnitude);
  if (rounded >= 10) return formatCount(rounded);
  return rounded.toFixed(rounded >= 1 ? 1 : 1 - Math.floor(Math.log10(rounded)));
}

function exponential(magnitude: number): string {
  return magnitude.toExponential(1).replace('e+', 'e');
}
