/** How figures draw what is no ordinary number: a specimen without data. */
import { frame } from '../figures/frame.ts';
import { shapePath } from '../figures/plot.ts';
import { text } from '../figures/svg.ts';
import { sequenceColor } from '../figures/theme.ts';
import { type Html, html, trustedMarkup } from './html.ts';

const side = { width: 46, height: 24, step: 112 };

export function specimen(): Html {
  const texts = {
    title: 'How this report draws what is not an ordinary number',
    subtitle: 'A specimen, no data.',
    shows: '',
  };
  const { title, subtitle, svg, alternative } = frame(texts, { width: 1120, framed: false }, ({ theme, pixels }) => {
    const box = (i: number, look: string) =>
      `<rect x="${i * side.step}" y="0" width="${side.width}" height="${side.height}" ${look}/>`;
    // Colours of the scale are pixels elsewhere: one for each theme.
    const scale = (i: number, share: number) =>
      pixels
        .map(
          ({ theme: own, className }) =>
            `<g class="${className ?? ''}">${box(i, `fill="${sequenceColor(own, share)}"`)}</g>`,
        )
        .join('');
    const glyph = (i: number, content: string, fill: string) =>
      text(i * side.step + side.width / 2, 17, content, fill, 'text-anchor="middle" font-size="14" font-weight="700"');
    const odd = `fill="${theme.background}" stroke="${theme.bad}" stroke-width="1.5"`;
    const parts = [
      { name: 'exactly 0', drawn: box(0, 'fill="url(#kvl-zero)"') },
      { name: '0.3 u', drawn: scale(1, 1 / 3) },
      { name: '10 u', drawn: scale(2, 0.84) },
      { name: 'below the scale', drawn: `${scale(3, 0)}${glyph(3, '▾', theme.ink)}` },
      { name: 'above the scale', drawn: `${scale(4, 1)}${glyph(4, '▴', theme.background)}` },
      { name: 'NaN', drawn: `${box(5, odd)}${glyph(5, '×', theme.bad)}` },
      { name: 'infinite', drawn: `${box(6, odd)}${glyph(6, '∞', theme.bad)}` },
      { name: 'not captured', drawn: box(7, `fill="none" stroke="${theme.ink3}"`) },
      {
        name: 'token flip',
        drawn: `<path d="${shapePath('diamond', 8 * side.step + side.width / 2, 12, 6)}" fill="${theme.ink}"/>`,
      },
      {
        name: 'vacuous patch',
        drawn: `${box(9, `fill="none" stroke="${theme.ink3}" stroke-dasharray="3 3"`)}${glyph(9, '∅', theme.ink3)}`,
      },
    ];
    const labels = parts.map(({ name }, i) => text(i * side.step, 42, name, theme.ink2, 'font-size="12"'));
    return { height: 50, parts: [...parts.map(({ drawn }) => drawn), ...labels] };
  });
  return html`<figure class="whole specimen"><div class="title">${title}</div><div class="subtitle">${subtitle}</div><div class="drawing" role="img" aria-label="${alternative}">${trustedMarkup(svg)}</div></figure>
`;
}
