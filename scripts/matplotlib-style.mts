/**
 * The figures' tokens for matplotlib, made of src/report/figures/theme.ts: `npx tsx scripts/matplotlib-style.mts` writes a style for a
 * light and a dark page, all
 * tokens and the colours of the drift scale into notebooks/.
 */
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { driftColor, driftScale, type Theme, themes } from '../src/report/figures/theme.ts';

/** Classes of the scale: as many as the maps have. */
const classes = 32;

/** Content by the file's name. */
export function matplotlibFiles(): Record<string, string> {
  return {
    'kvlens.mplstyle': style('light', themes.light),
    'kvlens-dark.mplstyle': style('dark', themes.dark),
    'kvlens-theme.csv': tokens(),
    'kvlens-drift.csv': driftColours(),
  };
}

/** One line per token that is a colour by itself: what a style has no name for. */
function tokens(): string {
  const { sequence: _, ...light } = themes.light;
  const dark: Record<string, unknown> = themes.dark;
  const rows = Object.entries(light).map(([token, color]) => `${token},${color},${dark[token]}`);
  return `token,light,dark\n${rows.join('\n')}\n`;
}

/** One line per class: the drift in u at its middle, and its colour in both themes. */
function driftColours(): string {
  const { least, most } = driftScale;
  const rows = Array.from({ length: classes }, (_, i) => {
    const drift = least * (most / least) ** (i / (classes - 1));
    const colours = Object.values(themes).map((theme) => driftColor(theme, drift, classes));
    return [drift.toPrecision(6), ...colours].join();
  });
  return `${['u', ...Object.keys(themes)].join()}\n${rows.join('\n')}\n`;
}

/** 7.5 inches are 720 CSS pixels, 9 points 12 pixels. No frames, no tick marks; a `#` would begin a comment. */
function style(name: string, theme: Theme): string {
  const c = (color: string) => color.replace('#', '').toUpperCase();
  const series = [theme.uncached, theme.cached, theme.fp16, theme.bf16, theme.fp32].map((color) => `'${c(color)}'`);
  const lines = {
    'figure.figsize': '7.5, 3.4',
    'figure.dpi': '96',
    'savefig.dpi': '192',
    'figure.facecolor': c(theme.background),
    'savefig.facecolor': c(theme.background),
    'axes.facecolor': c(theme.background),
    'figure.constrained_layout.use': 'True',
    'svg.fonttype': 'none',
    'svg.hashsalt': 'kvlens',
    'font.family': 'sans-serif',
    'font.size': '9',
    'axes.titlesize': '10.9',
    'axes.titleweight': 'bold',
    'axes.titlepad': '14',
    'axes.titlelocation': 'left',
    'axes.titlecolor': c(theme.ink),
    'axes.labelcolor': c(theme.ink2),
    'axes.labelsize': '9',
    'axes.edgecolor': c(theme.rule),
    'axes.spines.left': 'False',
    'axes.spines.right': 'False',
    'axes.spines.top': 'False',
    'axes.axisbelow': 'True',
    'axes.grid': 'True',
    'axes.grid.axis': 'y',
    'axes.prop_cycle': `cycler('color', [${series.join(', ')}])`,
    'grid.color': c(theme.grid),
    'grid.linewidth': '0.75',
    'hatch.linewidth': '1',
    'legend.frameon': 'False',
    'lines.linewidth': '1.5',
    'lines.markersize': '5',
    'text.color': c(theme.ink),
    'xtick.color': c(theme.ink3),
    'ytick.color': c(theme.ink3),
    'xtick.major.size': '0',
    'ytick.major.size': '0',
    'xtick.minor.size': '0',
    'ytick.minor.size': '0',
  };
  const head = `# The ${name} theme of kvlens's figures, written by scripts/matplotlib-style.mts.`;
  const body = Object.entries(lines).map(([key, value]) => `${key}: ${value}`);
  return `${[head, ...body].join('\n')}\n`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const folder = join(dirname(dirname(fileURLToPath(import.meta.url))), 'notebooks');
  for (const [name, content] of Object.entries(matplotlibFiles())) writeFileSync(join(folder, name), content);
}
