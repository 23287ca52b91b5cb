/** The verdicts of a study: for each setting one line, and below it what decided the headlines. */
import { settingName } from '../../study/outcome/setting.ts';
import type { ConditionOutcome, StudyOutcome, StudyVerdict } from '../../study/outcome/types.ts';
import { claims } from '../claims.ts';
import { wrap } from './layout.ts';
import type { Marks } from './marks.ts';
import { formatCount, formatValue } from './numbers.ts';
import type { Family } from './study.ts';

const findings = ['contradicted', 'supported', 'not identifiable'] as const;

export function verdictLines(
  { verdicts }: StudyOutcome,
  families: readonly Family[],
  columns: number,
  paint: Marks,
): string[] {
  const mark = { contradicted: paint.bad('✗'), supported: paint.good('✓'), 'not identifiable': paint.warn('○') };
  const headlines = verdicts.filter(({ headline, model }) => headline && model === null);
  const width = Math.max(26, ...families.map(({ name }) => name.length + 1));
  const shown = families.flatMap(({ name }) => {
    const own = headlines.filter((verdict) => settingName(verdict) === name);
    if (own.length === 0) return [];
    const byFinding = findings.flatMap((finding) => {
      const found = own.filter(({ verdict }) => verdict === finding).map(({ claim }) => claim);
      return found.length === 0 ? [] : [`${mark[finding]} ${found.join(' ')}`];
    });
    return wrap(byFinding.join('   '), columns, { first: `  ${name.padEnd(width)}`, indent: ' '.repeat(width + 2) });
  });
  if (shown.length === 0) return [];
  const [first] = headlines;
  const setting = settingName(first);
  const family = families.find(({ name }) => name === setting);
  const detailed = headlines.filter((verdict) => settingName(verdict) === setting);
  return [
    'Verdicts, by rules fixed before running (docs/study.md)',
    `  ${findings.map((finding) => `${mark[finding]} ${finding}`).join('   ')}`,
    ...shown,
    '',
    `${setting}, what decided`,
    ...detailed.flatMap((verdict) =>
      wrap(
        `${mark[verdict.verdict]} ${verdict.claim} ${claims[verdict.claim]}: ${verdict.verdict}. ${capital(decided(verdict, verdicts, family?.conditions ?? []))}`,
        columns,
        { first: '  ', indent: '     ' },
      ),
    ),
  ];
}

/** What decided a headline: of a claim with parts how each came out, else its figures. */
function decided(verdict: StudyVerdict, all: readonly StudyVerdict[], conditions: readonly ConditionOutcome[]): string {
  const { claim, inputs } = verdict;
  const number = (name: string) => (typeof inputs[name] === 'number' ? inputs[name] : null);
  const shown = (name: string) => {
    const value = number(name);
    if (value === null) return '–';
    return Number.isInteger(value) ? formatCount(value) : formatValue(value);
  };
  const results = conditions.flatMap((condition) => condition.results ?? []);
  switch (claim) {
    case 'C1': {
      const [texts, equal, diverged] = [
        results.reduce((sum, { prompts }) => sum + prompts, 0),
        results.reduce((sum, { divergence }) => sum + divergence.equalToEnd, 0),
        results.reduce((sum, { divergence }) => sum + divergence.diverged, 0),
      ];
      return `of ${formatCount(texts)} texts ${formatCount(diverged)} diverge and ${formatCount(equal)} are identical to the end of both; contradicted in ${shown('contradicted')} of ${shown('conditions')} conditions, supported in ${shown('supported')}`;
    }
    case 'C2':
      return `cached minus uncached right ${shown('Σs')}, p ${shown('p')}; ${shown('promptsThatDiffer')} prompts differ; ${shown('positive')} of ${shown('conditions')} conditions positive; placebo 95 % ${shown('placebo.q95')} (${shown('placeboSeeds')} orders); a condition needs ${shown('neededDiscordant')} discordant pairs to be testable`;
    default: {
      const parts = all.filter(
        (other) => other.claim === claim && other.model === null && settingName(other) === settingName(verdict),
      );
      return `parts ${parts.map(({ part, verdict }) => `${part}: ${verdict}`).join('; ')}`;
    }
  }
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
