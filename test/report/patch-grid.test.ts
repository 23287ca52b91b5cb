/** The patching heat map: every value has its colour, what changes nothing is hatched, labels are data and not markup. */

import { describe, expect, test } from 'vitest';
import { type GridOptions, patchGrid } from '../../src/report/figures/patch-grid.ts';
import { escapeXml } from '../../src/report/figures/svg.ts';
import { divergingColor, themes } from '../../src/report/figures/theme.ts';

const options: GridOptions = {
  title: 'A <finding> & more',
  subtitle: ['one', 'two'],
  columns: [{ label: '<s>' }, { label: '"am"', clean: 'om' }, { label: '⏎' }],
  panels: [
    {
      title: 'Residual',
      rows: ['L0', 'L1'],
      values: [
        [null, 1, -1],
        [0, 0.5, Number.NaN],
      ],
    },
    { title: 'MLP', rows: ['L0'], values: [[2, null, -3]] },
  ],
  scale: { label: 'recovery', limit: 1, below: '≤ −1', above: '≥ 1' },
  alternative: 'says "it"',
  theme: themes.light,
  width: 400,
};

/** Fill → number of cells. */
function cells(svg: string): Map<string, number> {
  const paths = [...svg.matchAll(/<path d="([^"]+)" fill="([^"]+)" shape-rendering/g)];
  const counts = new Map<string, number>();
  for (const [, path, fill] of paths) counts.set(fill, (counts.get(fill) ?? 0) + path.split('M').length - 1);
  return counts;
}

describe.each(['light', 'dark'] as const)('in the %s theme', (name) => {
  const theme = themes[name];
  const svg = patchGrid({ ...options, theme });

  test('values take their colours, beyond the scale its ends; cells without effect are hatched, NaN stands out', () => {
    const found = cells(svg);
    expect(found.get('url(#zero)')).toBe(2);
    expect(found.get(divergingColor(theme, 1, 1))).toBe(2);
    expect(found.get(divergingColor(theme, -1, 1))).toBe(2);
    expect(found.get(theme.panel.toLowerCase())).toBe(1);
    expect(found.get(theme.bad)).toBe(1);
    expect([...found.values()].reduce((sum, count) => sum + count, 0)).toBe(9);
  });

  test('the scale is symmetric around the panel’s colour', () => {
    expect(divergingColor(theme, 0, 1)).toBe(theme.panel.toLowerCase());
    expect(divergingColor(theme, 5, 5)).toBe(theme.above.toLowerCase());
    expect(divergingColor(theme, -7, 5)).toBe(theme.below.toLowerCase());
  });
});

test('texts are escaped, and a token that differs names both and has a frame in each panel', () => {
  const svg = patchGrid(options);
  expect(svg).not.toMatch(/<s>|"am"|<finding>/);
  expect(svg).toContain('&#60;s&#62;');
  expect(svg).toContain('om → &#34;am&#34;');
  expect(svg).toContain('aria-label="says &#34;it&#34;"');
  expect(svg.match(new RegExp(`fill="none" stroke="${themes.light.ink}"`, 'g'))?.length).toBe(2 + 1);
});

test('the picture grows with its panels and labels', () => {
  const height = (svg: string) => Number(/height="(\d+)"/.exec(svg)?.[1]);
  const long = [{ label: 'a very long token indeed' }, ...options.columns.slice(1)];
  expect(height(patchGrid({ ...options, columns: long }))).toBeGreaterThan(height(patchGrid(options)) + 80);
});

test('what XML cannot hold is shown as a replacement character, never written', () => {
  expect(escapeXml('a\u0000\u001b[31m\uFFFE <b>')).toBe('a\uFFFD\uFFFD[31m\uFFFD &#60;b&#62;');
});
