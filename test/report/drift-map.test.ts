/** The map draws what it is given: exactly 0 apart from small, nothing averaged, text escaped. */
import { expect, test } from 'vitest';
import { driftMap, type MapOptions } from '../../src/report/figures/drift-map.ts';
import { driftColor, themes } from '../../src/report/figures/theme.ts';

const options: MapOptions = {
  title: 'A <b> & "c"',
  subtitle: 'two rows',
  rows: [
    { group: '', label: 'embed', drift: [0, 0, 0, 0] },
    { group: 'L0', label: 'scores', drift: [0, 1e-9, 3, Number.NaN] },
  ],
  firstStep: 1,
  flips: [3],
  alternative: 'none',
  theme: themes.light,
  width: 600,
};

const paths = (svg: string) =>
  new Map([...svg.matchAll(/<path d="([^"]*)" fill="([^"]*)"/g)].map(([, d, fill]) => [fill, d]));
const cells = (path: string | undefined) => (path?.match(/M/g) ?? []).length;

test('exactly 0 is hatched and nothing else is', () => {
  const found = paths(driftMap(options));
  // One run of equal cells in the first row, one cell in the second.
  expect(cells(found.get('url(#zero)'))).toBe(2);
  expect(cells(found.get(driftColor(themes.light, 1e-9)))).toBe(1);
  expect(driftColor(themes.light, 1e-9)).toBe(themes.light.sequence[0].toLowerCase());
});

test('what is not a number has a colour of its own', () => {
  expect(cells(paths(driftMap(options)).get(themes.light.bad))).toBe(1);
});

test('colours follow the logarithm and end where the scale ends', () => {
  const { sequence } = themes.dark;
  expect(driftColor(themes.dark, 0.03)).toBe(sequence[0].toLowerCase());
  expect(driftColor(themes.dark, 1e6)).toBe(sequence[5].toLowerCase());
  expect(new Set([0.03, 0.3, 3, 30].map((u) => driftColor(themes.dark, u))).size).toBe(4);
});

test('text is escaped', () => {
  const svg = driftMap(options);
  expect(svg).toContain('A &#60;b&#62; &#38; &#34;c&#34;');
  expect(svg).not.toContain('<b>');
});

test('the line runs along the first row that differs, and breaks where none does', () => {
  const contour = /fill="none" stroke="#1A1E23"/;
  const line = driftMap(options)
    .split('\n')
    .filter((part) => contour.test(part))
    .at(-1);
  expect(line?.match(/M/g)).toHaveLength(1);
  const equal = driftMap({ ...options, rows: [options.rows[0]] });
  expect(equal).toContain('<path d="" fill="none" stroke="#1A1E23"');
});
