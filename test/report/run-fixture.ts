/** A run's folder of made-up rows, written as runs write theirs and read as figures read them. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openRunFolder } from '../../src/report/data/run-folder.ts';
import type { RunTables } from '../../src/report/data/run-tables.ts';
import { TableWriter } from '../../src/store/arrow-writer.ts';
import { type Column, type Row, type TableName, tables } from '../../src/store/schemas.ts';
import { temporaryFolder } from '../store/folder.ts';

type Tables = { [T in TableName]?: Row<T>[] };

/** Write these tables, a manifest and what else there is; a table without rows has a file all the same. */
export function runOf(rows: Tables, files: { outcomes?: unknown; manifest?: unknown } = {}): RunTables {
  const folder = temporaryFolder();
  const write = <T extends TableName>(table: T, own: readonly Row<T>[]) => {
    const texts = Object.entries<Column>(tables[table]).filter(([, { type }]) => type === 'text');
    const values = (name: string) => own.map((row) => Object.entries(row).find(([key]) => key === name)?.[1]);
    const dictionaries = texts.map(([name]) => [
      name,
      [...new Set(values(name).filter((value) => value !== null))].map(String),
    ]);
    const writer = new TableWriter(join(folder, `${table}.arrow`), table, {}, Object.fromEntries(dictionaries));
    for (const row of own) writer.add(row);
    writer.finish();
    writer.publish();
  };
  if (rows.conditions) write('conditions', rows.conditions);
  if (rows.steps) write('steps', rows.steps);
  if (rows.patches) write('patches', rows.patches);
  if (rows.answers) write('answers', rows.answers);
  if (rows.placebo) write('placebo', rows.placebo);
  writeFileSync(join(folder, 'manifest.json'), JSON.stringify(files.manifest ?? { identity: {} }));
  if (files.outcomes !== undefined) writeFileSync(join(folder, 'outcomes.json'), JSON.stringify(files.outcomes));
  return openRunFolder(folder);
}

export function conditionRow(condition: string, changes: Partial<Row<'conditions'>> = {}): Row<'conditions'> {
  return {
    ...{ condition, model: 'tiny', precision: 'fp16', kernels: 'ort', strategy: 'greedy' },
    ...{ temperature: null, top_k: null, top_p: null, sampler: null, seed: 0, decode_rows: 1, threads: 1 },
    ...{ template: 't', coupling: 'keyed', padding: 0, ...changes },
  };
}

/** A teacher-forced step in which nothing differs, unless said otherwise. */
export function stepRow(
  condition: string,
  prompt: string,
  step: number,
  changes: Partial<Row<'steps'>> = {},
): Row<'steps'> {
  return {
    ...{ condition, prompt, protocol: 'teacher-forced', step, position: 5 + step, token_cached: 7, token_uncached: 7 },
    ...{ flip: false, differs: false, tie_cached: false, tie_uncached: false, diverged_before: false },
    ...{ logits_n_differ: 0, logits_max_abs: 0, logits_rel_l2: 0, logits_l2_centred: 0, kl: 0, js: 0, tv: 0 },
    ...{ tv_processed: null, margin_cached: 1, margin_uncached: 1, top_shift: 0, margin_choice: 1, boundary: null },
    ...{ error_cached: null, error_uncached: null, error_cosine: null, drift_fp32_cached: null },
    ...{ drift_fp32_uncached: null, drift_fp64_cached: null, drift_fp64_uncached: null, ...changes },
  };
}

/** A measured cell of the 2×2, at the patched step. */
export function patchRow(
  condition: string,
  prompt: string,
  history: 'cached' | 'recomputed',
  kernel: 'decode' | 'prefill',
  distances: { base: number; patched: number },
  changes: Partial<Row<'patches'>> = {},
): Row<'patches'> {
  const { base, patched } = distances;
  const whole = history === 'recomputed';
  return {
    ...{ condition, prompt, spec: 'two-by-two', step: 8, horizon: 0, position: 13, history, kernel },
    hook: whole ? 'blocks.*.attn.hook_cache_k,blocks.*.attn.hook_cache_v' : 'none',
    ...{ layer: whole ? 2 : -1, first_layer: whole ? 0 : -1, head: null, component: 'both' },
    ...{ pos_start: 0, pos_end: 13, src_pos: null, n_changed: 1 },
    ...{ distance_base: base, distance_patched: patched, kl_base: 0, kl_patched: 0 },
    ...{ recovery: base === 0 ? null : 1 - patched / base, recovery_kl: null, exact: patched === 0 },
    ...{ vacuous: base === 0 && patched === 0, harmful: base === 0 && patched > 0, by_construction: false },
    ...{ token_returns: null, token_follows: 0, token_follows_base: 0 },
    ...{ metric: null, metric_clean: null, metric_corrupted: null, metric_patched: null, metric_recovery: null },
    ...changes,
  };
}

export function answerRow(
  condition: string,
  prompt: string,
  arm: string,
  tokens: number[],
  changes: Partial<Row<'answers'>> = {},
): Row<'answers'> {
  return { condition, prompt, arm, tokens, text: '', answer: null, correct: null, stop: 'limit', ...changes };
}

/** What is there: fails where it is missing. */
export function present<Data extends object>(found: Data | { missing: string; command: string }): Data {
  if ('missing' in found && 'command' in found) throw new Error(`missing: ${String(found.missing)}`);
  return found;
}

/** Names that try to leave their place: markup, a closing quote, a right-to-left override. */
export const hostile = '</svg><script>"x"\u202e\u0007';
