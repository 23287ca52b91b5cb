/** The map draws what it is given: exactly 0 apart from small, NaN and Inf as such, nothing hidden where values share a cell. */
import { unzlibSync } from 'fflate';
import { describe, expect, test } from 'vitest';
import { driftMapData, thumbnailData } from '../../../src/report/data/drift-map.ts';
import { cellStates, type LayerMap } from '../../../src/report/data/layer-map.ts';
import { isMissing } from '../../../src/report/data/missing.ts';
import { driftMapFigure } from '../../../src/report/figures/drift-map.ts';
import { gridCell, mapGrid } from '../../../src/report/figures/map-grid.ts';
import { colorScale, overMedian } from '../../../src/report/figures/map-measure.ts';
import { driftColor, themes } from '../../../src/report/figures/theme.ts';
import { mapRows, tablesOfRows } from '../tables-of-rows.ts';

const u = 2 ** -11;
const block = (layer: number, name: string, kind: string, rel: (number | null)[]) => ({
  ...{ hook: `blocks.${layer}.${name}`, kind, layer, rel },
});
const hooks = [
  // Not in execution order: the map puts them there.
  { hook: 'logits', kind: 'logits', layer: 2, rel: [0, 0, 40 * u, 0.01 * u] },
  block(1, 'hook_resid_post', 'resid_post', [0, 0, 2 * u, Number.NaN]),
  block(0, 'hook_resid_post', 'resid_post', [0, 0, u, Infinity]),
  block(0, 'attn.hook_attn_scores', 'attn.attn_scores', [0, null, u, u]),
  { hook: 'hook_embed', kind: 'embed', layer: -1, rel: [0, 0, 0, 0] },
];

async function mapOf(
  given: Parameters<typeof mapRows>[0],
  change: (rows: ReturnType<typeof mapRows>) => void = () => {},
) {
  const rows = mapRows(given);
  change(rows);
  const map = await driftMapData(tablesOfRows(rows));
  if (isMissing(map)) throw new Error(map.missing);
  return map;
}

/** Pixels of the last image of a figure, the body of its map. */
function pixels(svg: string): { at: (x: number, y: number) => string | null; width: number; height: number } {
  const images = [...svg.matchAll(/<image[^>]*base64,([^"]+)"/g)].map(([, data]) => Buffer.from(data, 'base64'));
  const own = images[images.length - 1];
  let [at, width, height] = [8, 0, 0];
  let palette = Buffer.alloc(0);
  let data = new Uint8Array();
  while (at < own.length) {
    const length = own.readUInt32BE(at);
    const name = own.toString('latin1', at + 4, at + 8);
    const content = own.subarray(at + 8, at + 8 + length);
    if (name === 'IHDR') [width, height] = [content.readUInt32BE(0), content.readUInt32BE(4)];
    if (name === 'PLTE') palette = content;
    if (name === 'IDAT') data = unzlibSync(content);
    at += length + 12;
  }
  return {
    ...{ width, height },
    at: (x, y) => {
      const index = data[Math.round(y) * (width + 1) + 1 + x];
      return index === 0 ? null : `#${palette.toString('hex', index * 3, index * 3 + 3)}`;
    },
  };
}

const light = { appearance: 'light' } as const;

describe('the data', () => {
  test('has hooks in execution order, steps without the prefill, and a state for every cell', async () => {
    const map = await mapOf(hooks);
    expect(map.hooks.map(({ hook }) => hook)).toEqual([
      'hook_embed',
      'blocks.0.attn.hook_attn_scores',
      'blocks.0.hook_resid_post',
      'blocks.1.hook_resid_post',
      'logits',
    ]);
    expect(map.steps.map(({ step }) => step)).toEqual([1, 2, 3, 4]);
    const { zero, notCaptured, finite, nan, infinite } = cellStates;
    expect([...map.states]).toEqual(
      [
        [zero, zero, zero, zero],
        [zero, notCaptured, finite, finite],
        [zero, zero, finite, infinite],
        [zero, zero, finite, nan],
        [zero, zero, finite, finite],
      ].flat(),
    );
    expect(map).toMatchObject({ unit: 'f16', promptIndex: 3 });
  });

  test('never takes a NaN in both arms for equal, nor masked scores for infinite', async () => {
    const nan = await mapOf(hooks, ({ layers }) => {
      for (const row of layers)
        if (row.hook === 'hook_embed' && row.step === 2) Object.assign(row, { nan: 2, nonfinite: 2 });
      for (const row of layers) if (row.kind === 'attn.attn_scores') Object.assign(row, { nonfinite: 5 });
    });
    expect(nan.states[1]).toBe(cellStates.nan);
    expect([...nan.states.subarray(4, 8)]).toEqual([cellStates.zero, 0, cellStates.finite, cellStates.finite]);
  });

  test('is of the prompt whose steps differ most, unless one is asked for', async () => {
    const rows = [
      mapRows([{ hook: 'logits', kind: 'logits', layer: 1, rel: [0, u, 0] }], { prompt: 'a' }),
      mapRows([{ hook: 'logits', kind: 'logits', layer: 1, rel: [u, u, 0] }], { prompt: 'b' }),
      mapRows([{ hook: 'logits', kind: 'logits', layer: 1, rel: [0, 0, u] }], { prompt: 'c' }),
    ];
    const tables = tablesOfRows({
      conditions: rows[0].conditions,
      ...{ vocab: [], prompts: rows.flatMap(({ prompts }) => prompts) },
      ...{ steps: rows.flatMap(({ steps }) => steps), layers: rows.flatMap(({ layers }) => layers) },
    });
    expect(await driftMapData(tables)).toMatchObject({ prompt: 'b' });
    expect(await driftMapData(tables, { prompt: 'c' })).toMatchObject({ prompt: 'c' });
    expect(await driftMapData(tables, { prompt: 'd' })).toMatchObject({ missing: expect.stringContaining('prompt d') });
    expect(await driftMapData(tables, { condition: 'x' })).toMatchObject({ missing: expect.stringContaining('x') });
  });

  test('says what is missing, and the command that makes it', async () => {
    const { conditions } = mapRows(hooks);
    expect(await driftMapData(tablesOfRows({ conditions }))).toEqual({
      missing: 'No layers.arrow.',
      command: "kvlens diverge MODEL --hooks '*' --out FOLDER",
    });
    expect(await driftMapData(tablesOfRows({ conditions, layers: [] }))).toMatchObject({
      missing: 'layers.arrow has no decode step of c.',
    });
    expect(await thumbnailData(tablesOfRows({ conditions, layers: [] }))).toHaveProperty('command');
  });

  test('takes u of the type the residual stream is rounded to', async () => {
    const change = ({ layers }: ReturnType<typeof mapRows>) => {
      for (const row of layers) Object.assign(row, { dtype: row.kind === 'resid_post' ? 'bf16' : 'f32' });
    };
    expect((await mapOf(hooks, change)).unit).toBe('bf16');
  });
});

describe('the picture', () => {
  test('has every value at its place in its colour, exact zeros transparent over hatching', async () => {
    const map = await mapOf(hooks);
    const { svg, geometry, origin } = driftMapFigure(map, light);
    const body = pixels(svg);
    const pixel = (row: number, column: number) => body.at(column, geometry.rows[row].top - geometry.rows[0].top + 3);
    expect(body.width).toBe(4);
    expect(geometry.rows.map(({ label }) => label)).toEqual(['embed', 'scores', 'resid post', 'resid post', 'logits']);
    expect(geometry.columns).toEqual([1, 2, 3, 4].map((step) => ({ first: step, last: step })));
    expect(pixel(0, 2)).toBeNull();
    expect(pixel(1, 2)).toBe(driftColor(themes.light, 1));
    expect(pixel(3, 2)).toBe(driftColor(themes.light, 2));
    expect(pixel(4, 2)).toBe(themes.light.sequence[5].toLowerCase());
    expect(pixel(4, 3)).toBe(themes.light.sequence[0].toLowerCase());
    expect(svg).toMatch(/<path d="M[^"]+" fill="url\(#kvl-zero\)"/);
    expect(geometry.rows[0].top).toBeGreaterThan(origin.y);
  });

  test('marks NaN, Inf, what is off the scale and what was not captured', async () => {
    const { svg } = driftMapFigure(await mapOf(hooks), light);
    const { bad } = themes.light;
    const glyphs = (sign: string) =>
      svg.match(new RegExp(`fill="${bad}"[^>]*text-anchor="middle">${sign}<`, 'g')) ?? [];
    expect(glyphs('×')).toHaveLength(1);
    expect(glyphs('∞')).toHaveLength(1);
    expect(svg).toContain('Off the scale: 1 below (▾), 1 above (▴). NaN in 1 cell (×), Inf in 1 cell (∞).');
    expect(/class="below" d="([^"]+)"/.exec(svg)?.[1].match(/M/g)).toHaveLength(1);
    expect(/class="above" d="([^"]+)"/.exec(svg)?.[1].match(/M/g)).toHaveLength(1);
    expect(/class="not-captured" d="([^"]+)"/.exec(svg)?.[1].match(/M/g)).toHaveLength(1);
  });

  test('draws the first row that differs of each step as a line, broken where none does', async () => {
    const map = await mapOf([
      { hook: 'hook_embed', kind: 'embed', layer: -1, rel: [0, 0, 0, 0, 0] },
      block(0, 'hook_resid_post', 'resid_post', [u, 0, u, 0, 0]),
      { hook: 'logits', kind: 'logits', layer: 1, rel: [u, 0, u, u, 0] },
    ]);
    const { svg, geometry, origin } = driftMapFigure(map, light);
    const { x, cellWidth, rows } = geometry;
    const at = (row: number) => Math.round(rows[row].top - origin.y);
    const [left, width] = [x - origin.x, cellWidth];
    const round = (value: number) => Math.round(value * 100) / 100;
    expect(/class="contour" d="([^"]+)"/.exec(svg)?.[1]).toBe(
      `M${left} ${at(1)}H${round(left + width)}M${round(left + 2 * width)} ${at(1)}H${round(left + 3 * width)}V${at(2)}H${round(left + 4 * width)}`,
    );
    const equal = await mapOf([{ hook: 'hook_embed', kind: 'embed', layer: -1, rel: [0, 0] }]);
    const nothing = driftMapFigure(equal, light);
    expect(nothing.svg).not.toContain('class="contour"');
    expect(nothing.title).toBe('Bit-equal in all 2 steps');
    expect(nothing.svg.match(/<image/g)).toHaveLength(1);
  });

  test('shows both tokens of a flip, and names the steps and what follows them; nothing in them is markup', async () => {
    const map = await mapOf(hooks, ({ steps }) => {
      Object.assign(steps[3], { flip: true, token_uncached: 1, token_cached: 2 });
      Object.assign(steps[4], { token_uncached: 9 });
    });
    const { svg } = driftMapFigure(map, light);
    expect(svg).toContain('␣He → &#60;b&#62;&#38;\\x202e');
    expect(svg).not.toMatch(/<b>|\u202e/);
    expect(svg.match(/class="flip" data-step="3"/g)).toHaveLength(1);
    expect(svg).toContain('>step 1<');
    // A token without an entry of its own model has no label.
    expect(svg.match(/rotate\(-90\)/g)).toHaveLength(3);
    expect(svg).not.toContain('other');
  });

  test('has the finding as its title, seen first where operations were not captured', async () => {
    const map = await mapOf(hooks);
    expect(driftMapFigure(map, light).title).toBe('NaN in 1 cell. 2 of 4 steps differ, each seen first in L0 scores');
    expect(driftMapFigure(map, { ...light, rows: ['logits'] }).title).toMatch(/^2 of 4 steps differ/);
  });

  test('is adaptive: both themes’ pixels, and variables for everything else', async () => {
    const { svg } = driftMapFigure(await mapOf(hooks));
    expect(svg.match(/<image class="kvl-light"/g)).toHaveLength(2);
    expect(svg.match(/<image class="kvl-dark"/g)).toHaveLength(2);
    expect(svg.replace(/<style>.*?<\/style>/s, '').replaceAll(/var\([^)]*\)/g, '')).not.toMatch(/#[0-9a-f]{6}/i);
  });

  test('of one step, of no chosen row and of a hostile name is a picture too', async () => {
    const one = await mapOf([{ hook: 'logits', kind: 'logits', layer: 1, rel: [u] }]);
    expect(driftMapFigure(one, light).title).toBe('The step differs, seen first in the logits');
    const none = driftMapFigure(one, { ...light, rows: ['attn.q'] });
    expect(none.svg).toContain('No hook of this selection');
    expect(none.geometry.rows).toEqual([]);
    const named = await mapOf(hooks, ({ conditions }) => Object.assign(conditions[0], { kernels: '</svg><i>\u202e' }));
    expect(driftMapFigure(named, light).svg).not.toMatch(/<i>|\u202e/);
  });
});

describe('measures', () => {
  const scaleOf = async (measure: Parameters<typeof colorScale>[1]) => {
    const map = await mapOf(hooks);
    return { scale: colorScale(map, measure), index: 2 * 4 + 2, map };
  };

  test('are u, the drift itself, ULPs and the share of elements', async () => {
    for (const [measure, value] of [
      ['u', 1],
      ['absolute', u],
      ['ulp', u * 100],
      ['bits', 0.1],
    ] as const) {
      const { scale, index } = await scaleOf(measure);
      expect(scale.value(index)).toBeCloseTo(value, 12);
    }
  });

  test('end where the scale ends, and count what lies beyond', async () => {
    const { scale } = await scaleOf('u');
    expect([0.03, 30].map(scale.classOf)).toEqual([1, scale.classes]);
    expect([0.029, 0.03, 1, 30, 30.1].map(scale.off)).toEqual([-1, 0, 0, 0, 1]);
    const { scale: bits } = await scaleOf('bits');
    expect([0, 1].map(bits.classOf)).toEqual([1, bits.classes]);
  });

  test('over the median of their row are 1 in its middle, and ten times it at the end', async () => {
    const map = await mapOf([{ hook: 'logits', kind: 'logits', layer: 1, rel: [u, 2 * u, 3 * u, 0, 20 * u] }]);
    const scale = overMedian(map, colorScale(map, 'u'), (index) => map.states[index] === cellStates.finite);
    // The median of 1, 2, 3 and 20 is 2.5.
    expect([0, 1, 2, 4].map(scale.value)).toEqual([0.4, 0.8, 1.2, 8]);
    expect([0.1, 1, 10].map(scale.classOf)).toEqual([1, (scale.classes + 1) / 2, scale.classes]);
  });
});

describe('500 steps of 60 layers', () => {
  const steps = 500;
  const layers = 60;
  const rel = (layer: number) =>
    Array.from({ length: steps }, (_, i) => (layer === 7 && i === 250 ? Number.NaN : layer === 9 && i === 251 ? 0 : u));

  function bigMap(): LayerMap {
    const count = layers * steps;
    const relL2 = Float64Array.from({ length: count }, (_, i) => rel(Math.floor(i / steps))[i % steps]);
    const ones = () => new Float64Array(count).fill(1);
    return {
      condition: {
        condition: 'c',
        model: 'm',
        precision: 'fp16',
        kernels: 'k',
        strategy: 'greedy',
        padding: 0,
        coupling: 'keyed',
      },
      ...{ prompt: 'p', promptIndex: 0, unit: 'f16' },
      hooks: Array.from({ length: layers }, (_, layer) => ({
        hook: `blocks.${layer}.hook_resid_post`,
        kind: 'resid_post',
        layer,
      })),
      steps: Array.from({ length: steps }, (_, i) => ({
        step: i + 1,
        position: i,
        next: null,
        flip: null,
        differs: null,
      })),
      states: Uint8Array.from(relL2, (value) =>
        Number.isNaN(value) ? cellStates.nan : value === 0 ? cellStates.zero : cellStates.finite,
      ),
      values: {
        rel_l2: relL2,
        max_abs: ones(),
        max_ulp: ones(),
        n_differ: Float64Array.from(relL2, (value) => (value === 0 ? 0 : 1)),
        n_elements: ones(),
      },
    };
  }
  const map = bigMap();
  const grid = mapGrid(map, 'resid_post');

  test('fall into at most 200 columns and 40 layers of cells, each step and layer in one', () => {
    expect(grid.columns).toHaveLength(167);
    expect(grid.rows).toHaveLength(30);
    expect(grid.rows[3]).toMatchObject({ band: 'L6–7', hooks: [6, 7] });
    const covered = grid.columns.flatMap(({ from, to }) => Array.from({ length: to - from }, (_, i) => from + i));
    expect(covered).toEqual(Array.from({ length: steps }, (_, i) => i));
    expect(grid.rows.flatMap((row) => row.hooks)).toEqual(Array.from({ length: layers }, (_, i) => i));
  });

  test('hide no NaN: one makes its cell ×', () => {
    const cell = gridCell(map, grid.rows[3], grid.columns[83], () => 1);
    expect(cell.state).toBe(cellStates.nan);
    expect(gridCell(map, grid.rows[3], grid.columns[82], () => 1).state).toBe(cellStates.finite);
  });

  test('hide no zero: the cell that holds one is hatched at its foot, and coloured above', () => {
    const cell = gridCell(map, grid.rows[4], grid.columns[83], (index) => index);
    // Steps 250–252 of two layers; the largest value is the one of the highest index.
    expect(cell).toEqual({ state: cellStates.finite, zeros: 1 / 6, value: 9 * steps + 251 - 1 });
    const { svg, geometry, origin } = driftMapFigure(map, { ...light, rows: 'resid_post' });
    const body = pixels(svg);
    // The one NaN has its glyph though its cell is a few pixels, in its middle.
    const glyph = new RegExp(
      `<text x="([\\d.]+)"[^>]*fill="${themes.light.bad}"[^>]*text-anchor="middle"[^>]*>×<`,
      'g',
    );
    const marks = [...svg.matchAll(glyph)];
    expect(marks).toHaveLength(1);
    expect(Number(marks[0][1])).toBeCloseTo(geometry.x - origin.x + 83.5 * geometry.cellWidth, 1);
    const top = geometry.rows[4].top - geometry.rows[0].top;
    const column = Array.from({ length: geometry.rowHeight }, (_, y) => body.at(83, top + y));
    expect(column.filter((color) => color === null).length).toBe(Math.round(geometry.rowHeight / 6));
    expect(column.at(-1)).toBeNull();
    expect(column[0]).not.toBeNull();
    expect(body.at(82, top + geometry.rowHeight - 1)).not.toBeNull();
    expect(body.at(83, geometry.rows[3].top - geometry.rows[0].top)).toBe(themes.light.bad.toLowerCase());
    expect(svg.length).toBeLessThan(60_000);
  });

  test('hide no first difference: the line runs along the earliest row of the steps that share a column', () => {
    const late = bigMap();
    late.states.fill(cellStates.zero);
    late.values.n_differ.fill(0);
    // Layer 20 differs in the first step of column 0, layer 10 in its third.
    for (const index of [20 * steps, 10 * steps + 2]) {
      late.states[index] = cellStates.finite;
      late.values.n_differ[index] = 1;
    }
    const { svg, geometry, origin } = driftMapFigure(late, { ...light, rows: 'resid_post' });
    const line = /class="contour" d="M[\d.]+ ([\d.]+)H[\d.]+"/.exec(svg);
    expect(Number(line?.[1])).toBeCloseTo(geometry.rows[5].top - origin.y, 6);
  });
});
