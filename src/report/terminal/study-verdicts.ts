/** The verdicts of a study: for each precision and kernels one line, and below it what decided the headlines. */
import type { Finding } from '../../study/claims/claim.ts';
import type { StudyOutcome, StudyVerdict } from '../../study/outcome/types.ts';
import { wrap } from './layout.ts';
import type { Marks } from './marks.ts';
import { formatValue } from './numbers.ts';
import type { Family } from './study.ts';

const claims: Record<StudyVerdict['claim'], string> = {
  C1: 'every text diverges',
  C2: 'the cached path is more accurate',
  C3: 'fp16 rounding is the sole cause',
  C4: 'drift follows the architecture',
  C5: 'the cache is the root',
};

const words: Record<Finding, string> = {
  contradicted: 'contradicted',
  supported: 'supported',
  'not identifiable': 'not identifiable',
};

/** Inputs that are shown; all of them are in verdicts.json. */
const mostInputs = 6;

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
      return found.length === 0 ? [] : [`${mark[finding]} ${words[finding]} ${found.join(' ')}`];
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
        `${mark[verdict.verdict]} ${verdict.claim} ${claims[verdict.claim]}: ${words[verdict.verdict]}; ${inputsOf(verdict, verdicts)}`,
        columns,
        {
          first: '  ',
          indent: '     ',
        },
      ),
    ),
  ];
}

/** `Σs 3, p 0.42, …`, and of a claim that is judged by model how each model came out. */
function inputsOf({ claim, inputs, precision, kernels }: StudyVerdict, all: readonly StudyVerdict[]): string {
  const parts = Object.entries(inputs)
    .filter(([, value]) => value !== null && (typeof value === 'number' || value.length <= 24))
    .slice(0, mostInputs)
    .map(([name, value]) => `${name} ${typeof value === 'number' ? formatValue(value) : value}`);
  const needed = all.find(
    (verdict) => verdict.claim === claim && verdict.precision === precision && verdict.kernels === kernels,
  )?.inputs.neededDiscordant;
  if (typeof needed === 'number' && claim === 'C2') {
    parts.push(`a condition needs ${needed} discordant pairs to be testable`);
  }
  return parts.length === 0 ? 'no figure decides' : parts.join(', ');
}
