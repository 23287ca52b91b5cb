/** The legend of maps: what is hatched, the colours, and the marks that occur; in as many lines as it needs. */
import type { ColorScale } from './map-measure.ts';
import { shapePath, textWidth } from './plot.ts';
import { rasterImage } from './raster.ts';
import { round, text } from './svg.ts';
import type { Palette } from './theme.ts';

interface Item {
  width: number;
  draw: (x: number, y: number) => string[];
}

export interface LegendOptions {
  scale: Pick<ColorScale, 'classes' | 'colors' | 'ticks'>;
  contour?: string;
  flips?: boolean;
  nan?: boolean;
  infinite?: boolean;
  below?: boolean;
  above?: boolean;
  notCaptured?: boolean;
  zero?: string;
  /** What the colours say, beside them. */
  note?: string;
  /** What a frame in ink means. */
  framed?: string;
}

const lineHeight = 32;
const gap = 20;
const label = 12;

/** Its height, and its parts from (x, 0). */
export function mapLegend(
  x: number,
  width: number,
  options: LegendOptions,
  palette: Palette,
): { height: number; parts: string[] } {
  const { theme } = palette;
  const keyed = (content: string, keyWidth: number, key: (x: number, y: number) => string): Item => ({
    width: keyWidth + 6 + textWidth(content, label),
    draw: (left, y) => [
      key(left, y),
      text(round(left + keyWidth + 6), y + 4, content, theme.ink2, `font-size="${label}"`),
    ],
  });
  const glyph = (content: string, sign: string, fill: string) =>
    keyed(content, 9, (left, y) => text(left, y + 4, sign, fill, `font-size="${label}" font-weight="700"`));
  const items: Item[] = [
    keyed(
      options.zero ?? 'exactly 0',
      26,
      (left, y) => `<rect x="${round(left)}" y="${y - 6}" width="26" height="12" fill="url(#kvl-zero)"/>`,
    ),
    ramp(options.scale, palette),
  ];
  if (options.note) {
    const note = options.note;
    const draw = (left: number, y: number) => [text(round(left), y + 4, note, theme.ink2, `font-size="${label}"`)];
    items.push({ width: textWidth(note, label), draw });
  }
  if (options.framed) {
    const box = (left: number, y: number) =>
      `<rect x="${round(left) + 0.5}" y="${y - 5.5}" width="21" height="11" fill="none" stroke="${theme.ink}"/>`;
    items.push(keyed(options.framed, 22, box));
  }
  if (options.contour) {
    const step = (left: number, y: number) =>
      `<path d="M${round(left)} ${y + 4}h10v-8h10" fill="none" stroke="${theme.ink}" stroke-width="1.6"/>`;
    items.push(keyed(options.contour, 20, step));
  }
  if (options.flips) {
    items.push(
      keyed('token flip', 10, (left, y) => `<path d="${shapePath('diamond', left + 5, y, 4)}" fill="${theme.ink}"/>`),
    );
  }
  if (options.nan) items.push(glyph('NaN', '×', theme.bad));
  if (options.infinite) items.push(glyph('Inf', '∞', theme.bad));
  if (options.below) items.push(glyph('below the scale', '▾', theme.ink));
  if (options.above) items.push(glyph('above the scale', '▴', theme.ink));
  if (options.notCaptured) {
    const box = (left: number, y: number) =>
      `<rect x="${round(left) + 0.5}" y="${y - 5.5}" width="19" height="11" fill="none" stroke="${theme.rule}"/>`;
    items.push(keyed('not captured', 20, box));
  }
  const parts: string[] = [];
  let [left, y] = [x, 8];
  for (const item of items) {
    if (left > x && left + item.width > width) {
      left = x;
      y += lineHeight;
    }
    parts.push(...item.draw(left, y));
    left += item.width + gap;
  }
  return { height: y + 24, parts };
}

/** The colours, with ticks below. */
function ramp({ classes, colors, ticks }: LegendOptions['scale'], palette: Palette): Item {
  const length = 210;
  const inset = 16;
  return {
    width: length + 2 * inset,
    draw: (left, y) => {
      const indices = Uint8Array.from({ length: classes }, (_, i) => i + 1);
      const place = { x: left + inset, y: y - 6, width: length, height: 11 };
      return [
        rasterImage({ width: classes, height: 1, indices }, place, palette, colors),
        ...ticks.map(({ share, label: content }) =>
          text(
            round(left + inset + share * length),
            y + 18,
            content,
            palette.theme.ink2,
            'font-size="11" text-anchor="middle"',
          ),
        ),
      ];
    },
  };
}
