/** The verdicts of a study: for each precision and kernels one line, and below it what decided the headlines. */
import type { StudyOutcome, StudyVerdict } from '../../study/outcome/types.ts';
import { wrap } from './layout.ts';
import type { Marks } from './marks.ts';
import { formatCount, formatValue } from './numbers.ts';
import type { Family } from './study.ts';

const claims: Record<StudyVerdict['claim'], string> = {
  C1: 'every text diverges',
  C2: 'the cached path is more accurate',
  C3: 'fp16 rounding is the sole cause',
  C4: 'drift follows the architecture',
  C5: 'the cache is the root',
};

export function verdictLines(
  { verdicts }: StudyOutcome,
  families: readonly Family[],
  columns: number,
  paint: Marks,
): string[] {
  const mark = { contradicted: paint.bad('✗'), supported: paint.good('✓'), 'not identifiable': paint.warn('○') };
  const headlines = verdicts.filter(({ headline, model }) => headline && model === null);
  const shown = families.flatMap(({ name }) => {
    const own = headlines.filter(({ precision, kernels }) => `${precision} · ${kernels}` === name);
    if (own.length === 0) return [];
    const byFinding = (['contradicted', 'supported', 'not identifiable'] as const).flatMap((finding) => {
      const found = own.filter(({ verdict }) => verdict === finding).map(({ claim }) => claim);
      return found.length === 0 ? [] : [`${mark[finding]} ${finding} ${found.join(' ')}`];
    });
    return wrap(byFinding.join('   '), columns, { first: `  ${name.padEnd(26)}`, indent: ' '.repeat(28) });
  });
  if (shown.length === 0) return [];
  const [first] = headlines;
  const detailed = headlines.filter(
    ({ precision, kernels }) => precision === first.precision && kernels === first.kernels,
  );
  return [
    'Verdicts, by rules fixed before running (docs/study.md)',
    ...shown,
    '',
    `${first.precision} · ${first.kernels}, what decided`,
    ...detailed.flatMap((verdict) =>
      wrap(
        `${mark[verdict.verdict]} ${verdict.claim} ${claims[verdict.claim]}: ${verdict.verdict}. ${capital(decided(verdict, verdicts, families[0]))}`,
        columns,
        { first: '  ', indent: '     ' },
      ),
    ),
  ];
}

/** What decided a headline: of a claim with parts how each came out, else its figures. */
function decided(
  { claim, inputs, precision, kernels }: StudyVerdict,
  all: readonly StudyVerdict[],
  family: Family,
): string {
  const number = (name: string) => (typeof inputs[name] === 'number' ? inputs[name] : null);
  const shown = (name: string) => {
    const value = number(name);
    if (value === null) return '–';
    return Number.isInteger(value) ? formatCount(value) : formatValue(value);
  };
  const results = family.conditions.flatMap((condition) => condition.results ?? []);
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
        (other) =>
          other.claim === claim && other.model === null && other.precision === precision && other.kernels === kernels,
      );
      return `parts ${parts.map(({ part, verdict }) => `${part}: ${verdict}`).join('; ')}`;
    }
  }
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
