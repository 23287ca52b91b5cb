/** The whole file of a report: its policy, its parts, what it says of validity, gates and scope. */
import { createHash } from 'node:crypto';
import { beforeAll, describe, expect, test } from 'vitest';
import type { RunGate } from '../../../src/report/data/gates.ts';
import { openRunFolder } from '../../../src/report/data/run-folder.ts';
import type { RunTables } from '../../../src/report/data/run-tables.ts';
import { bodyHtml, figureHtml, pageTitle } from '../../../src/report/page/body.ts';
import { documentHtml } from '../../../src/report/page/document.ts';
import { gatesChip, gatesSection } from '../../../src/report/page/gates.ts';
import { scopeOf } from '../../../src/report/page/provenance.ts';
import { type Report, reportOf } from '../../../src/report/page/report.ts';
import { excerptOf } from '../../../src/report/write/excerpt.ts';
import { conditionRow, hostile, stepRow } from '../run-fixture.ts';
import { type GivenRow, mapRows, tablesOfRows } from '../tables-of-rows.ts';

const gate = (name: string, changes: Partial<RunGate> = {}): RunGate => ({
  ...{ name, class: 'harness', passed: true, status: 'passed', measured: '0 differ', required: '0', scope: 's' },
  ...changes,
});
const failed = { passed: false, status: 'failed' } as const;

/** A run of these tables, with its JSON files. */
function runOf(
  tables: Parameters<typeof tablesOfRows>[0],
  { gates = [gate('null')], identity = {} }: { gates?: RunGate[]; identity?: object } = {},
): RunTables {
  const manifest = { schemaVersion: 1, identity: { command: 'diverge', ...identity }, provenance: { rows: {} } };
  const files: Record<string, unknown> = { manifest, controls: { gates } };
  return { ...tablesOfRows(tables), json: async (name) => files[name] ?? null };
}

const small = (conditions: GivenRow[] = [conditionRow('c')]) => ({
  conditions,
  prompts: [{ prompt: 'p', index: 0, tokens: [1], model: 'tiny' }],
  steps: conditions.flatMap(({ condition }) => [1, 2].map((step) => stepRow(String(condition), 'p', step))),
});
const seen = (markup: unknown) =>
  String(markup)
    .replaceAll(/<[^>]*>/g, '')
    .replaceAll(/&#(\d+);/g, (_, code) => String.fromCodePoint(Number(code)));

let drift: Report;
beforeAll(async () => {
  drift = await reportOf(openRunFolder('notebooks/runs/drift'));
});

describe('the policy', () => {
  const script = 'console.log("ä </ script> – " + `x`)\n';
  const parts = (page: string) => {
    const scripts = [...page.matchAll(/<script>([\s\S]*?)<\/script>/g)].map(([, text]) => text);
    const content = /http-equiv="Content-Security-Policy" content="([^"]*)"/.exec(page)?.[1] ?? '';
    const policy = content.replaceAll(/&#(\d+);/g, (_, code) => String.fromCodePoint(Number(code)));
    const directives = new Map(policy.split('; ').map((each) => [each.split(' ')[0], each.split(' ').slice(1)]));
    return { scripts, directives, place: page.indexOf('http-equiv') };
  };

  test('names the digests of the two scripts as they stand in the file, and allows no other', () => {
    const page = documentHtml(drift, { script, excerpt: 'QUJD' });
    const { scripts, directives, place } = parts(page);
    expect(scripts).toHaveLength(2);
    expect(scripts[1]).toBe(script);
    const digests = scripts.map((text) => `'sha256-${createHash('sha256').update(text, 'utf8').digest('base64')}'`);
    expect(directives.get('script-src')).toEqual(digests);
    // Before the first script, or it would not hold for it.
    expect(place).toBeLessThan(page.indexOf('<script'));
  });

  test('lets nothing in and nothing out; a served page may ask its own server', () => {
    const [alone, served] = ['QUJD', null].map((excerpt) => parts(documentHtml(drift, { script, excerpt })).directives);
    for (const directives of [alone, served]) {
      expect(directives.get('default-src')).toEqual(["'none'"]);
      expect(directives.get('base-uri')).toEqual(["'none'"]);
      expect(directives.get('form-action')).toEqual(["'none'"]);
      expect([...directives.values()].flat().join(' ')).not.toMatch(/\*|https?:|unsafe-eval/);
    }
    expect(alone.get('connect-src')).toEqual(["'none'"]);
    expect(served.get('connect-src')).toEqual(["'self'"]);
  });

  test('the file loads nothing: no source, no style sheet, no address but within itself', () => {
    const page = documentHtml(drift, { script: '', excerpt: null });
    for (const [, target] of page.matchAll(/\b(?:src|href|xlink:href|action)="([^"]*)"/g))
      expect(target).toMatch(/^(#|data:image\/png;base64,)/);
    expect(page).not.toMatch(/<(link|iframe|object|embed|base)\b|@import|url\((?!#|['"]?data:)/);
  });
});

test('data cannot end the excerpt, nor open another element', async () => {
  const attack = '</script><script>alert(1)</script><!--';
  const tables = { ...small(), vocab: [{ id: 7, string: attack, model: 'tiny' }] };
  const run = { ...runOf(tables, { identity: { model: attack } }), name: attack };
  const excerpt = await excerptOf(run);
  expect(excerpt).toMatch(/^[A-Za-z0-9+/]+=*$/);
  const page = documentHtml(await reportOf(run), { script: '0', excerpt });
  const embedded = /<script type="application\/octet-stream" id="excerpt">([^<]*)<\/script>/.exec(page);
  expect(embedded?.[1]).toBe(excerpt);
  expect(page.match(/<script/g)).toHaveLength(3);
  expect(page.match(/<\/script/g)).toHaveLength(3);
  expect(page).not.toContain('<!--');
});

describe('a report that is not valid', () => {
  const report = async (gates: RunGate[]) => reportOf(runOf(mapTables(), { gates }));
  const mapTables = () => mapRows([{ hook: 'logits', kind: 'logits', layer: 1, rel: [0, 0.1] }]);

  test('says so first, has no card, and greys its figures', async () => {
    const page = documentHtml(await report([gate('canary', failed)]), { script: '', excerpt: null });
    expect(page).toContain('<main class="not-evidence">');
    expect(seen(/<h1>.*<\/h1>/.exec(page)?.[0])).toBe('Not valid. Gate canary failed: no number below is evidence.');
    expect(page).not.toContain('class="card');
    // The figure is there, so that the cause can be looked for.
    expect(page).toMatch(/id="drift-map" [^>]*><div class="title">/);
    const style = /<style>([\s\S]*?)<\/style>/.exec(page)?.[1] ?? '';
    expect(style).toMatch(/\.not-evidence \.figures\{[^}]*filter:grayscale\(1\)/);
    expect(style).toMatch(/\.not-evidence \.title::before\{content:'not evidence: '/);
  });

  test('is not greyed where the gates held', async () => {
    expect(String(bodyHtml(await report([gate('canary')])))).toContain('<main class="valid">');
  });
});

describe('the scope', () => {
  const scope = async (conditions: GivenRow[], identity = {}) =>
    seen(scopeOf(await reportOf(runOf(small(conditions), { identity }))));

  test('never hides the CPU, the brackets and what u is', async () => {
    for (const text of [await scope([conditionRow('c')]), seen(scopeOf(drift))]) {
      expect(text).toContain(
        'Measured on a CPU: half precision is storage with per-operation rounding and fp32 accumulation',
      );
      expect(text).toContain('not a GPU’s native figures');
      expect(text).toContain('Brackets are 95 % intervals');
      expect(text).toContain('one rounding of the storage type');
    }
  });

  test('stands on the page outside anything that folds, and is not hidden', () => {
    const page = String(bodyHtml(drift));
    const before = page.slice(0, page.indexOf('<p class="scope">'));
    expect(before).not.toMatch(/<details|hidden/);
    expect(page.indexOf('<p class="scope">')).toBeLessThan(page.indexOf('<section'));
  });

  test('says which conditions the answer is of, and how many prompts', async () => {
    expect(await scope([conditionRow('c')])).toMatch(/^tiny, greedy: up to 1 prompt each\. Measured/);
    const two = [conditionRow('c'), conditionRow('d', { precision: 'bf16' })];
    expect(await scope(two)).toContain('The answer is of 1 of 2 conditions.');
    expect(await scope([conditionRow('c'), conditionRow('d', { model: 'other' })])).toMatch(/^tiny, other, greedy: up/);
  });

  test('names emulated kernels where there are some, and a planted fault first', async () => {
    const emulated = '; GPU-like kernels are emulated in the graph';
    expect(await scope([conditionRow('c', { kernels: 'split-k:8:storage' })])).toContain(emulated);
    for (const kernels of ['ort', 'ort-unpacked'])
      expect(await scope([conditionRow('c', { kernels })])).not.toContain('emulated');
    const planted = await scope([conditionRow('c')], { plantedFaults: [{}] });
    expect(planted).toMatch(/^A fault was planted in the cached arm: this is a test of the instrument\. /);
  });
});

describe('the gates', () => {
  const open = { status: 'not-applicable' } as const;
  test.each<[RunGate[], string, string]>([
    [[], 'open', '○ no gates in this run'],
    [[gate('a'), gate('b')], 'ok', '✓ 2 of 2 gates held'],
    [[gate('a'), gate('b', open)], 'ok', '✓ 1 of 2 gates held, 1 not run'],
    [[gate('a'), gate('b', failed), gate('c', open)], 'bad', '✗ 1 of 3 gates failed'],
    [[gate('a', { ...failed, class: 'identification' })], 'bad', '✗ 1 of 1 gates failed'],
  ])('chip %#', (gates, look, said) => {
    expect(seen(gatesChip(gates))).toBe(said);
    expect(String(gatesChip(gates))).toContain(`class="${look}"`);
  });

  test('are a row each: what it proves, measured beside required, and a word beside the mark', () => {
    const table = String(
      gatesSection([gate('canary', { measured: '3 & 4', required: '< 1', ...failed }), gate('x', open)], 7),
    );
    const rows = [...table.matchAll(/<tr>(.*?)<\/tr>/g)].map(([, row]) =>
      [...row.matchAll(/<t[hd][^>]*>(.*?)<\/t[hd]>/g)].map(([, cell]) => seen(cell)),
    );
    expect(rows[0].at(-1)).toBe('result');
    expect(rows[1]).toEqual(['canary', expect.stringContaining('really rounds'), '3 & 4', '< 1', '✗ failed']);
    expect(rows[2]).toEqual(['x', '', '0 differ', '0', '○ not run']);
    expect(table).toContain('<span class="number">7</span>');
  });

  test('of a study are a table for each group; a group that failed is open', () => {
    const gates = [
      ...[gate('a', { group: 'm/fp16/ort' }), gate('b', { group: 'm/fp16/ort' })],
      ...[gate('a', { group: 'm/bf16/ort' }), gate('a', { group: hostile, ...failed })],
    ];
    const section = String(gatesSection(gates, 1));
    const groups = [...section.matchAll(/<details( open)?><summary>(.*?)<\/summary>/g)].map(([, open, text]) => [
      open === ' open',
      seen(text),
    ]);
    expect(groups.slice(0, 2)).toEqual([
      [true, 'm/fp16/ort ✓ 2 held'],
      [false, 'm/bf16/ort ✓ 1 held'],
    ]);
    expect(groups[2][0]).toBe(true);
    expect(groups[2][1]).toContain('✗ 1 failed');
    expect(section).not.toContain('<script');
  });

  test('that are not there are said to be missing', () => {
    expect(seen(gatesSection([], 1))).toContain('No controls.json in this run.');
  });
});

test('what a figure has no rows for is one line with the command, in a section of its own behind what is drawn', () => {
  const missing = { missing: 'No <patches>.', command: 'kvlens patch' };
  const made = String(figureHtml({ name: 'two-by-two', width: 'whole', figure: missing, content: null }));
  expect(made).toContain(
    '<div class="title">History × kernel</div><p>No &#60;patches&#62;. <code>kvlens patch</code></p>',
  );
  const page = String(bodyHtml(drift));
  const sections = page.split('<section ').slice(1);
  const last = sections.pop() ?? '';
  expect(last).toMatch(/^id="missing"/);
  for (const section of sections) expect(section).not.toMatch(/<figure [^>]*class="[^"]*missing/);
  // Of a question that the run answers in part too.
  expect(sections.some((section) => section.startsWith('id="text"'))).toBe(true);
  expect(seen(/<h3>When does it reach the text\?<\/h3>.*/.exec(last)?.[0])).toContain('Predicted and observed flips');
  const drawn = drift.sections.flatMap(({ figures }) => figures.map(({ name }) => name));
  for (const name of drawn) expect(page.match(new RegExp(`<figure id="${name}"`, 'g'))).toHaveLength(1);
});

test('a run without gates says in its lede that nothing vouches for it', async () => {
  const lede = (report: Report) => seen(/<p class="lede">.*<\/p>/.exec(String(bodyHtml(report)))?.[0]);
  expect(lede(await reportOf(runOf(small(), { gates: [] })))).toMatch(/No gates: nothing vouches for these numbers\.$/);
  expect(lede(await reportOf(runOf(small())))).not.toContain('No gates');
});

test('every link of the bar and the cards leads to something on the page', () => {
  const page = String(bodyHtml(drift));
  const targets = [...page.matchAll(/href="#([^"]*)"/g)].map(([, id]) => id);
  expect(targets).toHaveLength(6);
  for (const id of targets) expect(page).toContain(` id="${id}"`);
});

test('ids are there once, and sections are numbered', async () => {
  const page = String(bodyHtml(await reportOf(openRunFolder('notebooks/runs/study'))));
  const ids = [...page.replaceAll(/<svg[\s\S]*?<\/svg>/g, '').matchAll(/ id="([^"]*)"/g)].map(([, id]) => id);
  expect(ids).toEqual([...new Set(ids)]);
  const numbers = [...page.matchAll(/<span class="number">(\d+)<\/span>/g)].map(([, n]) => Number(n));
  expect(numbers).toEqual(numbers.map((_, i) => i + 1));
});

test('the title says model, precision and kernels, as text', async () => {
  expect(pageTitle(drift)).toBe('kvlens report – mini-gemma2 – fp16 · ort, 1 prompt');
  const run = runOf(small([conditionRow('c', { model: hostile })]));
  expect(documentHtml(await reportOf(run), { script: '', excerpt: null })).not.toContain(hostile);
});

describe('the setting that is answered for', () => {
  const conditions = [
    conditionRow('a'),
    conditionRow('b', { precision: 'bf16' }),
    conditionRow('d', { strategy: 't1.0' }),
  ];
  test('is the first’s, with all conditions that share it', async () => {
    const report = await reportOf(runOf(small(conditions)));
    expect(report.answered.map(({ condition }) => condition)).toEqual(['a', 'd']);
    expect(report.answer.head).toBe('Yes. With the cache not one bit differs under fp16 · ort, in 4 steps.');
  });

  test('or that of the condition in focus', async () => {
    const report = await reportOf(runOf(small(conditions)), { condition: 'b' });
    expect(report.answer.head).toBe('Yes. With the cache not one bit differs under bf16 · ort, in 2 steps.');
    expect(
      (await reportOf(runOf(small(conditions)), { condition: 'd' })).answered.map(({ condition }) => condition),
    ).toEqual(['d', 'a']);
  });
});
