/** Captured values come back from activations/KIND.arrow bit for bit. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { FixedSizeList, List } from 'apache-arrow';
import { describe, expect, test } from 'vitest';
import { bfloat16Bits, decodeBfloat16, decodeFloat16 } from '../../src/numerics/half.ts';
import type { StorageType } from '../../src/numerics/types.ts';
import { type ActivationFileOptions, type ActivationRow, ActivationWriter } from '../../src/store/activation-writer.ts';
import { openArrow } from '../../src/store/reader.ts';
import { temporaryFolder } from './folder.ts';

const folder = temporaryFolder();
const text = { condition: 'tiny-fp16', prompt: 'p', arm: 'cached', hook: 'blocks.0.hook_resid_post' };
const options = (dtype: StorageType, shape: (number | null)[]): ActivationFileOptions => ({
  shape,
  axes: shape.map((_, i) => `axis${i}`),
  dtype,
  identity: { model: 'tiny' },
  dictionaries: { condition: [text.condition], prompt: ['o', text.prompt], hook: [text.hook] },
});
const row = (step: number, value: ActivationRow['value']): ActivationRow => {
  return { ...text, step, position: step + 4, token: step + 5, layer: step === 0 ? -1 : 0, value };
};

let files = 0;
function write(given: ActivationFileOptions, rows: Iterable<ActivationRow>): string {
  const path = join(folder, `kind-${files++}.arrow`);
  const writer = new ActivationWriter(path, given);
  for (const one of rows) writer.add(one);
  writer.close();
  return path;
}

type Values = Uint16Array | Float32Array | Float64Array;

/** The stored elements of every row, and the rest of the file. */
async function read(path: string) {
  const file = await openArrow(path);
  const rows: Values[] = [];
  const positions: number[] = [];
  for (let index = 0; index < file.batchCount; index++) {
    const batch = await file.batch(index);
    positions.push(...(batch.getChild('position')!.toArray() as Int32Array));
    const [data] = batch.getChild('value')!.data;
    const { values } = data.children[0] as unknown as { values: Values };
    for (let i = 0; i < data.length; i++) {
      const size = data.type instanceof FixedSizeList ? data.type.listSize : null;
      const begin = size === null ? data.valueOffsets[i] : i * size;
      rows.push(values.subarray(begin, size === null ? data.valueOffsets[i + 1] : begin + size));
    }
  }
  const table = await file.table();
  await file.close();
  return { rows, positions, table, schema: file.schema, batches: file.batchCount };
}

const bytesOf = ({ buffer, byteOffset, byteLength }: ActivationRow['value'] | Values) =>
  Buffer.from(buffer, byteOffset, byteLength);

const every16Bits = Uint16Array.from({ length: 65_536 }, (_, bits) => bits);

test('all 65,536 binary16 numbers keep their bits; NaN stays NaN', async () => {
  const { rows, schema } = await read(write(options('f16', [65_536]), [row(0, decodeFloat16(every16Bits))]));
  expect(String(schema.fields.at(-1)?.type)).toBe('FixedSizeList[65536]<Float16>');
  const wrong = every16Bits.filter((bits) => {
    const isNaN16 = (bits & 0x7fff) > 0x7c00;
    return isNaN16 ? (rows[0][bits] & 0x7fff) <= 0x7c00 : rows[0][bits] !== bits;
  });
  expect([...wrong]).toEqual([]);
});

test('doubles that are binary16 numbers are stored as such', async () => {
  const value = Float64Array.of(1, -0, 2 ** -24, -65504, Infinity, 2 ** -14 - 2 ** -24);
  const { rows } = await read(write(options('f16', [6]), [row(0, value)]));
  expect([...rows[0]]).toEqual([0x3c00, 0x8000, 0x0001, 0xfbff, 0x7c00, 0x03ff]);
});

test('all bfloat16 numbers keep their bits, as float32', async () => {
  const values = decodeBfloat16(every16Bits);
  const { rows, schema } = await read(write(options('bf16', [65_536]), [row(0, values)]));
  expect(String(schema.fields.at(-1)?.type)).toBe('FixedSizeList[65536]<Float32>');
  expect(schema.metadata.get('dtype')).toBe('bf16');
  expect(bytesOf(rows[0]).equals(bytesOf(values))).toBe(true);
  const again = Uint16Array.from(rows[0], bfloat16Bits);
  expect([...every16Bits.filter((bits) => (bits & 0x7fff) <= 0x7f80 && again[bits] !== bits)]).toEqual([]);
});

describe.each([
  ['f32', Float32Array.of(0, -0, 1e-45, -1.1754942e-38, 3.4028235e38, Infinity, -Infinity, NaN, 0.1)],
  ['f64', Float64Array.of(0, -0, 5e-324, -2.2250738585072009e-308, Number.MAX_VALUE, Infinity, -Infinity, NaN, 0.1)],
] as const)('%s', (dtype, value) => {
  test('subnormals, −0, infinities and NaN keep their bits', async () => {
    const { rows } = await read(write(options(dtype, [3, 3]), [row(0, value), row(1, value.toReversed())]));
    expect(bytesOf(rows[0]).equals(bytesOf(value))).toBe(true);
    expect(bytesOf(rows[1]).equals(bytesOf(value.toReversed()))).toBe(true);
  });
});

test('ragged rows are lists, each as long as it was, empty ones too', async () => {
  const lengths = [1, 0, 5, 2, 0, 7];
  const values = lengths.map((length, i) => Float32Array.from({ length }, (_, j) => i + j / 8));
  const { rows, schema } = await read(
    write(
      options('f16', [4, null]),
      values.map((value, i) => row(i, value)),
    ),
  );
  expect(schema.fields.at(-1)?.type).toBeInstanceOf(List);
  expect(schema.metadata.get('shape')).toBe('[4,null]');
  expect(rows.map((one) => [...decodeFloat16(one as Uint16Array)])).toEqual(values.map((value) => [...value]));
});

test('rows over several batches stay in order, with all their columns', async () => {
  const size = 2 ** 16;
  const value = (i: number) => Float32Array.from({ length: size }, (_, j) => (i + 1) * 2 ** (j % 8));
  const given = Array.from({ length: 80 }, (_, i) => row(i, value(i)));
  const { rows, positions, table, batches } = await read(write(options('f32', [size]), given));
  expect(batches).toBe(3);
  expect(positions).toEqual(given.map(({ position }) => position));
  rows.forEach((one, i) => {
    expect(bytesOf(one).equals(bytesOf(value(i))), `row ${i}`).toBe(true);
  });
  expect([...table.getChild('layer')!].slice(0, 3)).toEqual([-1, 0, 0]);
  expect([...table.getChild('token')!]).toEqual(given.map(({ token }) => token));
  for (const [name, expected] of Object.entries(text)) {
    expect(new Set(table.getChild(name)!)).toEqual(new Set([expected]));
  }
});

test('a row that is part of a larger array brings only its own values', async () => {
  const { rows } = await read(write(options('f16', [2]), [row(0, Float32Array.of(1, 2, 3, 4, 5).subarray(1, 3))]));
  expect([...decodeFloat16(rows[0] as Uint16Array)]).toEqual([2, 3]);
});

test('equal rows give equal bytes', () => {
  const rows = [row(0, Float32Array.of(1, 2)), row(1, Float32Array.of(NaN, -0))];
  const [first, second] = [write(options('f16', [2]), rows), write(options('f16', [2]), rows)];
  expect(readFileSync(first).equals(readFileSync(second))).toBe(true);
});

test('a hook that was not declared is a bug, named', () => {
  const writer = new ActivationWriter(join(folder, 'bug.arrow'), options('f32', [1]));
  writer.add({ ...row(0, Float32Array.of(1)), hook: 'other' });
  expect(() => writer.close()).toThrow(/hook "other" was not declared/);
  writer.abort();
});
