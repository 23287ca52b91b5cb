/** Colours of the figures, light and dark. Checked in greyscale and for deuteranopia: hatching separates 0 from the pale end. */

export interface Theme {
  background: string;
  ink: string;
  ink2: string;
  ink3: string;
  rule: string;
  zero: string;
  hatch: string;
  bad: string;
  /** Sequential scale, from small to large, away from the background. */
  sequence: readonly string[];
  /** Ends of the diverging scale for signed values, below and above 0; 0 is the panel's colour. */
  below: string;
  above: string;
  panel: string;
}

export const themes = {
  light: {
    background: '#FDFDFB',
    ink: '#1A1E23',
    ink2: '#4E5660',
    ink3: '#6B737D',
    rule: '#E2E4E1',
    zero: '#DCE8EE',
    hatch: '#B4CAD6',
    bad: '#B3261E',
    sequence: ['#FBE3B8', '#F6AE62', '#E36A5C', '#B0357A', '#5E2270', '#1F0F3D'],
    below: '#2166AC',
    above: '#B35806',
    panel: '#F4F5F2',
  },
  dark: {
    background: '#131619',
    ink: '#E9EBEE',
    ink2: '#B4BBC3',
    ink3: '#8B939C',
    rule: '#2C3237',
    zero: '#1F2F38',
    hatch: '#3D5664',
    bad: '#FF8A80',
    sequence: ['#3B2768', '#6A2C88', '#A63A86', '#D8586C', '#F08F55', '#FBDC9A'],
    // Lighter than on paper: strong values have to stand out against the dark ground.
    below: '#5CB3F2',
    above: '#F79550',
    panel: '#1B1F23',
  },
} as const satisfies Record<string, Theme>;

/** Drift shown, in u: log scale, the same in every map of every run. */
export const driftScale = { least: 0.03, most: 30 } as const;

/** Colour of a drift > 0, in `steps` classes over the scale; values off the scale take its end. */
export function driftColor({ sequence }: Theme, drift: number, steps = 32): string {
  const { least, most } = driftScale;
  const share = Math.log(drift / least) / Math.log(most / least);
  const at = (Math.round(Math.min(1, Math.max(0, share)) * (steps - 1)) / (steps - 1)) * (sequence.length - 1);
  const low = Math.min(sequence.length - 2, Math.floor(at));
  return mix(sequence[low], sequence[low + 1], at - low);
}

/** Colour of a signed value: 0 is the panel, ±limit an end; beyond, the end. */
export function divergingColor({ below, above, panel }: Theme, value: number, limit: number, steps = 24): string {
  const share = Math.min(1, Math.abs(value) / limit);
  return mix(panel, value < 0 ? below : above, Math.round(share * steps) / steps);
}

function mix(from: string, to: string, share: number): string {
  const channel = (color: string, at: number) => Number.parseInt(color.slice(at, at + 2), 16);
  const parts = [1, 3, 5].map((at) => {
    const value = Math.round(channel(from, at) + (channel(to, at) - channel(from, at)) * share);
    return value.toString(16).padStart(2, '0');
  });
  return `#${parts.join('')}`;
}
