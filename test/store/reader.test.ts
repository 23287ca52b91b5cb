/** An Arrow file that is not whole is refused in one line. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { InputError } from '../../src/errors.ts';
import { TableWriter } from '../../src/store/arrow-writer.ts';
import { openArrow } from '../../src/store/reader.ts';
import { temporaryFolder } from './folder.ts';

const folder = temporaryFolder();
const whole = join(folder, 'vocab.arrow');
const writer = new TableWriter(whole, 'vocab', {}, { model: ['tiny'] });
for (let id = 0; id < 40_000; id++) writer.add({ id, string: `t${id}`, bytes: Uint8Array.of(id & 255), model: 'tiny' });
writer.close();
const content = readFileSync(whole);

async function refusal(path: string): Promise<InputError> {
  const error: unknown = await openArrow(path).then(
    (file) => file.close(),
    (reason: unknown) => reason,
  );
  if (!(error instanceof InputError)) throw new Error(`expected a refusal of ${path}`, { cause: error });
  return error;
}

async function refusesCut(length: number): Promise<void> {
  const path = join(folder, 'cut.arrow');
  writeFileSync(path, content.subarray(0, length < 0 ? content.length + length : length));
  const { message } = await refusal(path);
  expect(message).toMatch(/cut\.arrow: not a complete Arrow file \(.+\)$/);
  expect(message).not.toContain('\n');
}

test.each([0, 1, 5, 6, 7, 8, 9, 10, 16, 100, 1000, 5000, 100_000, -1000, -100, -11, -10, -9, -7, -6, -5, -1])(
  'cut to %i bytes',
  refusesCut,
);

// The library does not look for ARROW1 at the end, and finds an empty table.
test('cut to -4 bytes', () => refusesCut(-4));

test.each([
  ['text', Buffer.from('condition,prompt\n')],
  ['zeros', Buffer.alloc(4096)],
  ['a stream of batches without a footer', content.subarray(8, content.length - 200)],
  ['a footer longer than the file', withFooterLength(2 ** 30)],
  ['a footer of negative length', withFooterLength(-5)],
  ['a footer of length 0', withFooterLength(0)],
])('%s', async (_, bytes) => {
  const path = join(folder, 'other.arrow');
  writeFileSync(path, bytes);
  expect((await refusal(path)).message).toMatch(/other\.arrow: not a complete Arrow file/);
});

test('a file that is not there, and a folder', async () => {
  expect((await refusal(join(folder, 'none'))).message).toMatch(/none: cannot be opened \(ENOENT\)/);
  mkdirSync(join(folder, 'sub'), { recursive: true });
  expect((await refusal(join(folder, 'sub'))).message).toMatch(/sub: (not a complete Arrow file|cannot be opened)/);
});

test('batches are read one at a time, in any order, and together', async () => {
  const file = await openArrow(whole);
  expect(file.batchCount).toBe(3);
  const [last, first] = [await file.batch(2), await file.batch(0)];
  expect(first.getChild('id')?.get(0)).toBe(0);
  expect(last.getChild('id')?.get(0)).toBe(32_768);
  const ids = (await file.table()).getChild('id')!.toArray() as Int32Array;
  expect(ids).toEqual(Int32Array.from({ length: 40_000 }, (_, id) => id));
  await file.close();
});

function withFooterLength(length: number): Buffer {
  const changed = Buffer.from(content);
  changed.writeInt32LE(length, changed.length - 10);
  return changed;
}
