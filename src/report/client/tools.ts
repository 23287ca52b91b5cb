/** The reader's tools: what can be chosen of a run, as fields, and what is written in them. */
import { Columns } from '../data/columns.ts';
import { type RunCondition, shortNames } from '../data/conditions.ts';
import { layerOwners } from '../data/owners.ts';
import type { RunTables } from '../data/run-tables.ts';
import { shownName } from '../figures/plot.ts';
import { type Html, html } from '../page/html.ts';
import type { Focus } from '../page/report.ts';

/** Read `3–8` or `3`, both ends included; null where nothing is written: no limit. What is no range is said in words. */
export function rangeOf(name: 'layers' | 'steps', text: string): [number, number] | null | { problem: string } {
  if (text.trim() === '') return null;
  const found = /^\s*(\d+)\s*(?:[-–…]\s*(\d+)\s*)?$/.exec(text);
  if (found === null) return { problem: `No range of ${name}: write 3–8, or 3, or nothing for all.` };
  const [first, last] = [Number(found[1]), Number(found[2] ?? found[1])];
  return first <= last ? [first, last] : { problem: `No range of ${name}: ${first} is larger than ${last}.` };
}

/** Prompts with rows in layers.arrow, in the order of the run. */
export async function promptsOf(run: RunTables): Promise<{ prompt: string; index: number }[]> {
  const drawn = new Set([...(await layerOwners(run)).values()].flatMap((prompts) => [...prompts.keys()]));
  const found = new Map<string, number>();
  for await (const batch of run.batches('prompts')) {
    const columns = new Columns('prompts', batch);
    const [prompt, index] = [columns.texts('prompt'), columns.required('index')];
    for (let row = 0; row < batch.numRows; row++) if (drawn.has(prompt(row))) found.set(prompt(row), index(row));
  }
  return [...found].map(([prompt, index]) => ({ prompt, index })).sort((a, b) => a.index - b.index);
}

/** The fields. @param whole the run has all of its rows */
export function toolsHtml(
  conditions: readonly RunCondition[],
  prompts: readonly { prompt: string; index: number }[],
  { condition, prompt: chosen }: Focus,
  whole: boolean,
): Html {
  const names = shortNames(conditions);
  const option = (value: string, text: string, selected: boolean) =>
    selected
      ? html`<option value="${value}" selected>${text}</option>`
      : html`<option value="${value}">${text}</option>`;
  const choice = (label: string, name: string, options: readonly Html[]) =>
    html`<label>${label} <select name="${name}">${options}</select></label>`;
  const field = (label: string, name: string, hint: string) =>
    html`<label>${label} <input name="${name}" placeholder="${hint}" size="${Math.max(6, hint.length)}" autocomplete="off" spellcheck="false"></label>`;
  const note = whole
    ? ''
    : html`<p>The page brings the rows of ${prompts.length === 1 ? 'one prompt' : `${prompts.length} prompts`}. For all of them drop the run’s folder here, or <code>kvlens report RUN --serve</code>.</p>`;
  return html`<fieldset><legend>Look closer</legend>
${
  conditions.length > 1
    ? choice(
        'condition',
        'condition',
        conditions.map((each) => option(each.condition, names.get(each.condition) ?? '', each.condition === condition)),
      )
    : ''
}
${choice('prompt', 'prompt', [option('', 'most steps differ', chosen === undefined), ...prompts.map(({ prompt, index }) => option(prompt, `${index} · ${shownName(prompt, 14)}`, prompt === chosen))])}
${choice('rows', 'rows', [option('main', 'main', true), option('core', 'core hooks', false), option('resid_post', 'residual stream', false), option('all', 'all', false)])}
${choice('colour', 'measure', [option('u', 'relative L2 in u', true), option('absolute', 'relative L2', false), option('ulp', 'largest ULP', false), option('bits', 'elements that differ', false)])}
<label><input type="checkbox" name="median"> over the row’s median</label>
${field('layers', 'layers', '0–5')}${field('steps', 'steps', '1–40')}${field('hooks', 'hooks', 'blocks.3.*')}
${note}</fieldset>`;
}
