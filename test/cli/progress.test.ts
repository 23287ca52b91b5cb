import { expect, test } from 'vitest';
import { progressState } from '../../src/cli/commands/study.ts';
import type { Io } from '../../src/cli/io.ts';
import { duration, Progress, progressLine } from '../../src/cli/progress.ts';

function recorder(progressColumns: number | null) {
  const written: string[] = [];
  let time = 0;
  const io: Io = {
    out: () => {},
    err: (text) => written.push(text),
    columns: 80,
    color: false,
    unicode: true,
    progressColumns,
    debug: false,
  };
  return { io, written, now: () => time, at: (seconds: number) => (time = seconds * 1000) };
}
const state = (done: number) => ({ label: 'm', done, total: 40, unit: 'prompts' });

test('a line has units done, share, rate, estimate and note', () => {
  expect(progressLine({ ...state(12), note: '2 flips' }, 4)).toBe('m  12/40 prompts (30 %)  3/s  10 s left  2 flips');
  expect(progressLine(state(1), 20)).toBe('m  1/40 prompts (2 %)  20 s each  13 min left');
  expect(progressLine({ ...state(1500), total: null }, 10)).toBe('m  1,500 prompts  150/s');
  expect(progressLine(state(0), 3)).toBe('m  0/40 prompts (0 %)');
});

test('a study says its units, its flips and its condition', () => {
  const study = { stage: 'units', done: 12, total: 40, from: 2, flips: 3, condition: 'm/fp16/ort/greedy' } as const;
  expect(progressLine(progressState('quick', study), 5)).toBe(
    'quick  12/40 units (30 %)  2/s  14 s left  3 flips  m/fp16/ort/greedy',
  );
  expect(progressLine(progressState('quick', { ...study, stage: 'gates' }), 5)).toMatch(
    /^quick gates {2}12\/40 groups/,
  );
});

test('durations read as people say them', () => {
  expect([0.2, 9, 89.5, 240, 3900, 7500].map(duration)).toEqual([
    '1 s',
    '9 s',
    '90 s',
    '4 min',
    '65 min',
    '2 h 05 min',
  ]);
});

test('nothing is said in the first two seconds, then a line every five without a terminal', () => {
  const { io, written, now, at } = recorder(null);
  const progress = new Progress(io, false, now);
  for (let second = 0; second <= 12; second++) {
    at(second);
    progress.update(state(second));
  }
  progress.end();
  expect(written.map((line) => line.split('  ')[1])).toEqual([
    '2/40 prompts (5 %)',
    '7/40 prompts (17 %)',
    '12/40 prompts (30 %)',
  ]);
  expect(written.every((line) => line.endsWith('\n'))).toBe(true);
});

test('a terminal gets one line that is rewritten, cut to its width, and removed at the end', () => {
  const { io, written, now, at } = recorder(20);
  const progress = new Progress(io, false, now);
  at(3);
  progress.update(state(3));
  progress.end();
  expect(written).toEqual(['\r\x1b[Km  3/40 prompts (7 ', '\r\x1b[K']);
});

test('--quiet says nothing', () => {
  const { io, written, now, at } = recorder(80);
  const progress = new Progress(io, true, now);
  at(60);
  progress.update(state(3));
  progress.end();
  expect(written).toEqual([]);
});

test('bytes are sizes and speeds; what was there before is no part of the rate', () => {
  const bytes = { label: 'model.safetensors', unit: 'bytes', total: 14_500_000_000 };
  expect(progressLine({ ...bytes, done: 4_000_000_000, from: 3_000_000_000 }, 10)).toBe(
    'model.safetensors  4.0 GB/15 GB (27 %)  100 MB/s  2 min left',
  );
  expect(progressLine({ ...bytes, done: 3_000_000_000, from: 3_000_000_000 }, 0)).toBe(
    'model.safetensors  3.0 GB/15 GB (20 %)',
  );
});
