/** Random damage to a checkpoint's headers: it opens with the same shapes, or it is refused; nothing else ever happens. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { InputError } from '../../src/errors.ts';
import { removeCheckpoint } from '../tiny-checkpoint.ts';
import { shard, tinyCheckpoint, tokenizer, weights } from './breaking.ts';

const whole = tinyCheckpoint();
const sharded = tinyCheckpoint();
let shapes: unknown;
const shapesOf = async (dir: string) => [...(await openCheckpoint(dir)).tensors.values()].map(({ shape }) => shape);
beforeAll(async () => {
  tokenizer()(whole);
  shard(sharded);
  shapes = await shapesOf(whole);
});
afterAll(() => [whole, sharded].map(removeCheckpoint));

/** Whole numbers below n from a 32-bit linear congruential generator. */
function random(seed: number): (n: number) => number {
  let state = seed;
  return (n) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
}

/** Bytes that mean something in JSON, tried as often as random ones. */
const telling = Buffer.from('{}[]",:0123456789-.eE\\ntf\n\0\x7f\xff', 'latin1');

/** One to three damaged bytes, or a cut, within the first `region` bytes. */
function damage(content: Buffer, region: number, next: (n: number) => number): Buffer {
  if (next(8) === 0) return content.subarray(0, next(region));
  const damaged = Buffer.from(content);
  for (let left = 1 + next(3); left > 0; left--) {
    damaged[next(region)] = next(2) === 0 ? next(256) : telling[next(telling.length)];
  }
  return damaged;
}

test.each([
  ['a safetensors header', whole, weights, (content: Buffer) => 8 + Number(content.readBigUInt64LE())],
  ['a shard header', sharded, 'b.safetensors', (content: Buffer) => 8 + Number(content.readBigUInt64LE())],
  ['an index', sharded, 'model.safetensors.index.json', (content: Buffer) => content.length],
  ['config.json', whole, 'config.json', (content: Buffer) => content.length],
  ['tokenizer.json', whole, 'tokenizer.json', (content: Buffer) => content.length],
])('400 kinds of damage to %s', async (_, dir, name, region) => {
  const path = join(dir, name);
  const content = readFileSync(path);
  const next = random(name.length);
  let refused = 0;
  for (let i = 0; i < 400; i++) {
    const damaged = damage(content, region(content), next);
    writeFileSync(path, damaged);
    try {
      const found = await shapesOf(dir);
      expect(found).toEqual(shapes);
    } catch (error) {
      const header = damaged.subarray(0, Math.min(damaged.length, region(content))).toString('latin1');
      if (!(error instanceof InputError)) throw new Error(`damage ${i}: ${header}`, { cause: error });
      expect(error.message).not.toMatch(/[\p{Cc}\p{Zl}\p{Zp}]/u);
      refused += 1;
    }
  }
  writeFileSync(path, content);
  expect(refused).toBeGreaterThan(100);
});
