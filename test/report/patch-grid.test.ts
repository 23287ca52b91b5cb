/** The patching heat map: every value has its colour, what changes nothing is hatched, labels are data and not markup. */

import { unzlibSync } from 'fflate';
import { describe, expect, test } from 'vitest';
import { type PatchGrid, patchGridFigure } from '../../src/report/figures/patch-grid.ts';
import { escapeXml } from '../../src/report/figures/svg.ts';
import { divergingColor, themes } from '../../src/report/figures/theme.ts';

const grid: PatchGrid = {
  title: 'A <finding> & more',
  subtitle: 'one',
  columns: [{ label: '<s>' }, { label: '"am"\u202e', clean: 'om' }, { label: '⏎' }],
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
  shows: 'says "it"',
};
const options = { appearance: 'light', width: 400 } as const;

/** Colours of each image's pixels, row by row; null where hatching shows through. */
function images(svg: string): (string | null)[][] {
  return [...svg.matchAll(/<image[^>]*base64,([^"]+)"/g)].map(([, data]) => {
    const png = Buffer.from(data, 'base64');
    const width = png.readUInt32BE(16);
    let [at, palette, pixels] = [8, Buffer.alloc(0), new Uint8Array()];
    while (at < png.length) {
      const [length, name] = [png.readUInt32BE(at), png.toString('latin1', at + 4, at + 8)];
      const content = png.subarray(at + 8, at + 8 + length);
      if (name === 'PLTE') palette = content;
      if (name === 'IDAT') pixels = unzlibSync(content);
      at += length + 12;
    }
    // Each line begins with its filter.
    const indices = [...pixels].filter((_, i) => i % (width + 1) > 0);
    return indices.map((index) => (index === 0 ? null : `#${palette.toString('hex', index * 3, index * 3 + 3)}`));
  });
}

describe.each(['light', 'dark'] as const)('in the %s theme', (appearance) => {
  const theme = themes[appearance];
  const { svg } = patchGridFigure(grid, { ...options, appearance });

  test('values take their colours, beyond the scale its ends; cells without effect are hatched, NaN stands out', () => {
    const [, residual, mlp] = images(svg);
    const [above, below] = [theme.above.toLowerCase(), theme.below.toLowerCase()];
    const half = divergingColor(theme, 0.5, 1);
    expect(residual).toEqual([null, above, below, theme.panel.toLowerCase(), half, theme.background.toLowerCase()]);
    expect(mlp).toEqual([above, null, below]);
    expect(svg.match(/fill="url\(#kvl-zero\)"/g)).toHaveLength(3);
    expect(svg).not.toContain('not-captured');
    expect(svg.match(new RegExp(`fill="${theme.bad}"[^>]*text-anchor="middle">×<`, 'g'))).toHaveLength(1);
  });

  test('the scale is symmetric around the panel’s colour', () => {
    const [ramp] = images(svg);
    expect(ramp).toHaveLength(49);
    expect([ramp[0], ramp[24], ramp[48]]).toEqual(
      [theme.below, theme.panel, theme.above].map((color) => color.toLowerCase()),
    );
    expect(divergingColor(theme, 0, 1)).toBe(theme.panel.toLowerCase());
    expect(divergingColor(theme, 5, 5)).toBe(theme.above.toLowerCase());
    expect(divergingColor(theme, -7, 5)).toBe(theme.below.toLowerCase());
  });
});

test('texts are escaped, and a token that differs names both and has a frame in each panel', () => {
  const { svg } = patchGridFigure(grid, options);
  expect(svg).not.toMatch(/<s>|"am"|<finding>|\u202e/);
  expect(svg).toContain('&#60;s&#62;');
  expect(svg).toContain('om → &#34;am&#34;\\x202e');
  expect(svg).toContain('says &#34;it&#34;"');
  expect(svg.match(/class="differs"/g)).toHaveLength(2);
  expect(svg).toContain('the tokens differ');
  const heads = patchGridFigure({ ...grid, columns: grid.columns.map((_, i) => ({ label: `head ${i}` })) }, options);
  expect(heads.svg).not.toContain('the tokens differ');
});

test('the picture grows with its panels and labels', () => {
  const long = [{ label: 'a very long token indeed' }, ...grid.columns.slice(1)];
  const { height } = patchGridFigure(grid, options);
  expect(patchGridFigure({ ...grid, columns: long }, options).height).toBeGreaterThan(height + 30);
  expect(patchGridFigure({ ...grid, panels: grid.panels.slice(1) }, options).height).toBe(height - 2 * 17 - 40);
});

test('what XML cannot hold is shown as a replacement character, never written', () => {
  expect(escapeXml('a\u0000\u001b[31m\uFFFE <b>')).toBe('a\uFFFD\uFFFD[31m\uFFFD &#60;b&#62;');
});
