/** The page in a browser: it loads from the disk alone, reads as it should, and shows what is in files as text. */
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Table, tableToIPC } from 'apache-arrow';
import type { Page } from 'playwright-core';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { Columns } from '../../../src/report/data/columns.ts';
import { firstOperationData } from '../../../src/report/data/first-operation.ts';
import { openRunFolder } from '../../../src/report/data/run-folder.ts';
import { type TokenFlow, tokenFlowData } from '../../../src/report/data/token-flow.ts';
import { shownToken } from '../../../src/report/figures/token-flow-words.ts';
import { documentHtml } from '../../../src/report/page/document.ts';
import { reportOf } from '../../../src/report/page/report.ts';
import { formatCount } from '../../../src/report/terminal/numbers.ts';
import { clientScript, writeReport } from '../../../src/report/write/report-file.ts';
import { serveRun } from '../../../src/report/write/server.ts';
import { ensureBuilt } from '../../cli/kvlens.ts';
import { temporaryFolder } from '../../store/folder.ts';
import { conditionRow, present } from '../run-fixture.ts';
import { mapRows, tablesOfRows } from '../tables-of-rows.ts';
import { chromiumPath, openPage } from './browser.ts';

const drift = 'notebooks/runs/drift';
const folder = temporaryFolder();
const address = pathToFileURL(join(folder, 'report.html')).href;

beforeAll(async () => {
  ensureBuilt();
  await writeReport(openRunFolder(drift), join(folder, 'report.html'));
});

/** Scroll a figure into view and give the place of a cell of its map, by shares of the drawing. */
async function placeOf(page: Page, x: number, y: number) {
  await page.evaluate(`document.querySelector('#drift-map .drawing').scrollIntoView({ behavior: 'instant' })`);
  const box = await page.locator('#drift-map .drawing svg').boundingBox();
  if (!box) throw new Error('no map');
  // A click has whole pixels, a move has not.
  return { x: Math.round(box.x + box.width * x), y: Math.round(box.y + box.height * y) };
}

/** Values of one row of layers.arrow, read without the page. */
async function rowOf(step: number, hook: string) {
  for await (const batch of openRunFolder(drift).batches('layers')) {
    const columns = new Columns('layers', batch);
    const [ofStep, ofHook] = [columns.required('step'), columns.texts('hook')];
    const [differ, elements, ulp] = ['n_differ', 'n_elements', 'max_ulp'].map((name) => columns.required(name));
    for (let row = 0; row < batch.numRows; row++)
      if (ofStep(row) === step && ofHook(row) === hook)
        return { differ: differ(row), elements: elements(row), ulp: ulp(row) };
  }
  throw new Error(`no row of ${hook} at step ${step}`);
}

const facts = (page: Page, figure = 'drift-map') => page.locator(`#${figure} .readout`).innerText();

describe.skipIf(chromiumPath === null)('the page', () => {
  test.each(['light', 'dark'] as const)(
    'loads from the disk without a request, and every figure is drawn (%s)',
    async (theme) => {
      const { page, problems, requests } = await openPage(address, { theme });
      expect(problems).toEqual([]);
      expect(requests.filter((each) => !each.startsWith('data:'))).toEqual([address]);
      const drawn = await page.locator('figure[data-figure]:not(.missing)').evaluateAll((figures) =>
        figures.map((figure) => {
          const box = figure.querySelector('.drawing svg, .kvl-flow')?.getBoundingClientRect();
          return { name: figure.id, visible: (box?.width ?? 0) > 100 && (box?.height ?? 0) > 40 };
        }),
      );
      const expected = [
        'drift-map',
        'first-operation',
        'inherited-added',
        'margin-drift',
        'survival',
        'token-flow',
        'oracle',
      ];
      expect(drawn.map(({ name }) => name)).toEqual(expect.arrayContaining(expected));
      expect(drawn.filter(({ visible }) => !visible)).toEqual([]);
      const background = await page.evaluate('getComputedStyle(document.body).backgroundColor');
      expect(background).toBe(theme === 'light' ? 'rgb(253, 253, 251)' : 'rgb(19, 22, 25)');
      // Pixels are drawn for both themes, and shown for one.
      const [own, other] = theme === 'light' ? ['light', 'dark'] : ['dark', 'light'];
      expect(await page.locator(`#drift-map .kvl-${own}:visible`).count()).toBeGreaterThan(0);
      expect(await page.locator(`#drift-map .kvl-${other}:visible`).count()).toBe(0);
      const kept = process.env.KVLENS_SCREENSHOTS;
      if (kept) await page.screenshot({ path: join(kept, `report-${theme}.png`), fullPage: true });
    },
  );

  test('hover reads the value of the row it names, a click locks it, Escape frees it', async () => {
    const { page, problems } = await openPage(address);
    const place = await placeOf(page, 0.8, 0.5);
    await page.mouse.move(place.x, place.y);
    const text = await facts(page);
    const [, step, hook] = /step = (\d+), hook = (\S+)/.exec(text) ?? [];
    const row = await rowOf(Number(step), hook);
    expect(row.differ).toBeGreaterThan(0);
    expect(text).toContain(`${formatCount(row.differ)} of ${formatCount(row.elements)} elements`);
    expect(text).toContain(`max ulp ${formatCount(row.ulp)}`);
    await page.mouse.click(place.x, place.y);
    const other = await placeOf(page, 0.3, 0.3);
    await page.mouse.move(other.x, other.y);
    expect(await facts(page)).toBe(text);
    await page.keyboard.press('Escape');
    expect(await facts(page)).toBe('');
    await page.mouse.move(other.x + 1, other.y);
    expect(await facts(page)).not.toBe('');
    expect(problems).toEqual([]);
  });

  test('the keyboard moves the cursor cell by cell, and the address keeps it', async () => {
    const { page } = await openPage(address);
    await page.locator('#drift-map .drawing').focus();
    await page.keyboard.press('End');
    const last = /step = (\d+)/.exec(await facts(page))?.[1];
    expect(Number(last)).toBe(56);
    await page.keyboard.press('ArrowLeft');
    await page.keyboard.press('ArrowUp');
    const text = await facts(page);
    expect(text).toContain('step = 55, hook = ln_final.hook_normalized');
    const again = await openPage(page.url());
    expect(await facts(again.page)).toBe(text);
    await page.keyboard.press('Home');
    expect(await facts(page)).toContain('step = 1,');
  });

  test('a page that is opened again at its address has every figure readable, as before', async () => {
    const readable = (page: Page) =>
      page
        .locator('figure[data-figure] details.rows')
        .evaluateAll((tables) => tables.map((each) => each.closest('figure')?.id).sort());
    const { page } = await openPage(address);
    const before = await readable(page);
    expect(before).toEqual(expect.arrayContaining(['inherited-added', 'margin-drift', 'oracle', 'survival']));
    await page.locator('#drift-map .drawing').focus();
    await page.keyboard.press('End');
    expect(page.url()).toContain('prompt=');
    const again = await openPage(page.url());
    expect(await readable(again.page)).toEqual(before);
    await again.page.locator('#margin-drift .drawing').focus();
    await again.page.keyboard.press('ArrowRight');
    expect(await facts(again.page, 'margin-drift')).toContain('margin');
  });

  test('marks of other figures are read by pointer and by arrows, and show the cursor they share', async () => {
    const { page } = await openPage(address);
    await page.locator('#margin-drift .drawing').focus();
    await page.keyboard.press('ArrowRight');
    const text = await facts(page, 'margin-drift');
    expect(text).toMatch(/prompt .*\n?.*step \d+/s);
    const step = /step (\d+)/.exec(text)?.[1];
    await page.locator('#drift-map .drawing').focus();
    await page.keyboard.press('End');
    const shared = await page
      .locator('#margin-drift svg .shared')
      .evaluateAll((marks) => marks.map((mark) => mark.getAttribute('data-step')));
    expect(new Set(shared)).toEqual(new Set(['56']));
    expect(step).toBeDefined();
  });

  test('filters cut the map to layers, steps and hooks, and change what its colour says', async () => {
    const { page, problems } = await openPage(address);
    const subtitle = () => page.locator('#drift-map .subtitle').innerText();
    await page.fill('#explorer input[name=steps]', '30–40');
    await page.press('#explorer input[name=steps]', 'Enter');
    await expect.poll(subtitle).toContain('11 steps');
    await page.fill('#explorer input[name=layers]', '2');
    await page.press('#explorer input[name=layers]', 'Enter');
    await expect.poll(subtitle).toContain('11 steps, 7 rows');
    await page.fill('#explorer input[name=hooks]', 'blocks.*.hook_mlp_out,logits');
    await page.press('#explorer input[name=hooks]', 'Enter');
    await expect.poll(subtitle).toContain('11 steps, 2 rows');
    await page.selectOption('#explorer select[name=measure]', 'bits');
    await expect.poll(subtitle).toContain('share of elements whose bits differ');
    await page.locator('#drift-map details.rows summary').click();
    await expect.poll(() => page.locator('#drift-map details.rows tbody tr').count()).toBe(2);
    expect(problems).toEqual([]);
  });

  test('a filter that is no range says so and changes nothing; the choice of rows is what is drawn', async () => {
    const { page, problems } = await openPage(address);
    const subtitle = () => page.locator('#drift-map .subtitle').innerText();
    const before = await subtitle();
    const said = () => page.evaluate(`document.querySelector('#explorer input[name=steps]').validationMessage`);
    for (const [text, words] of [
      ['garbage', 'write 3–8'],
      ['8-3', '8 is larger than 3'],
    ] as const) {
      await page.fill('#explorer input[name=steps]', text);
      await page.press('#explorer input[name=steps]', 'Enter');
      await expect.poll(said).toContain(words);
      expect(await subtitle()).toBe(before);
    }
    await page.fill('#explorer input[name=steps]', '3-8');
    await page.press('#explorer input[name=steps]', 'Enter');
    await expect.poll(subtitle).toContain('6 steps');
    expect(await said()).toBe('');
    const rows = () => page.locator('#explorer select[name=rows]').inputValue();
    await page.fill('#explorer input[name=hooks]', 'logits');
    await page.press('#explorer input[name=hooks]', 'Enter');
    await expect.poll(subtitle).toContain('1 row');
    expect(await rows()).toBe('all');
    await page.fill('#explorer input[name=hooks]', '');
    await page.press('#explorer input[name=hooks]', 'Enter');
    await expect.poll(subtitle).not.toContain('1 row');
    expect(await rows()).toBe('all');
    await page.selectOption('#explorer select[name=rows]', 'main');
    await expect.poll(subtitle).not.toContain('1 row');
    expect(problems).toEqual([]);
  });

  test('the theme changes by its button and is kept in the address', async () => {
    const { page } = await openPage(address);
    await page.click('#theme');
    expect(await page.evaluate('document.documentElement.dataset.theme')).toBe('dark');
    expect(page.url()).toContain('theme=dark');
    const again = await openPage(page.url());
    expect(await again.page.evaluate('document.documentElement.dataset.theme')).toBe('dark');
  });

  test('a folder that is opened takes the place of the run, or stands beside it', async () => {
    const run = join(temporaryFolder(), 'another');
    mkdirSync(run);
    cpSync('notebooks/runs/study', run, { recursive: true });
    const { page, problems, requests } = await openPage(address);
    const first = await page.locator('h1').innerText();
    await page.click('#compare-with', { noWaitAfter: true });
    await page.setInputFiles('#folder', run);
    await page.waitForSelector('#compare figure');
    const answers = await page.locator('#compare tbody').first().innerText();
    expect(answers).toContain('Same tokens?');
    expect(await page.locator('#compare').innerText()).toContain('another');
    await page.click('#open', { noWaitAfter: true });
    await page.setInputFiles('#folder', run);
    await page.waitForSelector('html[data-opened=another]');
    expect(await page.locator('h1').innerText()).not.toBe(first);
    expect(await page.locator('#verdict-table svg').count()).toBe(1);
    expect(problems).toEqual([]);
    expect(requests.filter((each) => !/^(data|blob):/.test(each))).toEqual([address]);
  });

  test('a folder that holds no run is refused in one line', async () => {
    const { page } = await openPage(address);
    await page.click('#open', { noWaitAfter: true });
    await page.setInputFiles('#folder', 'test/report/figures');
    await expect.poll(() => page.locator('#status').innerText()).toContain('no manifest.json');
  });

  test('text of a run is text: no markup of it acts, and no direction of it turns what stands beside it', async () => {
    const evil = '"><img src=x onerror="window.pwned=1"><script>window.pwned=1</script>';
    const hooks = [
      { hook: `blocks.0.${evil}`, kind: evil, layer: 0, rel: [0, 0.01, 0.02] },
      { hook: 'logits', kind: 'logits', layer: 1, rel: [0, 0.01, 0.02] },
    ];
    const rows = mapRows(hooks, { condition: evil, prompt: `\u202e${evil}` });
    const named = rows.conditions.map((row) => ({ ...row, model: evil, kernels: evil, precision: evil }));
    const vocab = [{ id: 0, string: '</script><script>window.pwned=1</script>', bytes: null, model: evil }];
    const tables = tablesOfRows({ ...rows, conditions: named, vocab });
    const manifest = {
      schemaVersion: 1,
      identity: { command: 'diverge', model: evil },
      provenance: { command: ['kvlens', evil], rows: {} },
    };
    const gates = [
      { name: evil, class: 'harness', passed: true, status: 'passed', measured: evil, required: evil, scope: evil },
    ];
    const run = {
      ...tables,
      name: evil,
      json: async (name: string) => (name === 'manifest' ? manifest : name === 'controls' ? { gates } : null),
    };
    const path = join(temporaryFolder(), 'report.html');
    await writeReport(run, path);
    const { page, problems, requests } = await openPage(pathToFileURL(path).href);
    await page.locator('#drift-map .drawing').focus();
    await page.keyboard.press('End');
    expect(await page.evaluate(`'pwned' in window`)).toBe(false);
    expect(await page.locator('img').count()).toBe(0);
    expect(await page.locator('.command').innerText()).toContain('<script>window.pwned=1</script>');
    expect(await page.locator('#gates tbody th').innerText()).toBe(evil);
    expect(await page.locator('svg text', { hasText: '\u202e' }).count()).toBe(0);
    expect(problems).toEqual([]);
    expect(requests.filter((each) => !each.startsWith('data:'))).toEqual([pathToFileURL(path).href]);
  });

  test('on paper the tools are gone and the figures are whole', async () => {
    const { page } = await openPage(address);
    await page.emulateMedia({ media: 'print' });
    expect(await page.locator('#explorer').isVisible()).toBe(false);
    expect(await page.locator('#tools').isVisible()).toBe(false);
    expect(await page.locator('#drift-map svg').isVisible()).toBe(true);
  });

  test('on a narrow screen the caption of the map is whole, and what scrolls says so', async () => {
    const hint = `getComputedStyle(document.querySelector('#drift-map .subtitle'), '::after').content`;
    const { page } = await openPage(address, { width: 420 });
    const caption = page.locator('#drift-map .caption');
    expect(await caption.innerText()).toMatch(/values are exactly 0\..*No NaN, no Inf\.$/);
    const box = await caption.boundingBox();
    expect((box?.x ?? 0) + (box?.width ?? 1e9)).toBeLessThanOrEqual(420);
    expect(await page.locator('#drift-map svg text', { hasText: 'values are exactly 0' }).count()).toBe(0);
    const scrolls = `(({ scrollWidth, clientWidth }) => scrollWidth > clientWidth)(document.querySelector('#drift-map .drawing'))`;
    expect(await page.evaluate(scrolls)).toBe(true);
    expect(await page.evaluate(hint)).toContain('Scroll the drawing →');
    const wide = await openPage(address, { width: 1280 });
    expect(await wide.page.evaluate(hint)).toBe('none');
  });

  test.each([420, 820, 1280])('at %i px nothing is wider than the window', async (width) => {
    const { page } = await openPage(address, { width });
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(width);
  });
});

/** A run of two prompts under two conditions whose maps differ, in a folder of its own. */
async function severalRun(): Promise<string> {
  const run = join(temporaryFolder(), 'several');
  mkdirSync(run);
  const maps = ['alpha', 'beta'].flatMap((condition, c) =>
    ['first', 'second'].map((prompt, p) =>
      mapRows(
        [
          {
            hook: 'blocks.0.hook_resid_post',
            kind: 'resid_post',
            layer: 0,
            rel: [0, 0, 0, 0].map((_, i) => (i >= 3 - c - p ? 0.01 : 0)),
          },
          { hook: 'logits', kind: 'logits', layer: 1, rel: [0, 0, 0, 0].map((_, i) => (i >= 3 - c - p ? 0.02 : 0)) },
        ],
        { condition, prompt },
      ),
    ),
  );
  await writeRows(run, {
    conditions: ['alpha', 'beta'].map((condition, i) =>
      conditionRow(condition, { model: 'mini', precision: ['fp16', 'bf16'][i] }),
    ),
    prompts: ['first', 'second'].map((prompt, index) => ({ prompt, index, tokens: [1, 2], model: 'mini' })),
    vocab: maps[0].vocab,
    steps: maps.flatMap(({ steps }) => steps),
    layers: maps.flatMap(({ layers }) => layers),
  });
  return run;
}

/** Write tables of made-up rows, as a folder. */
async function writeRows(run: string, rows: Parameters<typeof tablesOfRows>[0]): Promise<void> {
  const given = tablesOfRows(rows);
  for (const table of ['conditions', 'prompts', 'vocab', 'steps', 'layers'] as const) {
    const batches = [];
    for await (const batch of given.batches(table)) batches.push(batch);
    writeFileSync(join(run, `${table}.arrow`), tableToIPC(new Table(batches), 'file'));
  }
  writeFileSync(join(run, 'manifest.json'), JSON.stringify({ schemaVersion: 1, identity: { command: 'diverge' } }));
}

/** Serve a run's page, as `--serve` does. */
async function serve(folderOfRun: string): Promise<string> {
  const run = openRunFolder(folderOfRun);
  const page = documentHtml(await reportOf(run), { script: clientScript(), excerpt: null });
  const served = await serveRun(run, folderOfRun, page);
  onTestFinished(() => served.close());
  return served.url;
}

describe.skipIf(chromiumPath === null)('texts side by side', () => {
  const study = pathToFileURL(join(folder, 'study.html')).href;
  let flow: TokenFlow;
  beforeAll(async () => {
    const run = openRunFolder('notebooks/runs/study');
    await writeReport(run, join(folder, 'study.html'));
    flow = present(await tokenFlowData(run));
  });

  const token = (page: Page, arm: string, step: number) =>
    page.locator(`#token-flow [data-arm=${arm}][data-step="${step}"]`);
  const candidates = (page: Page, arm: string) => page.locator(`#token-flow [data-candidates=${arm}]`);
  /** Ids and texts of the candidates of a step, as the run's folder has them. */
  const rows = (arm: 'cached' | 'uncached', step: number) =>
    (flow.arms[arm][step].candidates ?? []).map(({ token: id, text }) => `${shownToken(text)} #${id}`);
  const shown = async (page: Page, arm: string) =>
    await candidates(page, arm)
      .locator('tr')
      .evaluateAll((found) =>
        found.map(
          (row) => `${row.querySelector('th')?.textContent} ${row.querySelector('td:last-child')?.textContent}`,
        ),
      );

  /** A step behind the flip that has candidates, and the flip. */
  const steps = () => {
    const flip = flow.flip?.step ?? -1;
    const withCandidates = flow.arms.cached.filter(
      ({ step, candidates: found }) => found !== null && step !== flip && flow.arms.uncached[step]?.candidates,
    );
    return { flip, other: withCandidates.at(-1)?.step ?? null };
  };

  test('begin with the candidates of the flip; pointing at a token shows those of its step, of both arms', async () => {
    const { page, problems } = await openPage(study);
    const { flip, other } = steps();
    expect(rows('cached', flip).length).toBeGreaterThan(1);
    expect(await shown(page, 'cached')).toEqual(rows('cached', flip));
    const step = other ?? 0;
    await token(page, 'uncached', step).hover();
    for (const arm of ['cached', 'uncached'] as const) {
      expect(await candidates(page, arm).innerText()).toContain(`${arm}, token ${step}`);
      expect(await shown(page, arm)).toEqual(rows(arm, step));
    }
    expect(await token(page, 'cached', step).getAttribute('class')).toContain('read');
    expect(problems).toEqual([]);
  });

  test('a click keeps what is shown, Escape shows the flip again', async () => {
    const { page } = await openPage(study);
    const { flip } = steps();
    await token(page, 'cached', 2).click();
    await token(page, 'cached', 5).hover();
    expect(await candidates(page, 'cached').innerText()).toContain('cached, token 2');
    await page.keyboard.press('Escape');
    expect(await shown(page, 'uncached')).toEqual(rows('uncached', flip));
    await token(page, 'cached', 6).hover();
    expect(await candidates(page, 'uncached').innerText()).toContain('uncached, token 6');
  });

  test('the keyboard walks along a text and across to the other; one token is in the order of tabs', async () => {
    const { page } = await openPage(study);
    const { flip } = steps();
    const focused = () =>
      page.evaluate(`[document.activeElement.dataset.arm, Number(document.activeElement.dataset.step)]`);
    expect(await page.locator('#token-flow [tabindex="0"][data-step]').count()).toBe(1);
    await token(page, 'uncached', flip).focus();
    await page.keyboard.press('ArrowRight');
    expect(await focused()).toEqual(['uncached', flip + 1]);
    await page.keyboard.press('ArrowDown');
    expect(await focused()).toEqual(['cached', flip + 1]);
    await page.keyboard.press('End');
    expect(await focused()).toEqual(['cached', flow.arms.cached.length - 1]);
    await page.keyboard.press('ArrowRight');
    expect(await focused()).toEqual(['cached', flow.arms.cached.length - 1]);
    await page.keyboard.press('Home');
    expect(await focused()).toEqual(['cached', 0]);
    expect(await candidates(page, 'uncached').innerText()).toContain('uncached, token 0');
    await page.keyboard.press('f');
    expect(await focused()).toEqual(['cached', flip]);
    expect(await page.locator('#token-flow [tabindex="0"][data-step]').count()).toBe(1);
  });
});

describe.skipIf(chromiumPath === null)('a served run', () => {
  test('asks its own server alone, and every prompt of every condition can be chosen', async () => {
    const url = await serve(await severalRun());
    const { page, problems, requests } = await openPage(url);
    const options = await page
      .locator('#explorer select[name=prompt] option')
      .evaluateAll((all) => all.map((each) => each.getAttribute('value')));
    expect(options).toEqual(['', 'first', 'second']);
    expect(await page.locator('#explorer').innerText()).not.toContain('The page brings the rows');
    const subtitle = () => page.locator('#drift-map .subtitle').innerText();
    for (const [prompt, from] of [
      ['first', 4],
      ['second', 3],
    ] as const) {
      await page.selectOption('#explorer select[name=prompt]', prompt);
      await expect.poll(() => page.locator('#first-operation svg').first().innerHTML()).toContain(`step ${from}`);
    }
    await page.fill('#explorer input[name=steps]', '2-3');
    await page.press('#explorer input[name=steps]', 'Enter');
    await expect.poll(subtitle).toContain('2 steps');
    expect(problems).toEqual([]);
    expect(requests.filter((each) => !each.startsWith('data:') && !each.startsWith(url))).toEqual([]);
    expect(requests.some((each) => each === `${url}run/layers.arrow`)).toBe(true);
    // What the map is asked for meanwhile keeps no other figure waiting.
    await expect.poll(() => page.locator('.waiting').count()).toBe(0);
  });

  test('1–9 choose a condition among the thumbnails, as a click on one does', async () => {
    const { page, problems } = await openPage(await serve(await severalRun()));
    const title = () => page.locator('#drift-map .subtitle').innerText();
    const panels = page.locator('#thumbnails .thumbnail');
    await expect.poll(() => panels.count()).toBe(2);
    expect(await title()).toContain('fp16');
    await page.locator('#drift-map .drawing').focus();
    await page.keyboard.press('2');
    await expect.poll(title).toContain('bf16');
    expect(page.url()).toContain('condition=beta');
    expect(await page.locator('#explorer select[name=condition]').inputValue()).toBe('beta');
    await expect.poll(() => page.locator('.waiting').count()).toBe(0);
    await page.locator('#thumbnails .thumbnail[data-condition=alpha]').click();
    await expect.poll(title).toContain('fp16');
    // The keyboard reads of each what stands in it.
    await page.locator('#thumbnails .drawing').focus();
    await page.keyboard.press('End');
    expect(await facts(page, 'thumbnails')).toMatch(/condition beta\s[\s\S]*\d+ \/ 4 steps exactly 0/);
    // A digit in a field is a digit.
    await page.locator('#explorer input[name=steps]').press('2');
    expect(await page.locator('#explorer input[name=steps]').inputValue()).toBe('2');
    expect(await page.evaluate('location.hash')).toContain('condition=alpha');
    expect(problems).toEqual([]);
  });

  test('another condition keeps the cursor at its step and hook, and so does its address', async () => {
    const { page } = await openPage(await serve(await severalRun()));
    const subtitle = () => page.locator('#drift-map .subtitle').innerText();
    await page.locator('#drift-map .drawing').focus();
    await page.keyboard.press('End');
    await page.keyboard.press('ArrowLeft');
    await page.keyboard.press('ArrowUp');
    const [, step, hook] = /step = (\d+), hook = (\S+)/.exec(await facts(page)) ?? [];
    expect([step, hook]).toEqual(['3', 'blocks.0.hook_resid_post']);
    await page.keyboard.press('2');
    await expect.poll(subtitle).toContain('bf16');
    await expect.poll(() => facts(page)).toContain('condition = beta');
    expect(await facts(page)).toContain(`step = ${step}, hook = ${hook}`);
    expect(page.url()).toMatch(/step=3.*hook=blocks\.0\.hook_resid_post|hook=blocks\.0\.hook_resid_post.*step=3/);
    await expect.poll(() => page.locator('.waiting').count()).toBe(0);
    // A step that the new map has not is no place for a cursor.
    await page.fill('#explorer input[name=steps]', '1');
    await page.press('#explorer input[name=steps]', 'Enter');
    await expect.poll(subtitle).toContain('1 step');
    await expect.poll(() => page.url()).not.toContain('step=');
  });

  test('keys choose of the run that was opened last, not of the one before it', async () => {
    const { page, problems } = await openPage(address);
    const run = await severalRun();
    await page.click('#open', { noWaitAfter: true });
    await page.setInputFiles('#folder', run);
    await page.waitForSelector('html[data-opened=several]');
    await page.locator('#drift-map .drawing').focus();
    await page.keyboard.press('1');
    await expect.poll(() => page.url()).toContain('condition=');
    await page.keyboard.press('2');
    await expect.poll(() => page.locator('#drift-map .subtitle').innerText()).toContain('bf16');
    await expect.poll(() => page.locator('.waiting').count()).toBe(0);
    expect(await page.locator('#drift-map .subtitle').innerText()).toContain('bf16');
    expect(await page.locator('#drift-map .readout').innerText()).toBe('');
    expect(problems).toEqual([]);
  });
});

describe.skipIf(chromiumPath === null)('what a figure shows', () => {
  test('is there as a table: a row for each mark, with the numbers of the run', async () => {
    const { page, problems } = await openPage(address);
    await page.locator('#first-operation details.rows summary').click();
    await page.waitForSelector('#first-operation details.rows tbody tr');
    const cells = await page
      .locator('#first-operation details.rows tbody tr')
      .evaluateAll((rows) => rows.map((row) => [...row.querySelectorAll('td')].map((cell) => cell.textContent ?? '')));
    const head = await page.locator('#first-operation details.rows thead th').allInnerTexts();
    expect(head).toEqual(expect.arrayContaining(['hook', 'elements', 'differ', 'rel. L2']));
    const [hook, differ, elements] = ['hook', 'differ', 'elements'].map((name) => head.indexOf(name));
    const first = present(await firstOperationData(openRunFolder(drift)))[0];
    expect(cells).toHaveLength(first.operations.length);
    expect(cells.map((row) => [row[hook], Number(row[differ]), Number(row[elements])])).toEqual(
      first.operations.map((each) => [each.hook, each.differ, each.elements]),
    );
    expect(problems).toEqual([]);
  });

  test.each([
    ['two-by-two', 'two-by-two', ['distance', 'recovery R', 'patches.arrow: condition = ', 'history = cached']],
    ['two-by-two', 'recovery', ['steps after', 'recovery R', 'patches.arrow: condition = ', 'horizon = 0']],
    ['study', 'verdict-table', ['claim', 'verdict', 'verdicts.json: claim = C1, part = overall']],
  ])('of the run %s, %s is read by pointer, by keys and as a table, with the row to query', async (run, name, said) => {
    const path = join(temporaryFolder(), 'report.html');
    await writeReport(openRunFolder(`notebooks/runs/${run}`), path);
    const { page, problems } = await openPage(pathToFileURL(path).href);
    const marks = page.locator(`#${name} .drawing svg rect[pointer-events=all]`);
    await page.locator(`#${name} .drawing`).focus();
    await page.keyboard.press('Home');
    const first = await facts(page, name);
    for (const words of said) expect(first).toContain(words);
    await page.keyboard.press('Escape');
    await marks.first().hover();
    expect(await facts(page, name)).toBe(first);
    await page.locator(`#${name} details.rows summary`).click();
    await expect.poll(() => page.locator(`#${name} details.rows tbody tr`).count()).toBe(await marks.count());
    expect(problems).toEqual([]);
  });

  test.each(['study', 'activations'])(
    'of the run %s is read at each stop of the tab key, and at no other drawing',
    async (run) => {
      const path = join(temporaryFolder(), 'report.html');
      await writeReport(openRunFolder(`notebooks/runs/${run}`), path);
      const { page, problems } = await openPage(pathToFileURL(path).href);
      const drawings = page.locator('figure[data-figure] .drawing');
      const count = await drawings.count();
      expect(count).toBeGreaterThan(3);
      for (let i = 0; i < count; i++) {
        const drawing = drawings.nth(i);
        if ((await drawing.getAttribute('tabindex')) !== '0') {
          expect(await drawing.locator('[data-condition], [data-step], [data-value]').count()).toBe(0);
          continue;
        }
        await drawing.focus();
        await page.keyboard.press('ArrowRight');
        const read = await drawing.evaluate(
          (element) => element.parentElement?.querySelector('.readout')?.textContent ?? '',
        );
        expect(read).not.toBe('');
      }
      expect(problems).toEqual([]);
    },
  );

  test('of the cache is a row for each layer of keys and of values, read by keys and by pointer', async () => {
    const hooks = ['rot_k', 'v'].flatMap((name) =>
      [0, 1].map((layer) => ({
        ...{ hook: `blocks.${layer}.attn.hook_${name}`, kind: `attn.${name}`, layer, rel: [0, 0.25 * layer, 0] },
      })),
    );
    const path = join(temporaryFolder(), 'report.html');
    const rows = mapRows(hooks, { condition: 'c', prompt: 'p' });
    const manifest = {
      schemaVersion: 1,
      identity: { command: 'diverge' },
      provenance: { command: ['kvlens'], rows: {} },
    };
    const files: Record<string, unknown> = { manifest };
    await writeReport({ ...tablesOfRows(rows), name: 'cache', json: async (name) => files[name] ?? null }, path);
    const { page, problems } = await openPage(pathToFileURL(path).href);
    await page.locator('#cache-map .drawing').focus();
    await page.keyboard.press('ArrowRight');
    await page.keyboard.press('ArrowRight');
    const text = await facts(page, 'cache-map');
    expect(text).toMatch(
      /part keys\s+hook \S*blocks\.1\.attn\.\S+\s+layer 1\s+exactly 0 2\s+new rows 3\s+largest rel\. L2 0\.25/,
    );
    expect(text).toContain('layers.arrow: hook = blocks.1.attn.');
    await page.keyboard.press('Escape');
    await page.locator('#cache-map [data-new-rows]').nth(1).hover();
    expect(await facts(page, 'cache-map')).toBe(text);
    await page.locator('#cache-map details.rows summary').click();
    await expect.poll(() => page.locator('#cache-map details.rows tbody tr').count()).toBe(4);
    expect(problems).toEqual([]);
  });

  test('of the texts is a table of their tokens', async () => {
    const { page, problems } = await openPage(address);
    const { arms } = present(await tokenFlowData(openRunFolder(drift)));
    await page.locator('#token-flow details.rows summary').click();
    const rows = page.locator('#token-flow details.rows tbody tr');
    await expect.poll(() => rows.count()).toBe(arms.cached.length + arms.uncached.length);
    const [first] = arms.uncached;
    expect(await rows.first().locator('td').allInnerTexts()).toEqual([
      ...['uncached', '0', String(first.token), shownToken(first.text)],
      String(first.again ?? ''),
    ]);
    expect(problems).toEqual([]);
  });

  test('of a map without a step or a row is that there is none, and no key of it is an error', async () => {
    const { page, problems } = await openPage(address);
    await page.fill('#explorer input[name=steps]', '900');
    await page.press('#explorer input[name=steps]', 'Enter');
    await expect.poll(() => page.locator('#drift-map svg').innerHTML()).toContain('No hook of this selection');
    await page.locator('#drift-map .drawing').focus();
    for (const key of ['ArrowRight', 'End', 'Enter', 'f', 'Escape']) await page.keyboard.press(key);
    await page.locator('#drift-map details.rows summary').click();
    await expect.poll(() => page.locator('#drift-map details.rows .scroll').innerText()).toContain('No step');
    await page.fill('#explorer input[name=steps]', '');
    await page.fill('#explorer input[name=hooks]', 'none');
    await page.press('#explorer input[name=hooks]', 'Enter');
    await page.locator('#drift-map .drawing').focus();
    await page.keyboard.press('ArrowUp');
    expect(problems).toEqual([]);
  });
});
