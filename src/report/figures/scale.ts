/** Scales of axes: from values to pixels, with the places of their ticks. */

export interface Scale {
  /** Pixel of a value; a value outside the domain lies outside the range. */
  at(value: number): number;
  ticks: readonly number[];
  domain: readonly [number, number];
}

/** Linear; ticks at 1, 2 or 5 × 10ⁿ, about `count` of them. */
export function linear(domain: readonly [number, number], range: readonly [number, number], count = 4): Scale {
  const [low, high] = domain;
  const span = high - low || 1;
  const raw = span / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((size) => size * power).find((size) => size >= raw * 0.999) ?? power * 10;
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  const ticks = Array.from({ length: Math.max(0, last - first + 1) }, (_, i) =>
    Number(((first + i) * step).toPrecision(12)),
  );
  return { at: (value) => range[0] + ((value - low) / span) * (range[1] - range[0]), ticks, domain };
}

/** Logarithmic over positive values, its ends widened to whole decades; at most `count` + 1 ticks. Zero has a strip of its own: `zeroStrip`. */
export function logarithmic(domain: readonly [number, number], range: readonly [number, number], count = 5): Scale {
  const [low, high] = [Math.floor(Math.log10(domain[0]) + 1e-9), Math.ceil(Math.log10(domain[1]) - 1e-9)];
  const top = Math.max(high, low + 1);
  const every = Math.max(1, Math.ceil((top - low) / count));
  const ticks: number[] = [];
  for (let decade = low; decade <= top; decade += every) ticks.push(Number(`1e${decade}`));
  const at = (value: number) => range[0] + ((Math.log10(value) - low) / (top - low)) * (range[1] - range[0]);
  return { at, ticks, domain: [10 ** low, 10 ** top] };
}

/** Smallest and largest of the positive finite values; null where there is none. */
export function positiveExtent(values: Iterable<number | null>): [number, number] | null {
  let [low, high] = [Infinity, 0];
  for (const value of values) {
    if (value === null || !(value > 0) || !Number.isFinite(value)) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return high > 0 ? [low, high] : null;
}
