/** Shards: merged, they are the whole, byte for byte; what is no whole set of one study's shards is refused. */
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { InputError } from '../../../src/errors.ts';
import { mergeShards } from '../../../src/study/run/merge.ts';
import type { StudyResult } from '../../../src/study/run/publish.ts';
import { resolved, run, temporaryFolder, tinyStudy, unlike } from './tiny-study.ts';

const folder = temporaryFolder();
const whole = join(folder, 'whole');
const shardOf = (index: number, of: number) => join(folder, `shard-${index}-of-${of}`);
const of3 = [1, 2, 3].map((index) => shardOf(index, 3));
const input = tinyStudy();
let result: StudyResult;
beforeAll(async () => {
  const study = await resolved(input);
  result = await run(study, whole);
  for (const of of [1, 3]) {
    for (let index = 1; index <= of; index++) await run(study, shardOf(index, of), { shard: { index, of } });
  }
});

let copies = 0;
/** Copies of the three shards, to be spoilt. */
function copied(): [string, string, string] {
  const set = join(folder, `set-${++copies}`);
  of3.forEach((shard, i) => {
    cpSync(shard, join(set, `${i}`), { recursive: true });
  });
  return [join(set, '0'), join(set, '1'), join(set, '2')];
}
const out = () => join(folder, `merged-${++copies}`);
const units = (shard: string) => join(shard, 'units.jsonl');
const merge = (folders: readonly string[], to = out(), resume = false) => mergeShards({ folders, out: to, resume });

describe('merged', () => {
  test('three shards in any order are the whole study, byte for byte, and so is the result', async () => {
    for (const order of [of3, [of3[2], of3[0], of3[1]]]) {
      const to = out();
      const { result: merged, run: path } = await merge(order, to);
      expect(path).toBe(to);
      expect(unlike(to, whole)).toEqual([]);
      expect(merged).toEqual(result);
    }
  });

  test('one shard of one is the whole study', async () => {
    const to = out();
    await merge([shardOf(1, 1)], to);
    expect(unlike(to, whole)).toEqual([]);
  });

  test('more shards than units: those without any are merged like the others', async () => {
    const study = await resolved({ ...input, strategies: ['greedy'], prompts: { ...input.prompts, limit: 2 } });
    const [small, to] = [join(folder, 'small'), out()];
    const expected = await run(study, small);
    const shards = [1, 2, 3].map((index) => join(folder, `small-${index}`));
    for (const [i, path] of shards.entries()) {
      const { units } = await run(study, path, { shard: { index: i + 1, of: 3 } });
      expect(units).toBe([1, 1, 0][i]);
    }
    const { result: merged } = await merge(shards, to);
    expect(unlike(to, small)).toEqual([]);
    expect(merged).toEqual(expected);
  });

  test('the shards are left as they are', async () => {
    const shards = copied();
    await merge(shards);
    shards.forEach((shard, i) => {
      expect(unlike(shard, of3[i])).toEqual([]);
    });
  });

  test('cut short by a kill, a merge is refused without --resume and done again with it', async () => {
    const [finished, killed] = [out(), out()];
    await merge(of3, finished);
    const identity: unknown = JSON.parse(readFileSync(join(finished, 'manifest.json'), 'utf8')).identity;
    // What a kill leaves: the journal that says what the folder is, a part of a file, and one that had its name already.
    cpSync(finished, killed, { recursive: true });
    for (const name of readdirSync(killed)) if (name !== 'prompts.arrow') rmSync(join(killed, name));
    writeFileSync(join(killed, '.steps.arrow.partial'), 'ARROW1');
    const head = { format: 2, identity: { ...(identity as object), merge: 3 } };
    writeFileSync(join(killed, 'journal.jsonl'), `${JSON.stringify(head)}\n`);
    await expect(merge(of3, killed)).rejects.toThrow(/the folder is not empty/);
    await merge(of3, killed, true);
    expect(unlike(killed, whole)).toEqual([]);
  });

  test('a finished merge is said again with --resume, and another study’s shards are not', async () => {
    const to = out();
    const { result: merged } = await merge(of3, to);
    const before = readFileSync(join(to, 'manifest.json'));
    const again = await merge(of3, to, true);
    expect(again.result).toEqual(JSON.parse(JSON.stringify(merged)));
    expect(readFileSync(join(to, 'manifest.json')).equals(before)).toBe(true);
    await expect(merge(of3, of3[0], true)).rejects.toThrow(/is one of the shards/);
    const study = await resolved({ ...input, seed: 5 });
    const other = join(folder, 'other-seed');
    await run(study, other, { shard: { index: 1, of: 1 } });
    await expect(merge([other], to, true)).rejects.toThrow(
      /--resume: .* holds another finished run: .*seed was 0, is 5/,
    );
  });
});

describe('refused', () => {
  const refusal = async (folders: readonly string[], message: RegExp, to = out()) => {
    const existed = existsSync(to);
    await expect(merge(folders, to)).rejects.toThrow(InputError);
    await expect(merge(folders, to)).rejects.toThrow(message);
    expect(existsSync(to)).toBe(existed);
  };

  test('a missing shard is named', async () => {
    await refusal([of3[2]], /--merge: found 1 of 3 shards, missing: 1, 2$/);
    await refusal([of3[0], of3[2]], /--merge: found 2 of 3 shards, missing: 2$/);
  });

  test('a shard twice', async () => {
    const [copy] = copied();
    await refusal([...of3, copy], /shard-1-of-3 and .* are both shard 1 of 3$/);
    await refusal([of3[0], of3[0]], /are both shard 1 of 3$/);
  });

  test('a shard of another study, with what differs', async () => {
    const study = await resolved({ ...input, seed: 1, maxNewTokens: 10 });
    const other = join(folder, 'other-study');
    await run(study, other, { shard: { index: 2, of: 3 } });
    await refusal(
      [of3[0], other, of3[2]],
      /other-study is of another study than .*shard-1-of-3: .*seed was 0, is 1; settings\.maxNewTokens was 12, is 10$/,
    );
  });

  test('a shard made on another processor, with both', async () => {
    const [a, b, c] = copied();
    const [head, ...rest] = readFileSync(units(b), 'utf8').split('\n');
    const changed: { identity: { machine: unknown } } = JSON.parse(head);
    changed.identity.machine = { cpu: 'Another CPU', hash: '000000000000' };
    writeFileSync(units(b), [JSON.stringify(changed), ...rest].join('\n'));
    await refusal([a, b, c], /machine\.cpu was ".+", is "Another CPU"; machine\.hash was ".+", is "000000000000"$/);
  });

  test('a shard of another division', async () => {
    await refusal([of3[0], shardOf(1, 1)], /shard-1-of-1 is shard 1 of 1, expected one of 3 as .*shard-1-of-3$/);
  });

  test('a changed file that all shards have in common', async () => {
    const [a, b, c] = copied();
    const path = join(b, 'prompts.arrow');
    const bytes = readFileSync(path);
    bytes[bytes.length >> 1] ^= 1;
    writeFileSync(path, bytes);
    await refusal([a, b, c], /1.prompts\.arrow is not equal to .*0.prompts\.arrow$/);
  });

  test('an unfinished shard, which says how to go on', async () => {
    const [a, b, c] = copied();
    renameSync(units(b), join(b, 'journal.jsonl'));
    const error: unknown = await merge([a, b, c]).catch((caught: unknown) => caught);
    expect(error).toMatchObject({
      message: `--merge: ${b} holds an unfinished shard`,
      hint: `go on with --resume --out ${b}`,
    });
  });

  test.each(['units of its end', 'the end of a unit', 'all but its first line'])(
    'a shard that lacks %s',
    async (what) => {
      const [a, b, c] = copied();
      const text = readFileSync(units(b), 'utf8');
      const lines = text.split('\n').slice(0, -1);
      if (what === 'units of its end') writeFileSync(units(b), `${lines.slice(0, -1).join('\n')}\n`);
      else if (what === 'the end of a unit') truncateSync(units(b), text.length - 10);
      else writeFileSync(units(b), `${lines[0]}\n`);
      const expected =
        what === 'all but its first line'
          ? /gates of .* are not those of|units\.jsonl holds 0 of the 3 units of shard 2\/3$/
          : /1.units\.jsonl holds [23] of the [34] units of shard 2\/3$/;
      await refusal([a, b, c], expected);
    },
  );

  test('a shard whose gates are others', async () => {
    const [a, b, c] = copied();
    writeFileSync(units(c), readFileSync(units(c), 'utf8').replace('"measured":"0 of', '"measured":"1 of'));
    await refusal([a, b, c], /gates of .*2 are not those of .*0: gates\[\d+\]\.measured was "0 of.*, is "1 of/);
  });

  test('a row with a value too many, and one of another type', async () => {
    const damaged = async (change: (row: string) => string) => {
      const [a, b, c] = copied();
      const text = readFileSync(units(c), 'utf8');
      const from = text.indexOf('"steps":[[') + '"steps":[['.length;
      const to = text.indexOf(']', from);
      writeFileSync(units(c), text.slice(0, from) + change(text.slice(from, to)) + text.slice(to));
      await refusal([a, b, c], /units\.jsonl: unit \d+ is not what a study writes$/);
    };
    await damaged((row) => `${row},null`);
    await damaged((row) => row.slice(0, row.lastIndexOf(',')));
    await damaged((row) => row.replace(/^"[^"]*"/, '7'));
  });

  /** A copy of the only shard of one, whose lines – its identity, and its units – are changed. */
  const changedLines = (change: (line: string, number: number) => string) => {
    const copy = join(folder, `changed-${++copies}`);
    cpSync(shardOf(1, 1), copy, { recursive: true });
    writeFileSync(units(copy), readFileSync(units(copy), 'utf8').split('\n').map(change).join('\n'));
    return copy;
  };

  test.each<[string, (identity: Record<string, unknown>) => object]>([
    ['no factors', () => ({ factors: {} })],
    ['factors that are no list', ({ factors }) => ({ factors: { ...(factors as object), models: 5 } })],
    [
      'a model without a configuration',
      ({ factors }) => ({ factors: { ...(factors as object), models: [{ name: 'm' }] } }),
    ],
    ['no settings', () => ({ settings: {} })],
    ['a number of prompts that is none', () => ({ prompts: { tiny: -1 } })],
  ])('an identity with %s', async (_, change) => {
    const copy = changedLines((line, number) => {
      if (number > 0) return line;
      const head: { identity: Record<string, unknown> } = JSON.parse(line);
      return JSON.stringify({ ...head, identity: { ...head.identity, ...change(head.identity) } });
    });
    await refusal([copy], /^--merge: .*units\.jsonl is not of a shard of a study$/);
  });

  test('an identity of more prompts than there are, at once, and of fewer', async () => {
    for (const prompts of [1e9, 4]) {
      const copy = changedLines((line, number) =>
        number > 0 ? line : line.replace(/"prompts":\{"([^"]+)":5\}/, `"prompts":{"$1":${prompts}}`),
      );
      const began = performance.now();
      await expect(merge([copy])).rejects.toThrow(
        prompts === 4
          ? /units\.jsonl: (the line at byte \d+ is not what a study writes|prompts of .*: found 4, expected 5, as in)/
          : /units\.jsonl: prompts of .*: found 1000000000, expected 5, as in .*prompts\.arrow$/,
      );
      expect(performance.now() - began).toBeLessThan(10_000);
    }
  });

  test.each([
    ['a protocol', /"steps":\[\["[\w-]+"/, '"steps":[["zz"'],
    ['an arm', /"answers":\[\["[\w-]+"/, '"answers":[["foo"'],
    ['a prompt', /"prompt":"p\d"/, '"prompt":"nosuch"'],
    ['a condition', /"condition":0/, '"condition":99'],
  ])('a unit with %s that the study lacks, and nothing is left of the merge', async (_, found, instead) => {
    const copy = changedLines((line) => line.replace(found, instead));
    expect(readFileSync(units(copy), 'utf8')).toContain(instead);
    await refusal([copy], /units\.jsonl: unit \d+ is not what a study writes$/);
  });

  test('a shard that lacks a file that all have in common, or has another one in its place', async () => {
    const [a, b, c] = copied();
    rmSync(join(b, 'vocab.arrow'));
    await refusal([a, b, c], /--merge: .*1.vocab\.arrow cannot be read \(ENOENT\)$/);
    const only = changedLines((line) => line);
    writeFileSync(join(only, 'prompts.arrow'), 'no table');
    await refusal([only], /prompts\.arrow: /);
    const rows = changedLines((line) => line);
    const manifest = join(rows, 'manifest.json');
    writeFileSync(manifest, readFileSync(manifest, 'utf8').replace(/"prompts\.arrow": \d+/, '"prompts.arrow": "5"'));
    await refusal([rows], /manifest\.json: provenance\.rows\.prompts\.arrow: found "5", expected a whole number$/);
  });

  test('folders that hold no shard', async () => {
    await refusal([whole], /--merge: .*whole holds no shard$/);
    await refusal([join(folder, 'nothing')], /--merge: .*nothing holds no shard$/);
    const [a] = copied();
    writeFileSync(units(a), '{"format":2,"identity":{"command":"patch"}}\n');
    await refusal([a], /--merge: .*units\.jsonl is not of a shard of a study$/);
    rmSync(units(a));
    mkdirSync(units(a));
    await refusal([a], /units\.jsonl: is a folder, expected the journal of a run$/);
  });

  test('a folder that is in use, and one of the shards, as the place for the whole', async () => {
    await refusal(of3, /--out .*shard-2-of-3: is one of the shards/, of3[1]);
    await refusal(of3, /--out .*whole: the folder is not empty/, whole);
    expect(existsSync(units(of3[1]))).toBe(true);
  });
});
