/** Palette PNGs, taken apart again with the runtime's own zlib. */
import { crc32, inflateSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { encodePng, rasterImage } from '../../../src/report/figures/raster.ts';
import { paletteOf, themes } from '../../../src/report/figures/theme.ts';

/** Chunks by type, each checked: length, CRC over type and data. */
function chunksOf(png: Uint8Array): Map<string, Buffer> {
  const bytes = Buffer.from(png);
  expect([...bytes.subarray(0, 8)]).toEqual([0x89, ...Buffer.from('PNG\r\n'), 0x1a, 0x0a]);
  const chunks = new Map<string, Buffer>();
  for (let at = 8; at < bytes.length; ) {
    const length = bytes.readUInt32BE(at);
    const data = bytes.subarray(at + 8, at + 8 + length);
    expect(bytes.readUInt32BE(at + 8 + length)).toBe(crc32(bytes.subarray(at + 4, at + 8 + length)));
    chunks.set(bytes.toString('latin1', at + 4, at + 8), data);
    at += length + 12;
  }
  return chunks;
}

describe('a palette PNG', () => {
  const raster = { width: 3, height: 2, indices: Uint8Array.of(0, 1, 2, 2, 0, 1) };
  const chunks = chunksOf(encodePng(raster, ['#FF8000', '#010203']));

  test('holds size, colours and cells, in chunks whose sums are right', () => {
    expect([...chunks.keys()]).toEqual(['IHDR', 'PLTE', 'tRNS', 'IDAT', 'IEND']);
    expect([...chunks.get('IHDR')!]).toEqual([0, 0, 0, 3, 0, 0, 0, 2, 8, 3, 0, 0, 0]);
    expect([...chunks.get('PLTE')!]).toEqual([0, 0, 0, 255, 128, 0, 1, 2, 3]);
    expect([...inflateSync(chunks.get('IDAT')!)]).toEqual([0, 0, 1, 2, 0, 2, 0, 1]);
  });

  test('is transparent in cells of index 0 alone', () => {
    expect([...chunks.get('tRNS')!]).toEqual([0]);
  });

  test('refuses cells that do not fill it, none, and more colours than indices', () => {
    expect(() => encodePng({ ...raster, width: 4 }, [])).toThrow('found 6 cells, expected 4 × 2');
    expect(() => encodePng({ width: 0, height: 0, indices: new Uint8Array() }, [])).toThrow(RangeError);
    expect(() =>
      encodePng(
        raster,
        Array.from({ length: 256 }, () => '#000000'),
      ),
    ).toThrow('found 256 colours');
  });
});

test('an adaptive figure has an image for each theme, another one a single image', () => {
  const raster = { width: 1, height: 1, indices: Uint8Array.of(1) };
  const place = { x: 0, y: 0, width: 10, height: 10 };
  const imagesOf = (appearance: 'light' | 'adaptive') =>
    [...rasterImage(raster, place, paletteOf(appearance), ({ bad }) => [bad]).matchAll(/base64,([^"]+)/g)].map(
      ([, data]) => [...chunksOf(Buffer.from(data, 'base64')).get('PLTE')!.subarray(3)],
    );
  const colour = (hex: string) => [1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16));
  expect(imagesOf('adaptive')).toEqual([colour(themes.light.bad), colour(themes.dark.bad)]);
  expect(imagesOf('light')).toEqual([colour(themes.light.bad)]);
});
