/** The page's script: theme, tools, and runs that are dropped onto the page. The page reads well without it. */
import type { RunTables } from '../data/run-tables.ts';
import { bodyHtml } from '../page/body.ts';
import { html } from '../page/html.ts';
import { reportOf } from '../page/report.ts';
import { type Compared, cardsOf, compareRuns } from './compare.ts';
import { Explorer } from './explorer.ts';
import { chosenFiles, droppedFiles, type FoundFile } from './files.ts';
import { runOfExcerpt, runOfFiles, runOfServer } from './run-sources.ts';
import { keepView, readView } from './view.ts';

const page = document.querySelector<HTMLElement>('.page');
/** What the page shows now, and whether it has all rows of it. */
let shown: { run: RunTables; whole: boolean } | null = null;

async function start(): Promise<void> {
  if (page === null) return;
  setUp(page);
  const excerpt = document.getElementById('excerpt');
  shown = excerpt
    ? { run: await runOfExcerpt(excerpt.textContent ?? ''), whole: false }
    : { run: await runOfServer(), whole: true };
  if (shown.whole) status(`reading ${shown.run.name} …`);
  await new Explorer(shown.run, page, shown.whole).start();
  status('');
  document.documentElement.dataset.ready = 'true';
}

/** Buttons of the bar, and links to figures: the address keeps the view, so they move the page themselves. */
function setUp(root: HTMLElement): void {
  const tools = document.getElementById('tools');
  if (tools) {
    tools.innerHTML =
      html`<button type="button" id="open">Open a run</button> <button type="button" id="compare-with">Compare with</button> <button type="button" id="theme" aria-label="light or dark">Light / dark</button><input type="file" id="folder" webkitdirectory multiple hidden>`.toString();
    document.getElementById('theme')?.addEventListener('click', () => {
      const theme = document.documentElement.dataset.theme === 'dark' ? 'light' : 'dark';
      document.documentElement.dataset.theme = theme;
      keepView({ theme });
    });
    const input = document.querySelector<HTMLInputElement>('#folder');
    let mode: 'open' | 'compare' = 'open';
    const choose = (chosen: 'open' | 'compare') => () => {
      mode = chosen;
      input?.click();
    };
    document.getElementById('open')?.addEventListener('click', choose('open'));
    document.getElementById('compare-with')?.addEventListener('click', choose('compare'));
    input?.addEventListener('change', () => {
      const files = chosenFiles(input);
      input.value = '';
      if (files.length > 0) void take(files, mode);
    });
  }
  for (const link of root.querySelectorAll<HTMLAnchorElement>('a[href^="#"]')) {
    link.addEventListener('click', (event) => {
      const target = document.getElementById(link.hash.slice(1));
      if (!target) return;
      event.preventDefault();
      target.scrollIntoView();
      (target.querySelector<HTMLElement>('.drawing') ?? target).focus({ preventScroll: true });
    });
  }
}

/** Open a run instead of the one that is shown, or put it beside it. */
async function take(files: readonly FoundFile[], mode: 'open' | 'compare'): Promise<void> {
  if (page === null) return;
  try {
    const run = runOfFiles(files);
    const cards = mode === 'compare' ? shownCards(page) : null;
    await (mode === 'compare' && shown && cards ? compare(page, { run: shown.run, cards }, run) : open(page, run));
  } catch (error) {
    status(error instanceof Error ? error.message : String(error));
  }
}

async function open(root: HTMLElement, run: RunTables): Promise<void> {
  status(`reading ${run.name} …`);
  const report = await reportOf(run, {}, (done, of) => status(`${run.name}: figure ${done + 1} of ${of}`));
  root.innerHTML = bodyHtml(report).toString();
  keepView({ condition: undefined, prompt: undefined, step: undefined, hook: undefined });
  shown = { run, whole: true };
  setUp(root);
  await new Explorer(run, root, true).start();
  status('');
  document.documentElement.dataset.opened = run.name;
}

async function compare(root: HTMLElement, first: Compared, run: RunTables): Promise<void> {
  status(`reading ${run.name} …`);
  let place = document.getElementById('comparison');
  if (place === null) {
    place = document.createElement('div');
    place.id = 'comparison';
    root.querySelector('.scope')?.after(place);
  }
  await compareRuns(place, first, { run, cards: await cardsOf(run) });
  status('');
  place.scrollIntoView();
}

/** Questions and answers as the page has them: its excerpt could not answer them again. */
function shownCards(root: HTMLElement): Compared['cards'] {
  return [...root.querySelectorAll('.card')].map((card) => ({
    question: card.querySelector('.question')?.textContent ?? '',
    answer: card.querySelector('.answer')?.textContent ?? '',
  }));
}

/** One line at the foot of the window; empty: none. */
function status(text: string): void {
  let place = document.getElementById('status');
  if (place === null) {
    place = document.createElement('div');
    place.id = 'status';
    place.setAttribute('role', 'status');
    document.body.append(place);
  }
  place.textContent = text;
}

document.addEventListener('dragover', (event) => event.preventDefault());
document.addEventListener('drop', (event) => {
  event.preventDefault();
  const { dataTransfer, shiftKey } = event;
  // With the shift key the run is put beside the one that is shown.
  if (dataTransfer)
    void droppedFiles(dataTransfer).then(
      (files) => take(files, shiftKey ? 'compare' : 'open'),
      (error) => status(String(error)),
    );
});
window.addEventListener('hashchange', () => {
  const { theme } = readView();
  if (theme) document.documentElement.dataset.theme = theme;
});

void start().catch((error) => status(error instanceof Error ? error.message : String(error)));
