/** Reading by block gives the same bytes as reading them one by one, in fewer reads, and holds no more than it says. */
import { describe, expect, test } from 'vitest';
import { RandomStream } from '../../../src/numerics/random.ts';
import { buffered } from '../../../src/report/client/buffered.ts';

const bytes = Uint8Array.from({ length: 103 }, (_, i) => i);
function counted(fail: (read: number) => boolean = () => false) {
  const reads: [number, number][] = [];
  const read = async (position: number, length: number) => {
    reads.push([position, length]);
    if (fail(reads.length)) throw new Error('gone');
    return bytes.slice(position, position + length);
  };
  return { reads, source: { size: bytes.length, read, close: () => Promise.resolve() } };
}

test('any place and length, within the file and beyond it', async () => {
  const { source } = counted();
  const file = buffered(source, { block: 10, most: 3 });
  const stream = new RandomStream(3, 'reads');
  for (let i = 0; i < 300; i++) {
    const [position, length] = [stream.uniform() * 120, stream.uniform() * 60].map(Math.floor);
    expect(await file.read(position, length)).toEqual(bytes.slice(position, position + length));
  }
  expect(file.size).toBe(103);
});

test('a block is read once, by several readers at once too, and never past the end', async () => {
  const { source, reads } = counted();
  const file = buffered(source, { block: 50, most: 3 });
  await Promise.all([file.read(0, 6), file.read(10, 2), file.read(40, 20), file.read(97, 6)]);
  await file.close();
  await file.read(3, 90);
  expect(reads).toEqual(
    [
      [0, 50],
      [100, 3],
      [50, 50],
    ].sort(([a], [b]) => reads.findIndex(([at]) => at === a) - reads.findIndex(([at]) => at === b)),
  );
});

test('only so many blocks are kept: the one that was read longest ago is read again', async () => {
  const { source, reads } = counted();
  const file = buffered(source, { block: 10, most: 2 });
  for (const position of [0, 10, 0, 20, 0, 10]) await file.read(position, 1);
  expect(reads.map(([position]) => position)).toEqual([0, 10, 20, 10]);
});

describe('a read that fails', () => {
  test('fails, and is tried again', async () => {
    const { source } = counted((read) => read === 1);
    const file = buffered(source, { block: 10 });
    await expect(file.read(0, 5)).rejects.toThrow('gone');
    expect(await file.read(0, 5)).toEqual(bytes.slice(0, 5));
  });

  test('or gives less than the file should have, ends there', async () => {
    const file = buffered({ size: 103, read: async () => bytes.slice(0, 4), close: () => Promise.resolve() });
    expect(await file.read(0, 10)).toEqual(bytes.slice(0, 4));
    expect(await file.read(50, 10)).toEqual(new Uint8Array());
  });
});
