/** What the colour of a map says: drift in u, the drift itself, ULPs, or the share of elements that differ. */

import { formats, type StorageType, unitRoundoff } from '../../numerics/types.ts';
import type { LayerMap } from '../data/layer-map.ts';
import { divergingColor, driftScale, sequenceColor, type Theme } from './theme.ts';

export type Measure = 'u' | 'absolute' | 'ulp' | 'bits';

/** A colour scale, the same in every map of every run; values off it take the colour of its end. */
export interface ColorScale {
  value: (index: number) => number;
  /** 1 … `classes`: the class of a value. */
  classOf: (value: number) => number;
  classes: number;
  /** Plain colours, by class. */
  colors: (theme: Theme) => string[];
  /** −1 below the scale, 1 above it. */
  off: (value: number) => number;
  ticks: readonly { share: number; label: string }[];
  /** For the subtitle. */
  name: string;
}

export const typeName: Record<StorageType, string> = { f16: 'fp16', bf16: 'bf16', f32: 'fp32', f64: 'fp64' };
const superscripts = [...'⁰¹²³⁴⁵⁶⁷⁸⁹'];

/** `2⁻¹¹`. */
export function roundoffText(type: StorageType): string {
  const digits = [...String(formats[type].significandBits)].map((digit) => superscripts[Number(digit)]);
  return `2⁻${digits.join('')}`;
}

const classes = 32;

export function colorScale(map: LayerMap, measure: Measure): ColorScale {
  const { values, unit } = map;
  switch (measure) {
    case 'u': {
      const u = unitRoundoff(unit);
      const name = `relative L2 in u, 1 u = ${roundoffText(unit)}, one ${typeName[unit]} rounding`;
      return { ...driftColorScale(), value: (index) => values.rel_l2[index] / u, name };
    }
    case 'absolute': {
      const ticks = [1e-8, 1e-5, 1e-3, 0.1].map((at) => [at, at < 0.01 ? at.toExponential() : `${at}`] as const);
      return logScale((index) => values.rel_l2[index], [1e-8, 0.1], ticks, 'relative L2');
    }
    case 'ulp': {
      const ticks = [1, 10, 100, 1000, 1e4].map((at) => [at, at === 1e4 ? '1e4' : `${at}`] as const);
      return logScale((index) => values.max_ulp[index], [1, 1e4], ticks, 'largest difference in ULP');
    }
    case 'bits':
      return {
        value: (index) => values.n_differ[index] / values.n_elements[index],
        classOf: (value) => 1 + Math.round(Math.min(1, Math.max(0, value)) * (classes - 1)),
        colors: (theme) => sequence(theme),
        off: () => 0,
        ticks: [0, 0.5, 1].map((share) => ({ share, label: `${share * 100} %` })),
        name: 'share of elements whose bits differ',
        classes,
      };
  }
}

/** Of values in u. */
export function driftColorScale(): ColorScale {
  const { least, most } = driftScale;
  const ticks = [least, 0.3, 3, most].map((at) => [at, `${at}`] as const);
  return logScale((value) => value, [least, most], ticks, 'relative L2 in u', ' u');
}

function logScale(
  value: (index: number) => number,
  [least, most]: readonly [number, number],
  ticks: readonly (readonly [number, string])[],
  name: string,
  unit = '',
): ColorScale {
  const share = (at: number) => Math.log(at / least) / Math.log(most / least);
  // An end's colour may be of values beyond it. A value just at an end is on the scale, whatever its last bit.
  const slack = 1 + 1e-9;
  return {
    ...{ value, classes, name },
    classOf: (at) => 1 + Math.round(Math.min(1, Math.max(0, at > 0 ? share(at) : 0)) * (classes - 1)),
    colors: (theme) => sequence(theme),
    off: (at) => (at * slack < least ? -1 : at > most * slack ? 1 : 0),
    ticks: ticks.map(([at, label], i) => {
      const end = i === 0 ? '≤ ' : i === ticks.length - 1 ? '≥ ' : '';
      return { share: share(at), label: `${end}${label}${end === '' ? '' : unit}` };
    }),
  };
}

function sequence(theme: Theme): string[] {
  return Array.from({ length: classes }, (_, i) => sequenceColor(theme, i / (classes - 1)));
}

const signedSteps = 24;

/** Of signed values: 0 is the panel's colour, ±limit an end, and what lies beyond it takes its colour. */
export function signedColorScale(limit: number, below: string, above: string): Omit<ColorScale, 'value' | 'name'> {
  const place = (value: number) => Math.max(-1, Math.min(1, value / limit));
  return {
    classOf: (value) => 1 + signedSteps + Math.round(place(value) * signedSteps),
    classes: 2 * signedSteps + 1,
    colors: (theme) =>
      Array.from({ length: 2 * signedSteps + 1 }, (_, i) =>
        divergingColor(theme, i - signedSteps, signedSteps, signedSteps),
      ),
    // The ends say that they are open.
    off: () => 0,
    ticks: [
      { share: 0, label: below },
      { share: 0.5, label: '0' },
      { share: 1, label: above },
    ],
  };
}

/**
 * A measure over the median of its hook's values that are finite and not 0: what stands out where a kernel makes every row
 * differ, as split-K does. Signed, from a tenth of the median to ten times it.
 */
export function overMedian(map: LayerMap, scale: ColorScale, finite: (index: number) => boolean): ColorScale {
  const { hooks, steps } = map;
  const medians = hooks.map((_, hook) => {
    const own: number[] = [];
    for (let index = hook * steps.length; index < (hook + 1) * steps.length; index++) {
      if (finite(index)) own.push(scale.value(index));
    }
    own.sort((a, b) => a - b);
    const middle = (own.length - 1) / 2;
    return own.length === 0 ? 1 : (own[Math.floor(middle)] + own[Math.ceil(middle)]) / 2;
  });
  const signed = signedColorScale(1, '≤ ×0.1', '≥ ×10');
  return {
    ...signed,
    value: (index) => scale.value(index) / medians[Math.floor(index / steps.length)],
    classOf: (ratio) => signed.classOf(ratio > 0 ? Math.log10(ratio) : -1),
    off: (ratio) => (ratio < 0.1 / (1 + 1e-9) ? -1 : ratio > 10 * (1 + 1e-9) ? 1 : 0),
    ticks: signed.ticks.map((tick) => (tick.share === 0.5 ? { ...tick, label: '×1' } : tick)),
    name: `${scale.name}, over the median of its row`,
  };
}
