/** The verdicts of a study as a table: claims down, settings across, each cell a glyph and a word. */
import { claims, partQuestion } from '../claims.ts';
import type { VerdictRow, VerdictTableData } from '../data/verdict-table.ts';
import { formatCount, formatCounted } from '../terminal/numbers.ts';
import { type Figure, type FigureOptions, frame } from './frame.ts';
import { readable, shownName, textWidth } from './plot.ts';
import { round, text } from './svg.ts';
import type { Theme } from './theme.ts';

const rowHeight = 22;
const claimGap = 8;
const lineHeight = 15;

type Finding = NonNullable<VerdictRow['verdicts'][number]>;

const looks: Record<Finding, { glyph: string; color: (theme: Theme) => string }> = {
  supported: { glyph: '✓', color: ({ ok }) => ok },
  contradicted: { glyph: '✗', color: ({ bad }) => bad },
  'not identifiable': { glyph: '○', color: ({ ink2 }) => ink2 },
};

export function verdictTableFigure(data: VerdictTableData, options: FigureOptions = {}): Figure {
  const title = titleOf(data);
  const subtitle = `Claims of arXiv 2604.15409 by setting, over all models, by rules fixed before running; bold: the part that answers the claim. ${data.machine}`;
  return frame({ title, subtitle, shows: tableInWords(data) }, options, (palette, width) => {
    const { theme } = palette;
    const { settings, rows } = data;
    const left = Math.min(width * 0.42, Math.max(...rows.map((row) => textWidth(rowName(row)) + 8)) + 12);
    const column = (width - left) / settings.length;
    // Where a column is too narrow for the words the glyph stands alone, and a key says what it means.
    const words = column >= 110;
    const heads = settings.map((name) =>
      shownName(name, 80)
        .split(' · ')
        .map((part) => fitted(part, column - 4)),
    );
    const head = Math.max(...heads.map((lines) => lines.length)) * lineHeight + 10;
    const tops = topsOf(rows, head);
    const bottom = tops[tops.length - 1] + rowHeight;
    return {
      height: bottom + (words ? 8 : 32),
      parts: [
        ...heads.flatMap((lines, i) =>
          lines.map((line, at) =>
            text(round(left + i * column), 12 + at * lineHeight, line, theme.ink, 'font-size="12" font-weight="620"'),
          ),
        ),
        ...rows.flatMap((row, i) => rowParts(row, rows[i - 1], tops[i], { left, column, width, words }, theme)),
        ...rows.flatMap(({ claim, part, verdicts }, i) =>
          verdicts.map((finding, at) =>
            readable(
              { x: left + at * column - 5, y: tops[i] + 1, width: column - 6, height: rowHeight - 2 },
              {
                ...{
                  claim,
                  part,
                  about: partQuestion(claim, part) ?? claims[claim],
                  setting: settings[at],
                  verdict: finding ?? 'not judged',
                },
              },
            ),
          ),
        ),
        ...(words ? [] : key(bottom + 22, theme)),
      ],
    };
  });
}

function titleOf({ settings, rows }: VerdictTableData): string {
  const answers = rows.filter(({ headline }) => headline).flatMap(({ verdicts }) => verdicts);
  const count = (finding: Finding) => formatCount(answers.filter((verdict) => verdict === finding).length);
  const claimCount = new Set(rows.map(({ claim }) => claim)).size;
  return `${formatCounted(claimCount, 'claim')} in ${formatCounted(settings.length, 'setting')}: ${count('supported')} supported, ${count('contradicted')} contradicted, ${count('not identifiable')} not identifiable`;
}

/** The table for those who do not see it. */
function tableInWords({ settings, rows }: VerdictTableData): string {
  const lines = rows.map((row) => {
    const found = row.verdicts.map((verdict, i) => `${shownName(settings[i], 60)} ${verdict ?? 'not judged'}`);
    return `${rowName(row)}: ${found.join(', ')}`;
  });
  return `Table. ${lines.join('. ')}.`;
}

/** `C1 every text diverges`; of other parts `a · flips`, or their names. */
function rowName({ claim, part, headline }: VerdictRow): string {
  const question = partQuestion(claim, part);
  return headline
    ? `${claim}  ${claims[claim]}`
    : `       ${shownName(question === null ? part : `${part} · ${question}`, 34)}`;
}

function fitted(content: string, width: number): string {
  const most = Math.max(3, Math.floor(width / (12 * 0.54)));
  return content.length <= most ? content : `${content.slice(0, most - 1)}…`;
}

function topsOf(rows: readonly VerdictRow[], head: number): number[] {
  let y = head;
  return rows.map((row, i) => {
    if (i > 0) y += rowHeight + (row.claim === rows[i - 1].claim ? 0 : claimGap);
    return y;
  });
}

interface Columns {
  left: number;
  column: number;
  width: number;
  words: boolean;
}

function rowParts(
  row: VerdictRow,
  before: VerdictRow | undefined,
  y: number,
  { left, column, width, words }: Columns,
  theme: Theme,
): string[] {
  const first = before?.claim !== row.claim;
  const weight = row.headline ? 'font-weight="620"' : '';
  const name = row.headline
    ? text(0, y + 16, rowName(row).replace('  ', ' '), theme.ink, `font-size="12" ${weight}`)
    : text(24, y + 16, rowName(row).trim(), theme.ink2, 'font-size="12"');
  return [
    ...(first ? [`<path d="M0 ${y - claimGap / 2}H${width}" stroke="${theme.rule}"/>`] : []),
    name,
    ...row.verdicts.map((verdict, i) => {
      const x = round(left + i * column);
      if (verdict === null) return text(x, y + 16, '–', theme.ink3, 'font-size="12"');
      const { glyph, color } = looks[verdict];
      return text(x, y + 16, words ? `${glyph} ${verdict}` : glyph, color(theme), `font-size="12" ${weight}`);
    }),
  ];
}

function key(y: number, theme: Theme): string[] {
  let x = 0;
  return Object.entries(looks).map(([finding, { glyph, color }]) => {
    const part = text(round(x), y, `${glyph} ${finding}`, color(theme), 'font-size="12"');
    x += textWidth(`${glyph} ${finding}`) + 20;
    return part;
  });
}
