/** Figures of layers.arrow beside the map: thumbnails, the first step operation by operation, drift by layer, the K/V cache. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { cacheMapData } from '../../../src/report/data/cache-map.ts';
import { thumbnailData } from '../../../src/report/data/drift-map.ts';
import { firstOperationData } from '../../../src/report/data/first-operation.ts';
import { inheritedAddedData } from '../../../src/report/data/inherited-added.ts';
import { cellStates } from '../../../src/report/data/layer-map.ts';
import { isMissing, type Missing } from '../../../src/report/data/missing.ts';
import { cacheMapFigure } from '../../../src/report/figures/cache-map.ts';
import { firstOperationFigure } from '../../../src/report/figures/first-operation.ts';
import { inheritedAddedFigure } from '../../../src/report/figures/inherited-added.ts';
import { themes } from '../../../src/report/figures/theme.ts';
import { thumbnailFigure } from '../../../src/report/figures/thumbnails.ts';
import { ActivationWriter } from '../../../src/store/activation-writer.ts';
import { mapRows, tablesOfRows } from '../tables-of-rows.ts';
import { dataOf } from './marks.ts';

const u = 2 ** -11;
const light = { appearance: 'light' } as const;
const { zero, finite, nan, infinite, notCaptured } = cellStates;
const folder = mkdtempSync(join(tmpdir(), 'kvlens-layers-'));
afterAll(() => rmSync(folder, { recursive: true }));

const block = (layer: number, name: string, kind: string, rel: (number | null)[]) => ({
  ...{ hook: `blocks.${layer}.${name}`, kind, layer, rel },
});
const embed = (rel: number[]) => ({ hook: 'hook_embed', kind: 'embed', layer: -1, rel });

function present<Data extends object>(found: Data | Missing): Data {
  if (isMissing(found)) throw new Error(found.missing);
  return found;
}

/** Several conditions in one run. */
function runOf(parts: readonly ReturnType<typeof mapRows>[]) {
  return tablesOfRows({
    conditions: parts.flatMap(({ conditions }) => conditions),
    prompts: parts[0].prompts,
    steps: parts.flatMap(({ steps }) => steps),
    layers: parts.flatMap(({ layers }) => layers),
    vocab: [],
  });
}

function named(condition: string, kernels: string, hooks: Parameters<typeof mapRows>[0], prompt = 'p') {
  const rows = mapRows(hooks, { condition, prompt });
  Object.assign(rows.conditions[0], { kernels });
  return rows;
}

describe('thumbnails', () => {
  const quiet = named('a', 'ort', [embed([0, 0, 0]), block(0, 'hook_resid_post', 'resid_post', [0, 0, 0])]);
  const loud = named('b', '<split>', [embed([0, 0, 0]), block(0, 'hook_resid_post', 'resid_post', [0, u, Number.NaN])]);

  test('show the same prompt under each condition, and where each differs first', async () => {
    const maps = present(await thumbnailData(runOf([quiet, loud])));
    expect(maps.map(({ condition, prompt }) => [condition.condition, prompt])).toEqual([
      ['a', 'p'],
      ['b', 'p'],
    ]);
    const { svg, title } = thumbnailFigure(maps, light);
    expect(title).toBe('Steps that differ: none of 3 under fp16 · ort, 2 of 3 under fp16 · <split>');
    expect(svg).toContain('first: step 2, L0 resid post');
    expect(svg).toContain('>bit-equal<');
    expect(svg).toContain('1 / 3 steps exactly 0');
    // The quiet one has no pixel but its hatching; the legend has one image.
    expect(svg.match(/<image/g)).toHaveLength(2);
    expect(svg.match(/url\(#kvl-zero\)/g)?.length).toBeGreaterThanOrEqual(3);
    expect(svg).not.toContain('<split>');
    expect(svg).toContain('data-condition="b"');
  });

  test('of another model show a prompt of its own', async () => {
    const other = named('b', 'ort', [embed([0]), block(0, 'hook_resid_post', 'resid_post', [u])], 'q');
    const maps = present(await thumbnailData(runOf([quiet, other])));
    expect(maps.map(({ prompt }) => prompt)).toEqual(['p', 'q']);
  });
});

describe('the first operation', () => {
  const hooks = [
    embed([0, 0, 0]),
    block(0, 'attn.hook_q', 'attn.q', [0, 0, u]),
    block(0, 'attn.hook_attn_scores', 'attn.attn_scores', [0, 1e-4, u]),
    block(0, 'hook_resid_post', 'resid_post', [0, Number.NaN, u]),
    { hook: 'logits', kind: 'logits', layer: 1, rel: [0, 1e-2, u] },
  ];

  test('is the first in execution order whose elements differ, at the first step that differs', async () => {
    const [found] = present(await firstOperationData(runOf([named('a', 'ort', hooks.toReversed())])));
    expect(found).toMatchObject({ step: 2, first: 2 });
    expect(found.operations.map(({ kind, state }) => [kind, state])).toEqual([
      ['embed', zero],
      ['attn.q', zero],
      ['attn.attn_scores', finite],
      ['resid_post', nan],
      ['logits', finite],
    ]);
  });

  test('is ringed at its height, zeros lie in their strip, a NaN above the axis', async () => {
    const data = present(await firstOperationData(runOf([named('a', 'ort', hooks)])));
    const { svg, title } = firstOperationFigure(data, light);
    expect(title).toBe('L0 scores differs first, at step 2, in 1 of 10 elements');
    const start = (part: string) => /d="M(-?[\d.]+) (-?[\d.]+)/.exec(part)?.slice(1).map(Number) ?? [];
    const values = [...svg.matchAll(/class="value" (d="[^"]+")/g)].map(([, part]) => start(part));
    const zeros = [...svg.matchAll(/class="zero" (d="[^"]+")/g)].map(([, part]) => start(part)[1]);
    const [ringX, ringY] = start(/class="ring" (d="[^"]+")/.exec(svg)?.[1] ?? '');
    // A circle's path begins at its left: ring and mark share their centre.
    expect(ringX + 6.5).toBeCloseTo(values[0][0] + 2.7, 5);
    expect(ringY).toBe(values[0][1]);
    expect(zeros).toHaveLength(2);
    expect(new Set(zeros).size).toBe(1);
    expect(zeros[0]).toBeGreaterThan(ringY);
    // Two decades: 1e-4 below 1e-2, as far apart as the axis says.
    const tick = (label: string) => Number(new RegExp(`y="([\\d.]+)"[^>]*>${label}<`).exec(svg)?.[1]);
    expect(values[0][1] - values[1][1]).toBeCloseTo(tick('1e-4') - tick('0.01'), 1);
    expect(svg.match(/class="odd"[^>]*>×</g)).toHaveLength(1);
  });

  test('of a run without a difference is the last step, all 0', async () => {
    const data = present(await firstOperationData(runOf([named('a', 'ort', [embed([0, 0])])])));
    const { svg, title } = firstOperationFigure(data, light);
    expect(title).toBe('No operation differs in any step');
    expect(svg).not.toContain('class="ring"');
    expect(svg).toContain('no step differs');
  });
});

describe('inherited and added', () => {
  const layer = (index: number, rel: number[], parts: [added: number | null, history: number | null][]) =>
    mapRows([block(index, 'hook_resid_post', 'resid_post', rel)]).layers.map((row, i) => ({
      ...row,
      ...{ added_rel_l2: parts[i][0], via_history_rel_l2: parts[i][1], via_residual_rel_l2: 0 },
    }));
  const run = (layers: ReturnType<typeof layer>) =>
    tablesOfRows({ conditions: mapRows([embed([0])]).conditions, layers });

  test('are root mean squares over steps in u, with the share of exact zeros', async () => {
    const [found] = present(
      await inheritedAddedData(
        run([
          ...layer(
            0,
            [3 * u, 4 * u],
            [
              [0, u],
              [2 * u, 0],
            ],
          ),
          // Steps without the parts are not compared with those that have them.
          ...layer(
            1,
            [u, 100 * u],
            [
              [0, u],
              [null, null],
            ],
          ),
        ]),
      ),
    );
    const [first, second] = found.layers;
    expect(first.measured).toBeCloseTo(Math.sqrt((9 + 16) / 2), 12);
    expect(first.added).toBeCloseTo(Math.sqrt(2), 12);
    expect(first.viaHistory).toBeCloseTo(Math.sqrt(0.5), 12);
    expect(first).toMatchObject({ steps: 2, zeros: { measured: 0, added: 1, viaHistory: 1 } });
    expect(second).toMatchObject({ steps: 1, added: 0 });
    expect(second.measured).toBeCloseTo(1, 12);
  });

  test('never average a NaN: the layer has none but ×', async () => {
    const data = present(
      await inheritedAddedData(
        run([
          ...layer(
            0,
            [Number.NaN, u],
            [
              [u, u],
              [u, u],
            ],
          ),
          ...layer(
            1,
            [u, u],
            [
              [u, Infinity],
              [u, u],
            ],
          ),
        ]),
      ),
    );
    expect(data[0].layers.map(({ measured, viaHistory }) => [measured, viaHistory].map(Number.isNaN))).toEqual([
      [true, false],
      [false, true],
    ]);
    const { svg, title } = inheritedAddedFigure(data, light);
    expect(title).toBe('NaN or Inf after layer 0');
    expect(svg.match(/class="odd"/g)).toHaveLength(2);
  });

  test('draw an exact 0 in its strip and the drift at its height', async () => {
    const data = present(
      await inheritedAddedData(run([...layer(0, [u], [[0, 0]]), ...layer(1, [10 * u], [[u, 5 * u]])])),
    );
    const { svg, title } = inheritedAddedFigure(data, light);
    expect(title).toBe('After layer 1 the drift is ×10 what that layer adds by itself: the rest is inherited');
    expect(svg).toContain('added is exactly 0 in 0–100 % of steps');
    const heights = (part: string) =>
      [...svg.matchAll(new RegExp(`class="${part}"[^>]* d="M[\\d.]+ ([\\d.]+)`, 'g'))].map(([, y]) => Number(y));
    const [low, high] = heights('measured');
    const tick = (label: string) => Number(new RegExp(`y="([\\d.]+)"[^>]*>${label}<`).exec(svg)?.[1]) - 4;
    expect([low, high]).toEqual([tick('1'), tick('10')]);
    const strip = /<rect x="[\d.]+" y="([\d.]+)"[^>]*kvl-zero\)"\/>/.exec(svg.slice(svg.indexOf('</defs>')));
    expect(heights('added')[0]).toBeGreaterThan(Number(strip?.[1]));
  });

  test('say what they lack', async () => {
    expect(await inheritedAddedData(run(layer(0, [u], [[null, null]])))).toMatchObject({
      missing: expect.stringContaining('what each layer adds'),
    });
    expect(await inheritedAddedData(tablesOfRows({}))).toEqual({
      missing: 'No layers.arrow.',
      command: "kvlens diverge MODEL --hooks '*' --out FOLDER",
    });
  });
});

describe('the K/V cache', () => {
  const hooks = [
    block(0, 'attn.hook_rot_k', 'attn.rot_k', [0, u, 0]),
    block(1, 'attn.hook_rot_k', 'attn.rot_k', [0, Infinity, Number.NaN]),
    block(0, 'attn.hook_v', 'attn.v', [0, 0, null]),
  ];

  test('has the rows of the steps after those of the prompt', async () => {
    const map = present(await cacheMapData(runOf([named('a', 'ort', hooks)])));
    // Step 1 is at position 5: the prompt has 0 … 4.
    expect(map).toMatchObject({ promptLength: 5, positions: 3, byHead: false });
    expect([...map.keys.states]).toEqual([zero, finite, zero, zero, infinite, nan]);
    expect([...map.values.states]).toEqual([zero, zero, notCaptured]);
    expect(map.keys.drift[1]).toBe(u);
  });

  test('draws the end of the prompt where it is, what is left of it hatched and 0 by construction', async () => {
    const map = present(await cacheMapData(runOf([named('a', 'ort', hooks)])));
    const { svg, title, panels, origin } = cacheMapFigure(map, light);
    expect(title).toBe('3 of 8 new rows of the cache differ from recomputed ones');
    const { x, cellWidth, columns } = panels.keys;
    expect(columns.map(({ first, last }) => [first, last])).toEqual(Array.from({ length: 8 }, (_, i) => [i, i]));
    const ends = [...svg.matchAll(/class="prompt-end" d="M([\d.]+)/g)].map(([, at]) => Number(at));
    expect(ends[0]).toBeCloseTo(x - origin.x + 5 * cellWidth, 1);
    expect(svg.match(/0 by construction/g)).toHaveLength(2);
    expect(svg.match(new RegExp(`fill="${themes.light.bad}"[^>]*>[×∞]<`, 'g'))?.length).toBeGreaterThanOrEqual(2);
  });

  test('on a page each row says how much of it is equal, and where it differs most; a file has no such marks', async () => {
    const map = present(await cacheMapData(runOf([named('a', 'ort', hooks)])));
    const { svg, panels, origin } = cacheMapFigure(map, { ...light, framed: false });
    const found = dataOf(svg, 'rect', 'data-new-rows');
    expect(found.map((row) => [row['data-part'], row['data-layer'], row['data-exact'], row['data-new-rows']])).toEqual([
      ['keys', '0', '2', '3'],
      ['keys', '1', '1', '3'],
      ['values', '0', '2', '2'],
    ]);
    expect(Number(found[0]['data-largest'])).toBe(u);
    expect(found[0]['data-position']).toBe('6');
    expect(found[1]['data-not-numbers']).toBe('2');
    expect(Number(found[0].y)).toBeCloseTo(panels.keys.rows[0].top - origin.y, 1);
    expect(dataOf(cacheMapFigure(map, light).svg, 'rect', 'data-new-rows')).toEqual([]);
  });

  test('is told by head where both arms’ activations were saved', async () => {
    const path = join(folder, 'attn.rot_k.arrow');
    const writer = new ActivationWriter(path, {
      ...{ shape: [2, 2], axes: ['kv_head', 'd_head'], dtype: 'f16', identity: {} },
      dictionaries: { condition: ['a'], prompt: ['p', 'q'], hook: ['blocks.0.attn.hook_rot_k'] },
    });
    const add = (prompt: string, arm: string, step: number, value: number[]) =>
      writer.add({
        ...{ condition: 'a', prompt, arm, step, position: 4 + step, token: 1, layer: 0 },
        ...{ hook: 'blocks.0.attn.hook_rot_k', value: Float32Array.from(value) },
      });
    // Head 0 is equal; head 1 differs by 1 from a vector of length 5.
    add('p', 'cached', 1, [1, 2, 3, 5]);
    add('p', 'uncached', 1, [1, 2, 3, 4]);
    add('p', 'cached', 2, [Number.NaN, 0, 0, 1]);
    add('p', 'uncached', 2, [Number.NaN, 0, 0, 1]);
    add('q', 'cached', 1, [9, 9, 9, 9]);
    writer.finish();
    writer.publish();
    const rows = named('a', 'ort', hooks);
    const run = tablesOfRows({ ...rows, vocab: [] }, { 'activations/attn.rot_k': path, 'activations/attn.v': path });
    const map = present(await cacheMapData(run, { prompt: 'p' }));
    expect(map.byHead).toBe(true);
    expect(map.keys.rows).toEqual([0, 1].map((head) => ({ layer: 0, head })));
    expect([...map.keys.states]).toEqual([zero, nan, notCaptured, finite, zero, notCaptured]);
    expect(map.keys.drift[3]).toBeCloseTo(0.2, 12);
    expect(cacheMapFigure(map, light).svg).toContain('K, by head');
  });

  test('of 3,000 positions is drawn in no more columns than pixels, each position in one', async () => {
    const size = 3000;
    const states = new Uint8Array(size).fill(finite);
    states[1501] = nan;
    const panel = { rows: [{ layer: 0, head: null }], states, drift: new Float64Array(size).fill(u) };
    const map = present(await cacheMapData(runOf([named('a', 'ort', hooks)])));
    const { panels, svg } = cacheMapFigure(
      { ...map, promptLength: 0, positions: size, keys: panel, values: panel },
      light,
    );
    const { columns } = panels.keys;
    expect(columns.length).toBeLessThan(340);
    expect(columns[0].first).toBe(0);
    expect(columns.at(-1)?.last).toBe(size - 1);
    expect(columns.slice(1).map(({ first }) => first)).toEqual(columns.slice(0, -1).map(({ last }) => last + 1));
    expect(svg).toContain('>NaN<');
    expect(svg).not.toContain('by construction');
  });

  test('names the command that saves it where it was not captured', async () => {
    expect(await cacheMapData(runOf([named('a', 'ort', [embed([0])])]))).toEqual({
      missing: 'layers.arrow has no keys and values of a.',
      command: "kvlens diverge MODEL --hooks '*.attn.hook_rot_k,*.attn.hook_v' --save-activations --out FOLDER",
    });
  });
});
