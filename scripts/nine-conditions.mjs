/**
 * The paper's nine conditions and the verdicts, as docs/nine-conditions.md, from a finished study:
 *
 *   npx kvlens study --preset paper --out RUN && node scripts/nine-conditions.mjs RUN
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const [run] = process.argv.slice(2);
if (run === undefined) {
  console.error('nine-conditions.mjs: found no folder, expected that of a finished study');
  process.exit(2);
}
const read = (name) => JSON.parse(readFileSync(join(run, name), 'utf8'));
const { conditions, table, verdicts, machine } = read('outcomes.json');

const settingOf = ({ precision, kernels, padding, coupling }) =>
  [
    precision,
    kernels,
    ...(padding > 0 ? [`pad ${padding}`] : []),
    ...(coupling === 'independent' ? ['unkeyed'] : []),
  ].join(' · ');
const settings = [...new Set(table.map(settingOf))];
const count = (value) => value.toLocaleString('en-US');
const percent = (share, n) =>
  share === 0 ? '0' : (100 * share).toFixed(Math.max(0, Math.ceil(Math.log10(Math.max(1, n))) - 2));
const shareOf = ({ lower, upper }, n) => `[${percent(lower, n)}–${percent(upper, n)} %]`;
const small = (value) => (value === null ? '–' : Number(value).toPrecision(2).replace('-', '−'));

const condition = ({ model, strategy, results, failedGates }) => {
  if (results === null) return `| ${model} | ${strategy} | void: gate ${failedGates.join(', ')} | | | | | |`;
  const { accuracy, divergence, flips, steps, prompts, drift } = results;
  const right = (arm) => accuracy.arms.find((each) => each.arm === arm)?.right ?? '–';
  const { paired } = accuracy;
  return `| ${[
    model,
    strategy,
    `${right('cached')} / ${right('uncached')}`,
    paired === null ? '–' : `${paired.cachedOnly} : ${paired.uncachedOnly}`,
    paired === null ? '–' : small(paired.adjustedP),
    `${divergence.diverged}/${prompts} ${shareOf(divergence.share, prompts)}`,
    `${flips.flips} / ${count(steps)}${flips.ties > 0 ? ` (exact ties: ${flips.ties})` : ''}`,
    small(drift.kl?.value ?? null),
  ].join(' | ')} |`;
};

const mark = { supported: '✓', contradicted: '✗', 'not identifiable': '○' };
const parts = [...new Map(table.map(({ claim, part }) => [`${claim} ${part}`, { claim, part }])).values()];
const verdictOf = (setting, claim, part) =>
  table.find((cell) => settingOf(cell) === setting && cell.claim === claim && cell.part === part);
const rules = new Map(
  verdicts
    .filter(({ model, condition: about }) => model === null && about === null)
    .map((each) => [`${each.claim} ${each.part}`, each.rule]),
);

const prompts = conditions.reduce((most, { results }) => Math.max(most, results?.prompts ?? 0), 0);
writeFileSync(
  join(dirname(dirname(fileURLToPath(import.meta.url))), 'docs', 'nine-conditions.md'),
  [
    '# The nine conditions',
    '',
    `Three models × three strategies, ${prompts} word problems each, as \`kvlens study --preset paper\` found them; the embedded models,`,
    'steps teacher-forced, texts running free. Right: of the cached / of the uncached arm. Only: one arm alone is right, cached : uncached, with',
    'the exact McNemar p adjusted by Holm. Brackets are 95 % intervals. Made by `node scripts/nine-conditions.mjs RUN`.',
    '',
    `${machine}`,
    '',
    '## Verdicts',
    '',
    `| claim | part | ${settings.join(' | ')} |`,
    `|---|---|${settings.map(() => '---').join('|')}|`,
    ...parts.map(({ claim, part }) => {
      const cells = settings.map((setting) => {
        const cell = verdictOf(setting, claim, part);
        if (cell === undefined) return '';
        const text = `${mark[cell.verdict]} ${cell.verdict}`;
        return cell.headline ? `**${text}**` : text;
      });
      return `| ${claim} | ${part} | ${cells.join(' | ')} |`;
    }),
    '',
    'Bold answers the claim. C1: every text diverges. C2: the cached path is more accurate. C3: fp16 rounding is the sole cause. C4: drift follows',
    'the architecture. C5: the cache is the root. The rules were fixed before anything was run:',
    '',
    ...parts.map(({ claim, part }) => `- ${claim} ${part}: ${rules.get(`${claim} ${part}`)}.`),
    '',
    ...settings.flatMap((setting) => [
      `## ${setting}`,
      '',
      '| model | strategy | right | only | p | texts that diverge | flips / steps | KL, mean |',
      '|---|---|---|---|---|---|---|---|',
      ...conditions.filter((each) => settingOf(each) === setting).map(condition),
      '',
    ]),
  ].join('\n'),
);
