/** Colours of the figures, light and dark. Checked in greyscale and for deuteranopia: hatching separates 0 from the pale end. */

export interface Theme {
  background: string;
  panel: string;
  ink: string;
  ink2: string;
  ink3: string;
  rule: string;
  grid: string;
  /** The arms, and what replaces them: the residual stream is blue as the uncached arm, history orange as the cached one. */
  uncached: string;
  cached: string;
  fp32: string;
  fp16: string;
  bf16: string;
  /** Exactly 0, and the lines that hatch it. */
  zero: string;
  hatch: string;
  ok: string;
  bad: string;
  /** Ends of the diverging scale for signed values, below and above 0; 0 is the panel's colour. */
  below: string;
  above: string;
  /** Sequential scale, from small to large, away from the background. */
  sequence: readonly string[];
}

export const themes = {
  light: {
    ...{ background: '#FDFDFB', panel: '#F4F5F2', ink: '#1A1E23', ink2: '#4E5660', ink3: '#6B737D' },
    ...{ rule: '#E2E4E1', grid: '#ECEEEA', uncached: '#0B62A4', cached: '#BF4A06' },
    ...{ fp32: '#6B737D', fp16: '#7B3FA0', bf16: '#0B7A66', zero: '#DCE8EE', hatch: '#B4CAD6' },
    ...{ ok: '#0B7A66', bad: '#B3261E', below: '#2166AC', above: '#B35806' },
    sequence: ['#FBE3B8', '#F6AE62', '#E36A5C', '#B0357A', '#5E2270', '#1F0F3D'],
  },
  dark: {
    ...{ background: '#131619', panel: '#1B1F23', ink: '#E9EBEE', ink2: '#B4BBC3', ink3: '#8B939C' },
    ...{ rule: '#2C3237', grid: '#23282C', uncached: '#5CB3F2', cached: '#F79550' },
    ...{ fp32: '#9AA2AB', fp16: '#C79BE6', bf16: '#4CC2AA', zero: '#1F2F38', hatch: '#3D5664' },
    // Lighter than on paper: strong values have to stand out against the dark ground.
    ...{ ok: '#4CC2AA', bad: '#FF8A80', below: '#5CB3F2', above: '#F79550' },
    sequence: ['#3B2768', '#6A2C88', '#A63A86', '#D8586C', '#F08F55', '#FBDC9A'],
  },
} as const satisfies Record<string, Theme>;

/** `adaptive`: the document decides – a page by `data-theme`, a notebook by its own theme, an SVG file by the reader's setting. */
export type Appearance = 'light' | 'dark' | 'adaptive';

/** What a figure is drawn with. */
export interface Palette {
  /** Of lines, areas and text. */
  theme: Theme;
  /** Pixels have no variables: an image is drawn once for each of these, and style shows one of them. */
  pixels: readonly { theme: Theme; className: string | null }[];
}

const plain: Readonly<Record<'light' | 'dark', Palette>> = {
  light: { theme: themes.light, pixels: [{ theme: themes.light, className: null }] },
  dark: { theme: themes.dark, pixels: [{ theme: themes.dark, className: null }] },
};
const names = Object.keys(themes.light).filter((name) => name !== 'sequence') as Exclude<keyof Theme, 'sequence'>[];
const variable = (name: string) => `--kvl-${name}`;
const adaptive: Palette = {
  theme: {
    ...(Object.fromEntries(
      names.map((name) => [name, `var(${variable(name)},${themes.light[name]})`]),
    ) as unknown as Theme),
    sequence: themes.light.sequence.map((color, i) => `var(${variable(`sequence-${i}`)},${color})`),
  },
  pixels: [
    { theme: themes.light, className: 'kvl-light' },
    { theme: themes.dark, className: 'kvl-dark' },
  ],
};

export function paletteOf(appearance: Appearance): Palette {
  return appearance === 'adaptive' ? adaptive : plain[appearance];
}

/** The variables of a theme as declarations. */
export function themeVariables(theme: Theme): string {
  const own = names.map((name) => `${variable(name)}:${theme[name]}`);
  return [...own, ...theme.sequence.map((color, i) => `${variable(`sequence-${i}`)}:${color}`)].join(';');
}

/**
 * Pixels stay pixels in a browser. Renderers that know the attribute alone, `optimizeSpeed`, would take an unknown value for smooth:
 * they skip the condition.
 */
export const pixelStyle = '@supports (image-rendering:pixelated){.kvl image{image-rendering:pixelated}}';

/** Style of adaptive figures: light, unless a page, a notebook or the reader of an SVG file asks for dark. */
export function adaptiveStyle(): string {
  const dark = [':root[data-theme=dark]', 'body[data-jp-theme-light=false]', 'body.vscode-dark'];
  const shown = (root: string) =>
    `${root} .kvl,${root} .kvl-page{${themeVariables(themes.dark)}}${root} .kvl-light{display:none}${root} .kvl-dark{display:inline}`;
  const alone = `@media (prefers-color-scheme:dark){svg.kvl:root{${themeVariables(themes.dark)}}svg.kvl:root .kvl-light{display:none}svg.kvl:root .kvl-dark{display:inline}}`;
  return `${pixelStyle}.kvl-dark{display:none}${dark.map(shown).join('')}${alone}`;
}

/** Drift shown, in u: log scale, the same in every map of every run. */
export const driftScale = { least: 0.03, most: 30 } as const;

/** Place of a drift > 0 on the scale, 0 … 1; off the scale it takes the end. */
export function driftShare(drift: number): number {
  const { least, most } = driftScale;
  return Math.min(1, Math.max(0, Math.log(drift / least) / Math.log(most / least)));
}

/** Colour of a drift > 0, in `steps` classes over the scale; values off the scale take its end. Of a theme of plain colours. */
export function driftColor(theme: Theme, drift: number, steps = 32): string {
  return sequenceColor(theme, Math.round(driftShare(drift) * (steps - 1)) / (steps - 1));
}

/** Colour at a place of the sequential scale, 0 … 1. Of a theme of plain colours. */
export function sequenceColor({ sequence }: Theme, share: number): string {
  const at = share * (sequence.length - 1);
  const low = Math.min(sequence.length - 2, Math.floor(at));
  return mix(sequence[low], sequence[low + 1], at - low);
}

/** Colour of a signed value: 0 is the panel, ±limit an end; beyond, the end. Of a theme of plain colours. */
export function divergingColor({ below, above, panel }: Theme, value: number, limit: number, steps = 24): string {
  const share = Math.min(1, Math.abs(value) / limit);
  return mix(panel, value < 0 ? below : above, Math.round(share * steps) / steps);
}

/** `#RRGGBB` between two colours. */
function mix(from: string, to: string, share: number): string {
  const channel = (color: string, at: number) => Number.parseInt(color.slice(at, at + 2), 16);
  const parts = [1, 3, 5].map((at) => {
    const value = Math.round(channel(from, at) + (channel(to, at) - channel(from, at)) * share);
    return value.toString(16).padStart(2, '0');
  });
  return `#${parts.join('')}`;
}
