/**
 * Which activations carry the name? `npx tsx examples/clean-corrupted.mts`
 *
 * Two people stand in a word problem, and the answer begins with the one who wants to buy something: as in the indirect-object
 * task (Wang et al. 2022), the model has to tell two names apart by their roles. The corrupted prompt swaps the names. Every
 * cell below runs it with one activation of the clean run, and asks how far logit("T") − logit("S") moves back to the clean
 * run's. Prints the residual stream's map and writes docs/clean-corrupted-light.svg and -dark.svg.
 */
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  drawPatchGrid,
  getActPatchBlockEvery,
  logitDiff,
  Model,
  patchColumns,
  patchPanel,
  recoveryScale,
} from '../src/index.ts';

const problem = (buyer: string, giver: string) =>
  `${buyer} wants to buy a watch that costs $276. He saves $23 a week for 8 weeks and gets $31 from ${giver}. How much more money does he need?\n`;

const model = await Model.open('mini-llama', { precision: 'fp16' });
const clean = model.toTokens(problem('Tom', 'Sam'));
const corrupted = model.toTokens(problem('Sam', 'Tom'));
const [answer, wrong] = [clean[1], corrupted[1]];
const { cache } = await model.runWithCache(clean);
const metric = logitDiff(answer, wrong);
const { parts } = await getActPatchBlockEvery(model, corrupted, cache, metric);
const [{ result: stream }] = parts;

const titles = { resid_pre: 'Residual stream before the block', attn_out: 'Attention output', mlp_out: 'MLP output' };
const panels = parts.map(({ name: kind, result }) => patchPanel(titles[kind as keyof typeof titles], result));
const columns = patchColumns(model, clean, corrupted);
const differing = columns.find((column) => column.clean !== undefined);
const difference = `logit(${JSON.stringify(differing?.clean)}) − logit(${JSON.stringify(differing?.label)})`;
console.log(`${difference}: clean ${stream.clean.toFixed(1)}, corrupted ${stream.corrupted.toFixed(1)}`);
const { mode, cells, vacuous, resumed } = stream.method;
console.log(`${cells} cells, ${vacuous} change nothing, ${resumed} resumed (${mode})`);
const grid = panels[0].values;
const carriers = corrupted
  .map((_, pos) => ({ label: `${pos}:${columns[pos].label}`, column: grid.map((row) => row[pos]) }))
  .filter(({ column }) => column.some((value) => value !== null && Math.abs(value) > 0.1));
console.log(`\nresid_pre   ${grid.map((_, layer) => `L${layer}`.padStart(6)).join('')}`);
for (const { label, column } of carriers) {
  const numbers = column.map((value) => (value === null ? '·' : value.toFixed(2)).padStart(6));
  console.log(`${label.padEnd(12)}${numbers.join('')}`);
}

/** The strongest attention output, as the figure's title. */
const attention = panels[1].values.flatMap((row, layer) => row.map((value, pos) => ({ layer, pos, value })));
const strongest = attention.reduce((most, cell) => ((cell.value ?? 0) > (most.value ?? 0) ? cell : most));
const percent = Math.round(100 * (strongest.value ?? 0));
const where = strongest.pos === corrupted.length - 1 ? 'the last token' : `token ${strongest.pos}`;
const number = (value: number) => value.toFixed(1).replace('-', '−');
const docs = join(dirname(dirname(fileURLToPath(import.meta.url))), 'docs');
const figure = {
  title: `Attention in block ${strongest.layer}, at ${where}, brings back ${percent} % of the name`,
  subtitle: `mini-llama, fp16: a word problem with its two names swapped. Each cell puts one activation of the clean run back. ${difference} is ${number(stream.clean)} on the clean prompt and ${number(stream.corrupted)} on the corrupted one.`,
  ...{ columns, panels },
  scale: recoveryScale,
  shows: `Heat maps of recovery by layer and token: ${carriers.map(({ label }) => label).join(', ')} carry the difference.`,
};
for (const appearance of ['light', 'dark'] as const) {
  const { svg } = drawPatchGrid(figure, { appearance, poster: true, width: 1104 });
  writeFileSync(join(docs, `clean-corrupted-${appearance}.svg`), `${svg}\n`);
}
await model.release();
