/** Heat maps of two prompts: where a cell stands, what its character says, and which tokens stand under it. */
import { describe, expect, test } from 'vitest';
import type { CleanCorruptedFindings } from '../../src/patching/clean-corrupted/run.ts';
import type { CleanCorruptedRow } from '../../src/patching/sweep/clean-corrupted.ts';
import { bestCell, cellName, heatMaps } from '../../src/report/clean-corrupted.ts';
import { heatMapLines } from '../../src/report/terminal/heat-map.ts';
import { displayWidth, toAscii } from '../../src/report/terminal/layout.ts';

type Axes = CleanCorruptedFindings['grids'][number]['axes'];
const axis = (name: Axes[number]['name'], size: number): Axes[number] => ({
  name,
  labels: Array.from({ length: size }, (_, i) => String(i)),
});

function row(metric_recovery: number | null, changes: Partial<CleanCorruptedRow> = {}): CleanCorruptedRow {
  return {
    ...{ condition: '', prompt: 'corrupted', spec: 's', step: 0, horizon: 0, position: 2, history: 'recomputed' },
    ...{ kernel: 'prefill', hook: 'h', layer: 0, first_layer: 0, head: null, component: 'value', pos_start: 0 },
    ...{ pos_end: 1, src_pos: null, n_changed: metric_recovery === null ? 0 : 8, distance_base: 1 },
    ...{ distance_patched: 1, kl_base: 1, kl_patched: 1, recovery: 0, recovery_kl: 0, exact: false, vacuous: false },
    ...{ harmful: false, by_construction: false, token_returns: null, token_follows: 0, token_follows_base: 0 },
    ...{ metric: 'logit-diff', metric_clean: 1, metric_corrupted: 0, metric_patched: 0, metric_recovery },
    ...changes,
  };
}

function findings(kind: string, axes: Axes, values: (number | null)[], positions = 3): CleanCorruptedFindings {
  const tokens = Array.from({ length: positions }, (_, i) => ({ clean: `t${i}`, corrupted: `t${i}`, differs: false }));
  tokens[1] = { clean: 'Tom', corrupted: 'Sam', differs: true };
  return {
    ...{ metric: 'logit-diff', clean: 1, corrupted: 0, tokens, differing: [1], pair: null },
    base: { distance: 1, kl: 1, differ: 9, token: 3, metric: 0 },
    grids: [{ kind, axes, rows: values.map((value) => row(value)) }],
    method: {
      ...{ mode: 'batched', reason: null, cells: values.length, vacuous: 0, resumed: values.length, looped: 0 },
      ...{ given: 0, compared: 3, equality: '0 elements differ' },
    },
  };
}

describe('maps', () => {
  test('have layers and heads down and positions across, whatever the order of the axes', () => {
    const values = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6];
    const byPosition = findings('attn.z', [axis('layer', 2), axis('pos', 3), axis('head', 2)], values);
    expect(heatMaps(byPosition)[0]).toEqual({
      ...{ title: 'Output of the head', columns: 'positions', rows: ['L0H0', 'L0H1', 'L1H0', 'L1H1'] },
      values: [
        [0.1, 0.3, 0.5],
        [0.2, 0.4, 0.6],
        [1.1, 1.3, 1.5],
        [1.2, 1.4, 1.6],
      ],
    });
    const byHead = findings('attn.pattern', [axis('layer', 2), axis('head', 2), axis('dest_pos', 3)], values);
    expect(heatMaps(byHead)[0].values[1]).toEqual([0.4, 0.5, 0.6]);
  });

  test('of single entries show the strongest of each row, by size', () => {
    const axes = [axis('layer', 1), axis('head', 1), axis('dest_pos', 2), axis('src_pos', 2)];
    const [map] = heatMaps(findings('attn.pattern', axes, [0.1, -0.4, null, null]));
    expect(map).toMatchObject({ values: [[-0.4, null]], title: 'Attention pattern, the strongest entry of each row' });
  });

  test('without positions have heads across', () => {
    const [map] = heatMaps(findings('attn.k', [axis('layer', 2), axis('kv_head', 2)], [0, 1, 2, 3]));
    expect(map).toMatchObject({
      columns: 'heads',
      rows: ['L0', 'L1'],
      values: [
        [0, 1],
        [2, 3],
      ],
    });
  });
});

describe('characters', () => {
  const axes = (layers: number, positions: number) => [axis('layer', layers), axis('pos', positions)];
  const lines = (values: (number | null)[], layers: number, positions: number, columns = 80) => {
    const found = findings('attn_out', axes(layers, positions), values, positions);
    return heatMapLines(heatMaps(found), found, columns)[0];
  };

  test('bars say how much, shades that it is below 0, a dot exactly 0, a blank next to nothing', () => {
    const values = [null, 0, 0.009, 0.01, 0.125, 0.126, 0.875, 0.876, 1, 1.7, -0.009, -0.25, -0.26, -0.76, Number.NaN];
    const found = lines(values, 1, 15);
    expect(found[1].slice(6)).toBe(
      [...'·· ▁▁▂▇███ ░▒▓×']
        .map((glyph) => glyph.repeat(4))
        .join('')
        .concat('  NaN at 14'),
    );
    expect(toAscii(found[1])).not.toMatch(/[^ -~]/);
  });

  test('tokens that differ are named, and others that matter where there is room', () => {
    const values = Array.from({ length: 60 }, (_, i) => (i === 40 ? 0.9 : i === 41 ? 0.5 : i === 20 ? 0.04 : 0));
    const [, map, marks, labels] = lines(values, 1, 60);
    expect(map).toBe(`  L0  ${'·'.repeat(20)}▁${'·'.repeat(19)}█▄${'·'.repeat(18)}  0.90 at 40`);
    expect(marks.trimEnd()).toBe(`      ${' '.repeat(1)}^${' '.repeat(38)}^`);
    expect(labels.trimEnd()).toBe(`      ${' '.repeat(1)}Sam${' '.repeat(36)}t40`);
  });

  test('many positions share columns, many rows leave the weakest out, and every line fits', () => {
    const values = Array.from({ length: 40 * 150 }, (_, i) => Math.sin(i * i) * (Math.floor(i / 150) / 40));
    const found = lines(values, 40, 150);
    for (const line of found) expect(displayWidth(line)).toBeLessThanOrEqual(80);
    expect(found.filter((line) => /^ {2}L\d/.test(line))).toHaveLength(24);
    expect(found.find((line) => line.includes('…'))).toMatch(/^ {2}… 16 rows more, none beyond ±0\.\d\d$/);
  });
});

test('the best cell is no foregone one, and is said in words', () => {
  const found = findings('attn.k', [axis('layer', 1), axis('kv_head', 3)], [1, 0.4, 0.7]);
  found.grids[0].rows[0] = row(1, { by_construction: true });
  found.grids[0].rows[2] = row(0.7, { component: 'k', head: 2, layer: 5, pos_start: 1, pos_end: 2 });
  const best = bestCell(found)!;
  expect(cellName(best.kind, best.row, found)).toBe('keys of block 5, K/V head 2 at 1:Sam');
  expect(bestCell(found, () => false)).toBeNull();
});
