/** A whole run in a temporary folder, read back from its files. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Table } from 'apache-arrow';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { type DivergeOptions, diverge } from '../../src/divergence/diverge.ts';
import type { DivergenceSummary } from '../../src/divergence/summary.ts';
import { resolveKernels } from '../../src/graph/kernels.ts';
import { resolvePolicy } from '../../src/graph/rounding.ts';
import { openArrow } from '../../src/store/reader.ts';
import { RunDirectory } from '../../src/store/run-directory.ts';
import type { TableName } from '../../src/store/schemas.ts';
import type { Prompt } from '../../src/study/prompts.ts';

export interface TestRun {
  path: string;
  summary: DivergenceSummary;
  table(name: TableName): Promise<Table>;
  remove(): void;
}

/** What a test changes; precision and kernels by name. */
export type TestOptions = { precision?: string; kernels?: string } & Partial<Omit<DivergeOptions, 'kernels'>>;

/** A file's bytes as a resident run writes them: the way it ran is in every file's identity, in words of one length. */
export function contents(file: string): Buffer {
  const text = readFileSync(file, 'latin1');
  return Buffer.from(text.replaceAll('"execution":"by-layer"', '"execution":"resident"'), 'latin1');
}

/** Prompts from lists of token ids. */
export function prompts(...lists: number[][]): Prompt[] {
  return lists.map((tokens, index) => ({
    ...{ id: `p${index}`, index, text: null, gold: null, continuation: null },
    tokens,
  }));
}

/** Run `diverge` with one worker; greedy and 20 new tokens unless said otherwise. */
export async function run(
  dir: string,
  { precision = 'fp16', kernels = 'ort', ...options }: TestOptions,
): Promise<TestRun> {
  const folder = mkdtempSync(join(tmpdir(), 'kvlens-run-'));
  const path = join(folder, 'run');
  const summary = await diverge({
    checkpoint: await openCheckpoint(dir),
    policy: resolvePolicy(precision),
    kernels: resolveKernels(kernels),
    strategy: { kind: 'greedy' },
    prompts: prompts([1, 17, 5, 88, 42, 42, 7]),
    ...{ mode: 'both', maxNewTokens: 20, hooks: 'all', decodeRows: 1, threads: 1, workers: 1 },
    ...{ ignoreEos: true, saveActivations: false, template: '{question}\n' },
    ...options,
    run: RunDirectory.create({ out: path, command: 'diverge', model: 'test' }),
  });
  return {
    path,
    summary,
    table: async (name) => {
      const file = await openArrow(join(path, `${name}.arrow`));
      const table = await file.table();
      await file.close();
      return table;
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** The values of one column. */
export function column(table: Table, name: string): unknown[] {
  const values = table.getChild(name);
  if (!values) throw new Error(`no column ${name}`);
  return Array.from(values);
}

/** The sum of one column. */
export function sum(table: Table, name: string): number {
  return column(table, name).reduce<number>((total, value) => total + Number(value), 0);
}
