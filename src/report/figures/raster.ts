/**
 * Heat-map bodies as images of one pixel per cell: a palette PNG for each theme, so that 100,000 cells are a few kilobytes.
 * Index 0 is transparent: what lies below – the hatching of an exact 0 – shows through.
 */
import { zlibSync } from 'fflate';
import { round } from './svg.ts';
import type { Palette, Theme } from './theme.ts';

/** Cells by row, from the top left: each an index into the colours. */
export interface Raster {
  width: number;
  height: number;
  indices: Uint8Array;
}

export interface RasterPlace {
  x: number;
  y: number;
  width: number;
  height: number;
}

/**
 * The image over a place of the figure.
 * @param colors `#RRGGBB` of each index of a theme, from 1 on: at most 255
 */
export function rasterImage(
  raster: Raster,
  place: RasterPlace,
  { pixels }: Palette,
  colors: (theme: Theme) => readonly string[],
): string {
  const box = `x="${round(place.x)}" y="${round(place.y)}" width="${round(place.width)}" height="${round(place.height)}"`;
  return pixels
    .map(({ theme, className }) => {
      const own = className === null ? '' : ` class="${className}"`;
      const png = base64(encodePng(raster, colors(theme)));
      return `<image${own} ${box} preserveAspectRatio="none" image-rendering="optimizeSpeed" href="data:image/png;base64,${png}"/>`;
    })
    .join('');
}

const signature = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

/**
 * A palette PNG (PNG specification, 3rd edition, §11.2): colour type 3, eight bits.
 * @throws RangeError for an image without cells, of another size than its indices, or with more than 255 colours
 */
export function encodePng({ width, height, indices }: Raster, colors: readonly string[]): Uint8Array {
  if (width < 1 || height < 1 || indices.length !== width * height) {
    throw new RangeError(`encodePng: found ${indices.length} cells, expected ${width} × ${height}, at least one`);
  }
  if (colors.length > 255) throw new RangeError(`encodePng: found ${colors.length} colours, expected at most 255`);
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set([8, 3, 0, 0, 0], 8);
  const palette = Uint8Array.from(
    ['#000000', ...colors].flatMap((color) => [1, 3, 5].map((at) => Number.parseInt(color.slice(at, at + 2), 16))),
  );
  // Each line begins with its filter: none.
  const lines = new Uint8Array((width + 1) * height);
  for (let y = 0; y < height; y++) lines.set(indices.subarray(y * width, (y + 1) * width), y * (width + 1) + 1);
  const parts = [
    Uint8Array.from(signature),
    chunk('IHDR', header),
    chunk('PLTE', palette),
    chunk('tRNS', Uint8Array.of(0)),
    chunk('IDAT', zlibSync(lines, { level: 9 })),
    chunk('IEND', new Uint8Array()),
  ];
  const png = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    png.set(part, at);
    at += part.length;
  }
  return png;
}

function chunk(type: string, data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(data.length + 12);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  for (let i = 0; i < 4; i++) bytes[4 + i] = type.charCodeAt(i);
  bytes.set(data, 8);
  view.setUint32(8 + data.length, crc32(bytes.subarray(4, 8 + data.length)));
  return bytes;
}

/** Annex D of the specification: the polynomial 0xedb88320, reflected. */
function crc32(bytes: Uint8Array): number {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

/** In pieces: a call takes no more than some ten thousand arguments. */
function base64(bytes: Uint8Array): string {
  let text = '';
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(text);
}
