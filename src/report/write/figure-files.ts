/** Every figure of a run as files: SVG that follows the reader's light or dark, and PNG at twice its size where a font is at hand. */
import { join } from 'node:path';
import { Resvg } from '@resvg/resvg-js';
import { makeFolder, PartialFile } from '../../store/files.ts';
import { drawFigure, type FigureName, type FigureRequest, figureNames } from '../catalogue.ts';
import { isMissing, type Missing } from '../data/missing.ts';
import type { RunTables } from '../data/run-tables.ts';

/** Maps need room; the others are a column of a page. */
const widths: Partial<Record<FigureName, number>> = {
  'drift-map': 960,
  thumbnails: 960,
  'cache-map': 960,
  recovery: 960,
};

export interface FigureFiles {
  /** Names of files, relative to the folder. */
  files: string[];
  /** What was not drawn, by figure. */
  missing: (Missing & { figure: FigureName })[];
  /** False: no font was found, so that there are no PNG files. */
  png: boolean;
}

/** Write the figures that the run has rows for. @throws InputError if the folder cannot be written */
export async function writeFigures(
  run: RunTables,
  folder: string,
  { focus = {}, progress = () => {} }: { focus?: FigureRequest; progress?: (done: number, of: number) => void } = {},
): Promise<FigureFiles> {
  makeFolder(folder);
  const found: FigureFiles = { files: [], missing: [], png: hasFont() };
  for (const [i, figure] of figureNames.entries()) {
    progress(i, figureNames.length);
    const request = { ...focus, width: widths[figure] ?? 720 };
    const drawn = await drawFigure(run, figure, request);
    if (isMissing(drawn)) {
      const { missing, command } = drawn;
      found.missing.push({ figure, missing, command });
      continue;
    }
    write(join(folder, `${figure}.svg`), new TextEncoder().encode(`${drawn.svg}\n`));
    found.files.push(`${figure}.svg`);
    if (!found.png) continue;
    // A renderer of files knows no variables.
    const light = await drawFigure(run, figure, { ...request, appearance: 'light' });
    if (isMissing(light)) continue;
    write(join(folder, `${figure}.png`), png(light.svg));
    found.files.push(`${figure}.png`);
  }
  return found;
}

/** A figure of plain colours as PNG. @param scale pixels for each of the figure's */
export function png(svg: string, scale = 2): Uint8Array {
  const renderer = new Resvg(svg, {
    fitTo: { mode: 'zoom', value: scale },
    font: { loadSystemFonts: true, defaultFontFamily: 'DejaVu Sans' },
    background: '#FDFDFB',
  });
  return renderer.render().asPng();
}

/** A letter leaves a mark: the system has a font. */
function hasFont(): boolean {
  const draw = (content: string) =>
    new Resvg(`<svg xmlns="http://www.w3.org/2000/svg" width="40" height="20"><text y="15">${content}</text></svg>`, {
      font: { loadSystemFonts: true },
    })
      .render()
      .pixels.some((value) => value !== 0);
  return draw('M');
}

function write(path: string, bytes: Uint8Array): void {
  const file = new PartialFile(path);
  file.write(bytes);
  file.publish();
}
