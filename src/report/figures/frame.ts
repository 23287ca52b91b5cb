/** What every figure is: a finding as its title, what is drawn as its subtitle, and an SVG that says both to those who cannot see it. */
import { escapeXml, round, text } from './svg.ts';
import { type Appearance, adaptiveStyle, type Palette, paletteOf, pixelStyle } from './theme.ts';

/** A drawn figure. */
export interface Figure {
  /** The finding. */
  title: string;
  /** What is drawn, n, and the scale. */
  subtitle: string;
  /** Title and what the figure shows, in words. */
  alternative: string;
  /** Of the SVG, in CSS pixels. */
  width: number;
  height: number;
  /** Where the body's (0, 0) lies, for what finds its way about in it. */
  origin: { x: number; y: number };
  svg: string;
  /** The caption below the drawing, of a figure that is not framed: text on a page breaks where the window ends. */
  caption?: string;
}

/** How a figure is drawn. */
export interface FigureOptions {
  /** CSS pixels; default 720. */
  width?: number;
  /** Default `adaptive`. */
  appearance?: Appearance;
  /** Title and subtitle within the SVG, as a notebook and a file need them; a page has them as text. Default true. */
  framed?: boolean;
  /** A picture on its own, as in a README: a large title, margins, a background. Default false. */
  poster?: boolean;
}

/** The body of a figure: its parts with (0, 0) at the top left below the title. */
export interface Body {
  height: number;
  parts: readonly string[];
}

export const defaultWidth = 720;
const fontFamily = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif";
const sizes = { plain: { title: 14.5, subtitle: 12.5, margin: 0 }, poster: { title: 24, subtitle: 13.5, margin: 32 } };

/** Draw a figure of a title, a subtitle and what `draw` makes of the palette and the width. */
export function frame(
  { title, subtitle, shows }: { title: string; subtitle: string; shows: string },
  { width = defaultWidth, appearance = 'adaptive', framed = true, poster = false }: FigureOptions,
  draw: (palette: Palette, width: number) => Body,
): Figure {
  const palette = paletteOf(appearance);
  const { theme } = palette;
  const { title: titleSize, subtitle: subtitleSize, margin } = sizes[poster ? 'poster' : 'plain'];
  const inner = width - 2 * margin;
  const heads = framed
    ? [...heading(title, inner, titleSize, theme.ink, 620), ...heading(subtitle, inner, subtitleSize, theme.ink3, 400)]
    : [];
  let top = margin;
  const above = heads.map(({ content, size, fill, weight }, i) => {
    // A large title stands off from what follows it.
    if (poster && size === subtitleSize && heads[i - 1]?.size === titleSize) top += 6;
    top += round(size * 1.38);
    return text(margin, top - 4, content, fill, `font-size="${size}" font-weight="${weight}"`);
  });
  if (framed) top += poster ? 18 : 12;
  const body = draw(palette, inner);
  const height = Math.ceil(top + body.height + margin);
  const alternative = `${title}${/[.?!]$/.test(title) ? '' : '.'} ${shows}`;
  const size = `viewBox="0 0 ${width} ${height}" width="${width}" height="${height}"`;
  const svg = [
    `<svg xmlns="http://www.w3.org/2000/svg" class="kvl" ${size} role="img" aria-label="${escapeXml(alternative)}" font-family="${fontFamily}">`,
    style(framed, appearance),
    `<defs><pattern id="kvl-zero" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="6" height="6" fill="${theme.zero}"/><path d="M0 0V6" stroke="${theme.hatch}" stroke-width="1.4"/></pattern></defs>`,
    poster ? `<rect width="${width}" height="${height}" fill="${theme.background}"/>` : '',
    ...above,
    `<g transform="translate(${margin} ${top})">`,
    ...body.parts,
    '</g></svg>',
  ]
    .filter((part) => part !== '')
    .join('\n');
  return { title, subtitle, alternative, width, height, origin: { x: margin, y: top }, svg };
}

/** A page has the style of its adaptive figures once, for all of them. */
function style(framed: boolean, appearance: Appearance): string {
  if (appearance !== 'adaptive') return `<style>${pixelStyle}</style>`;
  return framed ? `<style>${adaptiveStyle()}</style>` : '';
}

/** Lines of a heading, broken by an estimate of their width in a wide typeface. */
function heading(content: string, width: number, size: number, fill: string, weight: number) {
  const most = Math.max(20, Math.floor(width / (size * (weight > 500 ? 0.6 : 0.56))));
  const lines: string[] = [];
  let line = '';
  for (const word of content.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > most) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  if (line !== '') lines.push(line);
  return lines.map((each) => ({ content: each, size, fill, weight }));
}
