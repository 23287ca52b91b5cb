/**
 * The texts of both arms token by token, the uncached one above: the first token that differs is boxed, what follows it is grey,
 * and what both write again is underlined. Below, the five most probable tokens of each arm at the flip.
 */
import { type FlowArm, type FlowToken, flowArms, type TokenFlow } from '../data/token-flow.ts';
import { formatCounted } from '../terminal/numbers.ts';
import { columnsOf } from '../visible.ts';
import { type Figure, type FigureOptions, frame } from './frame.ts';
import { shownName, textWidth } from './plot.ts';
import { escapeXml, round, text } from './svg.ts';
import type { Theme } from './theme.ts';
import { flipWords, flowSubtitle, flowTitle, probabilityText, shownToken } from './token-flow-words.ts';

const size = 12;
/** Advance of a column of monospaced type. */
const column = size * 0.61;
const mono = `font-family="ui-monospace,'SF Mono','DejaVu Sans Mono',Menlo,monospace" font-size="${size}"`;
const left = 74;
const lineHeight = 21;
/** Between tokens, so that their borders can be told. */
const tokenGap = 2;
/** Of each text; longer ones are shown about the flip. */
const mostLines = 12;
const linesBefore = 3;
const mostPrompt = 12;
const rowHeight = 20;
const panelTop = 24;

export function tokenFlowFigure(data: TokenFlow, options: FigureOptions = {}): Figure {
  const head = { title: flowTitle(data), subtitle: flowSubtitle(data) };
  const shows = [head.subtitle, flipWords(data)].filter((part) => part !== '').join(' ');
  return frame({ ...head, shows }, options, ({ theme }, width) => {
    let y = 0;
    const parts: string[] = [];
    for (const arm of flowArms) {
      const flow = flowParts(data, arm, width, theme);
      parts.push(`<g transform="translate(0 ${round(y)})">`, ...flow.parts, '</g>');
      y += flow.height + 10;
    }
    const bars = data.flip === null ? { height: 0, parts: [] } : barPanels(data, data.flip.step, width, theme);
    if (bars.parts.length > 0) parts.push(`<g transform="translate(0 ${round(y + 6)})">`, ...bars.parts, '</g>');
    return { height: y + bars.height, parts };
  });
}

interface Placed {
  x: number;
  line: number;
  width: number;
  shown: string;
  /** Null of a token of the prompt. */
  token: FlowToken | null;
}

/** Every token at its place, lines broken by the estimated width. */
function layout({ promptEnd, promptTokens, arms }: TokenFlow, arm: FlowArm, width: number): Placed[] {
  let [x, line] = [left, 0];
  const all = [
    ...(promptTokens > Math.min(mostPrompt, promptEnd.length) ? [{ token: null, text: '…' }] : []),
    ...promptEnd.slice(-mostPrompt).map(({ text }) => ({ token: null, text })),
    ...arms[arm].map((token) => ({ token, text: token.text })),
  ];
  return all.map(({ token, text: content }) => {
    const shown = shownToken(content);
    const own = columnsOf(shown) * column;
    if (x > left && x + own > width) [x, line] = [left, line + 1];
    const placed = { x, line, width: own, shown, token };
    x += own + tokenGap;
    return placed;
  });
}

function flowParts(data: TokenFlow, arm: FlowArm, width: number, theme: Theme): { height: number; parts: string[] } {
  const all = layout(data, arm, width);
  const flip = data.flip?.step ?? Infinity;
  const flipLine = all.find(({ token }) => token?.step === flip)?.line ?? 0;
  const first = Math.max(0, flipLine - linesBefore);
  const shown = all.filter(({ line }) => line >= first && line < first + mostLines);
  const own = (placed: readonly Placed[]) => placed.filter(({ token }) => token !== null).length;
  const before = own(all.filter(({ line }) => line < first));
  const after = own(all) - own(shown) - before;
  const top = before > 0 ? lineHeight : 0;
  const lines = (shown.at(-1)?.line ?? first) - first + 1;
  const base = (line: number) => top + (line - first) * lineHeight + 15;
  const note = (y: number, count: number, where: string) =>
    text(left, round(y), `… ${formatCounted(count, 'token')} ${where}`, theme.ink3, 'font-size="11.5"');
  return {
    height: top + lines * lineHeight + (after > 0 ? lineHeight : 0),
    parts: [
      text(0, 15, arm, theme[arm], 'font-size="12.5" font-weight="620"'),
      ...(before > 0 ? [note(15, before, 'before')] : []),
      `<g data-arm="${arm}" direction="ltr" ${mono} fill="${theme.ink}">`,
      ...shown.flatMap((placed) => tokenParts(placed, base(placed.line), { flip, fill: theme[arm], theme })),
      '</g>',
      ...(after > 0 ? [note(base(first + lines - 1) + lineHeight, after, 'more')] : []),
    ],
  };
}

/** A token of a text; each is a text of its own, so that one that runs from right to left moves no other. */
function tokenParts(
  { x, width, shown, token }: Placed,
  y: number,
  { flip, fill, theme }: { flip: number; fill: string; theme: Theme },
): string[] {
  const place = `x="${round(x)}" y="${round(y)}"`;
  const content = escapeXml(shown);
  if (token === null) return [`<text ${place} fill="${theme.ink3}" font-style="italic">${content}</text>`];
  const { step, again } = token;
  const data = `data-step="${step}"`;
  if (step === flip) {
    const box = `x="${round(x - 1.5)}" y="${round(y - 13)}" width="${round(width + 3)}" height="18" rx="2.5"`;
    return [
      `<rect ${box} fill="${theme.background}" stroke="${theme.ink}" stroke-width="1.5"/>`,
      `<text ${place} fill="${fill}" font-weight="700" ${data}>${content}</text>`,
    ];
  }
  const look = step > flip ? ` fill="${theme.ink3}"` : '';
  const token_ = `<text ${place}${look} ${data}>${content}</text>`;
  if (again === null) return [token_];
  // To the next token, so that a run is one line.
  const line = `<path d="M${round(x)} ${round(y + 4.5)}h${round(width + tokenGap)}" stroke="${theme.ink2}" stroke-width="1.3" data-again="${again}"/>`;
  return [token_, line];
}

/** The candidates of both arms at the flip, on one scale from 0. */
function barPanels(data: TokenFlow, step: number, width: number, theme: Theme): { height: number; parts: string[] } {
  const gap = 28;
  const own = (width - gap) / 2;
  const found = flowArms.map((arm) => ({ arm, token: data.arms[arm][step] }));
  const all = found.flatMap(({ token }) => token.candidates ?? []).map(({ probability }) => probability);
  if (all.length === 0) {
    const missing = 'No candidates of this step: candidates.arrow is not there, or is of another run.';
    return { height: 26, parts: [text(0, 14, missing, theme.ink3, 'font-size="12"')] };
  }
  const most = Math.max(0, ...all.filter(Number.isFinite));
  const rows = Math.max(...found.map(({ token }) => (token.candidates?.length ?? 0) + (isAmong(token) ? 0 : 1)));
  return {
    height: panelTop + rows * rowHeight + 6,
    parts: found.flatMap(({ arm, token }, i) => [
      `<g transform="translate(${round(i * (own + gap))} 0)">`,
      ...barParts(arm, token, { width: own, most, theme }),
      '</g>',
    ]),
  };
}

/** A sampled choice may be none of the candidates. */
function isAmong({ token, candidates }: FlowToken): boolean {
  return candidates?.some((candidate) => candidate.token === token) ?? true;
}

function barParts(
  arm: FlowArm,
  flowToken: FlowToken,
  { width, most, theme }: { width: number; most: number; theme: Theme },
): string[] {
  const { step, token, text: chosen, candidates } = flowToken;
  const name = text(
    0,
    13,
    `${arm}: top ${candidates?.length ?? 0} at token ${step}`,
    theme[arm],
    'font-size="12.5" font-weight="620"',
  );
  const label = 100;
  const room = Math.max(20, width - label - textWidth('0.0000  #00000', 11.5) - 14);
  const rows = (candidates ?? []).flatMap((candidate, i) => {
    const y = panelTop + i * rowHeight;
    const own = candidate.token === token;
    const long = most > 0 && candidate.probability > 0 ? (candidate.probability / most) * room : 0;
    const fill = own ? theme[arm] : theme.ink3;
    const look = own ? `font-weight="700"` : '';
    const shown = shownToken(candidate.text, 'bar');
    return [
      `<text x="${label - 8}" y="${y + 12}" text-anchor="end" direction="ltr" fill="${own ? theme.ink : theme.ink2}" ${mono} ${look}>${escapeXml(shown)}</text>`,
      `<rect x="${label}" y="${y}" width="${round(long)}" height="${rowHeight - 4}" fill="${fill}" fill-opacity="${own ? 1 : 0.5}" data-token="${candidate.token}"/>`,
      text(
        round(label + long + 6),
        y + 12,
        `${probabilityText(candidate.probability)}  #${candidate.token}`,
        theme.ink2,
        'font-size="11.5"',
      ),
    ];
  });
  const note = isAmong(flowToken)
    ? []
    : [
        text(
          label,
          panelTop + (candidates?.length ?? 0) * rowHeight + 12,
          `chosen: ${shownName(shownToken(chosen, 'bar'))} #${token}, none of these`,
          theme[arm],
          'font-size="11.5"',
        ),
      ];
  return [name, ...rows, ...note];
}
