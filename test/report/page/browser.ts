/** A headless Chromium of the system, for what only a browser can show. Without one these tests are skipped, and say so. */
import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll } from 'vitest';
import { chromiumPath } from './chromium.ts';

export { chromiumPath } from './chromium.ts';

if (chromiumPath === null) console.log('skipped: tests of the page need Chromium (Debian: apt install chromium)');

let browser: Browser | undefined;
afterAll(async () => browser?.close());

export interface OpenedPage {
  page: Page;
  /** What the console said, errors that were thrown, and requests beside the page's own. */
  problems: string[];
  requests: string[];
}

/** Open an address in a fresh context. */
export async function openPage(
  address: string,
  { width = 1280, height = 900, theme = 'light' as 'light' | 'dark' } = {},
): Promise<OpenedPage> {
  browser ??= await chromium.launch({ executablePath: chromiumPath ?? undefined, args: ['--no-sandbox'] });
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: theme });
  const page = await context.newPage();
  const [problems, requests]: [string[], string[]] = [[], []];
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) problems.push(message.text());
  });
  page.on('pageerror', (error) => problems.push(String(error)));
  page.on('request', (request) => requests.push(request.url()));
  await page.goto(address);
  await page.waitForSelector('html[data-ready=true]', { timeout: 20_000 });
  return { page, problems, requests };
}
