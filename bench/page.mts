/**
 * How fast the report's page is, in a headless Chromium: `npx tsx bench/page.mts [RUN …]`. A map of 10 layers × 200 steps is made up
 * and drawn anew by changing what its colour says; the time runs from the reader's choice to the frame that shows it, data included.
 * Of each RUN its report.html is opened (kvlens report RUN writes it), until its tools answer. Needs the built package.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type Browser, chromium } from 'playwright-core';
import { writeReport } from '../src/report/write/report-file.ts';
import { chromiumPath } from '../test/report/page/chromium.ts';
import { mapRows, tablesOfRows } from '../test/report/tables-of-rows.ts';

const repeats = 7;

if (chromiumPath === null) throw new Error('Chromium not found: set KVLENS_CHROMIUM');
const folder = mkdtempSync(join(tmpdir(), 'kvlens-page-'));
const browser = await chromium.launch({ executablePath: chromiumPath, args: ['--no-sandbox'] });
try {
  const path = join(folder, 'report.html');
  await writeReport(madeUp(10, 200), path);
  print('map of 10 layers × 200 steps drawn anew', await drawings(browser, path));
  for (const run of process.argv.slice(2)) {
    const page = join(resolve(run), 'report.html');
    print(`${run} opened`, await openings(browser, page));
  }
} finally {
  await browser.close();
  rmSync(folder, { recursive: true });
}

function print(what: string, milliseconds: readonly number[]): void {
  const sorted = [...milliseconds].sort((a, b) => a - b);
  const [low, middle, high] = [sorted[0], sorted[Math.floor(sorted.length / 2)], sorted[sorted.length - 1]];
  console.log(`${what}: ${middle.toFixed(0)} ms (${low.toFixed(0)}–${high.toFixed(0)}, ${sorted.length} times)`);
}

async function drawings(browser: Browser, path: string): Promise<number[]> {
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
  await page.goto(pathToFileURL(path).href);
  await page.waitForSelector('html[data-ready=true]');
  const found: number[] = [];
  for (let i = 0; i < repeats; i++) {
    const measure = i % 2 === 0 ? 'bits' : 'u';
    found.push(
      await page.evaluate<number>(`new Promise((resolve) => {
        const select = document.querySelector('#explorer select[name=measure]');
        const old = document.getElementById('drift-map');
        const began = performance.now();
        new MutationObserver((_, observer) => {
          if (document.getElementById('drift-map') === old) return;
          observer.disconnect();
          requestAnimationFrame(() => requestAnimationFrame(() => resolve(performance.now() - began)));
        }).observe(document.body, { childList: true, subtree: true });
        select.value = '${measure}';
        select.dispatchEvent(new Event('change', { bubbles: true }));
      })`),
    );
  }
  await page.close();
  return found;
}

async function openings(browser: Browser, path: string): Promise<number[]> {
  const found: number[] = [];
  for (let i = 0; i < repeats; i++) {
    const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
    const page = await context.newPage();
    const began = performance.now();
    await page.goto(pathToFileURL(path).href);
    await page.waitForSelector('html[data-ready=true]');
    found.push(performance.now() - began);
    await context.close();
  }
  return found;
}

/** A run of one prompt with every main hook of these layers. */
function madeUp(layers: number, steps: number) {
  const values = (seed: number) =>
    Array.from({ length: steps }, (_, step) =>
      (step * 31 + seed * 17) % 7 === 0 ? 0 : ((step * seed) % 97) * 1e-5 + 1e-6,
    );
  const kinds = ['attn.attn_scores', 'attn_out', 'mlp_out', 'resid_post'];
  const blocks = Array.from({ length: layers }, (_, layer) =>
    kinds.map((kind, i) => {
      const name = kind.startsWith('attn.') ? `attn.hook_${kind.slice('attn.'.length)}` : `hook_${kind}`;
      return { hook: `blocks.${layer}.${name}`, kind, layer, rel: values(layer * 4 + i + 1) };
    }),
  ).flat();
  const rows = mapRows([
    { hook: 'hook_embed', kind: 'embed', layer: -1, rel: Array.from({ length: steps }, () => 0) },
    ...blocks,
    { hook: 'logits', kind: 'logits', layer: layers, rel: values(99) },
  ]);
  const manifest = { schemaVersion: 1, identity: { command: 'diverge', model: 'mini' } };
  return {
    ...tablesOfRows(rows, {}, 1e6),
    name: 'made-up',
    json: async (name: string) => (name === 'manifest' ? manifest : null),
  };
}
