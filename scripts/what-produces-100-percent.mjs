/**
 * What makes all texts diverge: the study `switches`, one switch at a time against fp16, `ort`, keyed draws and no padding, as
 * docs/what-produces-100-percent.md.
 *
 *   npm run build && node scripts/what-produces-100-percent.mjs [--run DIR]
 *
 * A finished run in DIR is read; an unfinished one goes on.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const { values } = parseArgs({
  options: { run: { type: 'string', default: join(root, 'data', 'runs', 'switches') } },
});
execFileSync(
  process.execPath,
  [join(root, 'dist', 'cli', 'main.js'), 'study', '--preset', 'switches', '--out', values.run, '--resume'],
  { stdio: ['ignore', 'ignore', 'inherit'] },
);
const { conditions } = JSON.parse(readFileSync(join(values.run, 'outcomes.json'), 'utf8'));

const base = { precision: 'fp16', kernels: 'ort', padding: 0 };
const keyed = 't1.0-k50';
const find = (model, { precision, kernels, padding }, strategy) =>
  conditions.find(
    (each) =>
      each.model === model &&
      each.precision === precision &&
      each.kernels === kernels &&
      each.padding === padding &&
      each.strategy === strategy,
  );

/** Each row is one switch, or several together. */
const rows = [
  ['greedy, nothing switched', 'greedy', {}],
  ['greedy, 7 rows of padding', 'greedy', { padding: 7 }],
  ['greedy, split-K with fp16 partial sums', 'greedy', { kernels: 'split-k:8:storage' }],
  ['greedy, bf16', 'greedy', { precision: 'bf16' }],
  ['greedy, bf16 and split-K', 'greedy', { precision: 'bf16', kernels: 'split-k:8:storage' }],
  ['greedy, bf16, split-K and padding', 'greedy', { precision: 'bf16', kernels: 'split-k:8:storage', padding: 7 }],
  ['sampled, nothing switched', keyed, {}],
  ['sampled, 7 rows of padding', keyed, { padding: 7 }],
  ['sampled, split-K', keyed, { kernels: 'split-k:8:storage' }],
  ['sampled, bf16', keyed, { precision: 'bf16' }],
  ['sampled, bf16 and split-K', keyed, { precision: 'bf16', kernels: 'split-k:8:storage' }],
  ['sampled by inverse CDF', `${keyed}-inverse-cdf`, {}],
  ['inverse CDF, split-K', `${keyed}-inverse-cdf`, { kernels: 'split-k:8:storage' }],
  ['inverse CDF, bf16', `${keyed}-inverse-cdf`, { precision: 'bf16' }],
  ['inverse CDF, bf16 and split-K', `${keyed}-inverse-cdf`, { precision: 'bf16', kernels: 'split-k:8:storage' }],
  ['sampled, random numbers not shared', `${keyed}-unkeyed`, {}],
];

const models = [...new Set(conditions.map(({ model }) => model))];
const percent = (value, n) => (100 * value).toFixed(n >= 1000 ? 1 : 0);
const texts = ({ results }) => {
  if (results === null) return 'void';
  const { diverged, share } = results.divergence;
  return `${diverged}/${results.prompts} [${percent(share.lower, results.prompts)}–${percent(share.upper, results.prompts)} %]`;
};
const flips = ({ results }) =>
  results === null ? '' : `${results.flips.flips} / ${results.steps.toLocaleString('en-US')}`;
const median = ({ results }) => {
  const found = results?.firstDivergence.median;
  return found ? String(found.value) : '–';
};

const body = models.flatMap((model) => [
  `## ${model}`,
  '',
  '| switch | texts that diverge | flips / steps | median first step |',
  '|---|---|---|---|',
  ...rows.map(([label, strategy, changes]) => {
    const found = find(model, { ...base, ...changes }, strategy);
    return `| ${label} | ${texts(found)} | ${flips(found)} | ${median(found)} |`;
  }),
  '',
]);

/** What the figures say, in a sentence per model. */
const sentence = (model) => {
  const all = rows.map(([label, strategy, changes]) => {
    const { results } = find(model, { ...base, ...changes }, strategy);
    return { label, share: results === null ? null : results.divergence.share.value };
  });
  const most = all.filter(({ share }) => share !== null && share >= 0.95).map(({ label }) => label);
  const none = all.filter(({ share }) => share === 0).map(({ label }) => label);
  const listed = (labels) => (labels.length === 0 ? 'none' : labels.join('; '));
  return `- ${model}: at least 95 % of texts diverge under: ${listed(most)}. None does under: ${listed(none)}.`;
};

/** What the title asks, answered: whether any switch makes all texts diverge, and what comes nearest. */
const cells = models.flatMap((model) =>
  rows.flatMap(([label, strategy, changes]) => {
    const { results } = find(model, { ...base, ...changes }, strategy);
    if (results === null) return [];
    const { prompts, divergence } = results;
    return [{ model, label, greedy: strategy === 'greedy', diverged: divergence.diverged, prompts }];
  }),
);
const shareOf = ({ diverged, prompts }) => diverged / prompts;
const nearest = (some) => some.reduce((most, each) => (shareOf(each) > shareOf(most) ? each : most));
const named = ({ model, label, diverged, prompts }) => `${diverged} of ${prompts} texts (${model}; ${label})`;
const whole = cells.filter((cell) => shareOf(cell) === 1);
const answer = [
  whole.length === 0
    ? `Nothing on this page gives exactly 100 %. The most is ${named(nearest(cells))}.`
    : `Exactly 100 % is what these give: ${whole.map(named).join(', ')}.`,
  `With greedy decoding, where no random number is drawn, the most is ${named(nearest(cells.filter(({ greedy }) => greedy)))}.`,
];

const [first] = conditions;
writeFileSync(
  join(root, 'docs', 'what-produces-100-percent.md'),
  [
    '# What produces 100 %',
    '',
    ...answer,
    '',
    'arXiv 2604.15409 reports that cached and cache-free decoding in fp16 diverge in 100 % of cases, greedy decoding included. Each',
    `switch below is one that a harness can have on without saying so; the study \`switches\` turns them on one by one, ${first.results?.prompts ?? '?'} problems`,
    'per condition, on a CPU (fp16 storage, fp32 accumulation; split-K is emulated in the graph). Steps are teacher-forced, texts run free;',
    'median: first step at which half of the texts have parted. Made by `node scripts/what-produces-100-percent.mjs`.',
    '',
    ...models.map(sentence),
    '',
    ...body,
    '**Random numbers not shared** (`-unkeyed`): each arm draws its own, as two runs without common seeds do. What diverges then says',
    'nothing of the cache. **Inverse CDF**: one uniform number walks along the vocabulary, so that every small shift of an earlier token',
    'moves the draw; Gumbel-max draws keyed by token, the default, differ only where the total variation says so. **Padding**: the cached arm',
    'is a row of a left-padded batch; the same mathematics, with keys in other places of the sums.',
    '',
  ].join('\n'),
);
