/** How a run is fitted into memory, and that both ways write the same bytes from the command line. */
import { copyFileSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { readConfig } from '../../src/checkpoint/config.ts';
import { embeddedModels } from '../../src/checkpoint/embedded.ts';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { requiredTensors } from '../../src/checkpoint/required-tensors.ts';
import type { Checkpoint } from '../../src/checkpoint/types.ts';
import { checkLoads, chooseExecution, longestSequence } from '../../src/cli/execution.ts';
import { resolvePolicy } from '../../src/graph/rounding.ts';
import { estimateMemory } from '../../src/model/memory.ts';
import { contents } from '../divergence/run.ts';
import { sharedPath } from '../shared.ts';
import { ensureBuilt, kvlens, temporaryFolder } from './kvlens.ts';

const folder = temporaryFolder();
const fp16 = resolvePolicy('fp16');
const gigabyte = 1e9;
const configs = sharedPath('data', 'configs');
const [mini] = embeddedModels();
const small = await openCheckpoint(mini.dir);

/** A checkpoint of a published configuration, without weights: shapes are all an estimate reads. */
function published(name: string): Checkpoint {
  const dir = join(folder, name);
  mkdirSync(dir, { recursive: true });
  copyFileSync(join(String(configs), `${name}.config.json`), join(dir, 'config.json'));
  const { config } = readConfig(dir, false);
  const shapes = [...requiredTensors(config)];
  const tensors = new Map(
    shapes.map(([key, shape]) => [key, { name: key, shape, dtype: 'F16' as const, file: '', offset: 0, bytes: 0 }]),
  );
  return { ...small, name, config, tensors };
}

const given = { rows: 80, givenTokens: true };
const chosen = { rows: 80, givenTokens: false };
const options = (maxMemory: number | null, workers = 1) => ({ policy: fp16, workers, maxMemory });

describe.skipIf(configs === null)('published shapes', () => {
  test.each([
    ['llama-2-7b-hf', 4],
    ['mistral-7b-v0.3', 5],
    ['gemma-2-2b', 12],
  ])('%s fits 24 GiB layer by layer only, in %i GiB', (name, gibibytes) => {
    const { resident, byLayer } = estimateMemory(published(name), fp16, 80);
    expect(resident).toBeGreaterThan(24 * 2 ** 30);
    expect(byLayer).toBeLessThan(gibibytes * 2 ** 30);
    expect(chooseExecution(published(name), options(20 * gigabyte), given)).toMatchObject({
      execution: 'by-layer',
      workers: 1,
    });
  });

  test('a run that chooses its tokens is refused with what to do', () => {
    const choose = () => chooseExecution(published('llama-2-7b-hf'), options(20 * gigabyte), chosen);
    expect(choose).toThrow(/llama-2-7b-hf takes about \d+(\.\d)? GB with all layers loaded/);
    expect(choose).toThrow(expect.objectContaining({ hint: expect.stringContaining('--prefill N'), exitCode: 3 }));
  });

  test('a limit that one layer does not fit is refused', () => {
    expect(() => chooseExecution(published('llama-2-7b-hf'), options(gigabyte), given)).toThrow(/1.00 GB may be used/);
  });

  test('commands that need all layers are refused before anything is loaded', () => {
    expect(() => checkLoads(published('mistral-7b-v0.3'), fp16, 20 * gigabyte)).toThrow(/29\.\d GB with all layers/);
    expect(() => checkLoads(published('mistral-7b-v0.3'), fp16, 40 * gigabyte)).not.toThrow();
  });
});

test('no sequence is longer than the context, and given tokens count as they are', () => {
  const { maxPositions } = small.config;
  const prompt = (tokens: number, continuation: number | null) => ({
    tokens: Array.from({ length: tokens }, () => 1),
    continuation: continuation === null ? null : Array.from({ length: continuation }, () => 1),
  });
  expect(longestSequence([prompt(9, null), prompt(3, null)], 20, small.config)).toBe(29);
  expect(longestSequence([prompt(9, null), prompt(3, 40)], 20, small.config)).toBe(43);
  expect(longestSequence([prompt(9, null)], 1_000_000, small.config)).toBe(maxPositions);
});

describe('a small model', () => {
  test('runs with all layers loaded and every worker', () => {
    expect(chooseExecution(small, options(8 * gigabyte, 2), chosen)).toMatchObject({
      execution: 'resident',
      workers: 2,
    });
  });

  test('runs with fewer workers where more do not fit', () => {
    const { resident, perWorker } = estimateMemory(small, fp16, 80);
    expect(chooseExecution(small, options(resident + perWorker * 1.5, 8), chosen)).toMatchObject({ workers: 2 });
    expect(chooseExecution(small, options(resident, 8), chosen)).toMatchObject({ workers: 1 });
  });

  test('goes layer by layer below that, if its tokens are given', () => {
    const { resident } = estimateMemory(small, fp16, 80);
    expect(chooseExecution(small, options(resident - 1), given).execution).toBe('by-layer');
    expect(() => chooseExecution(small, options(resident - 1), chosen)).toThrow(
      'a run that chooses its own tokens needs all layers',
    );
  });
});

describe('diverge, with stages loaded in threads', () => {
  beforeAll(ensureBuilt);

  test.each(embeddedModels().map(({ name }) => name))('%s: both ways write the same bytes', async (name) => {
    const tokens = Array.from({ length: 60 }, (_, i) => 3 + ((i * 37) % 500)).join();
    const run = async (out: string, limit: string) => {
      const arguments_ = ['diverge', name, '--tokens', tokens, '--prefill', '44', '--max-memory', limit, '--out', out];
      const { code, stderr } = await kvlens(arguments_, { cwd: folder, env: { KVLENS_CACHE: join(folder, 'cache') } });
      expect([code, stderr]).toEqual([0, expect.stringMatching(/^memory: about/)]);
      const read = (file: string) => contents(join(folder, out, file));
      const manifest = JSON.parse(readFileSync(join(folder, out, 'manifest.json'), 'utf8')) as {
        identity: { execution: string };
        provenance: { passes?: { block: { rows: number; past: number; count: number }[] } };
      };
      return { read, ...manifest };
    };
    const resident = await run(`${name}-resident`, '8G');
    const byLayer = await run(`${name}-by-layer`, '325M');
    expect(resident.identity.execution).toBe('resident');
    expect(byLayer.identity).toEqual({ ...resident.identity, execution: 'by-layer' });
    for (const file of ['steps.arrow', 'layers.arrow', 'prompts.arrow', 'conditions.arrow', 'vocab.arrow'])
      expect([file, byLayer.read(file).equals(resident.read(file))]).toEqual([file, true]);
    // Every pass runs every block: a layer that ran twice as often as another would be another run.
    const { layers } = (await openCheckpoint(join(mini.dir, '..', name))).config;
    const prefills = byLayer.provenance.passes?.block.find(({ rows, past }) => rows === 44 && past === 0);
    expect(Number(prefills?.count) % layers).toBe(0);
  });
});
