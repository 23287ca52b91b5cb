/**
 * A run's files as figures read them, wherever they come from: a folder, files dropped onto a page, a notebook. Everything under
 * `data/` and `figures/` runs in a browser too.
 */
import type { RecordBatch } from 'apache-arrow';

/** Tables that figures read. */
export type RunTable =
  | 'conditions'
  | 'prompts'
  | 'vocab'
  | 'steps'
  | 'candidates'
  | 'layers'
  | 'patches'
  | 'answers'
  | 'temperatures'
  | 'placebo'
  | ActivationTable;

/** Rows of the K/V cache, one per head, where a run saved them. */
export type ActivationTable = 'activations/attn.rot_k' | 'activations/attn.v';

/** A run's tables and JSON files. */
export interface RunTables {
  /** The folder's name, or what the files were called. */
  name: string;
  /** False where the run has no such file: a figure then says which command makes it. */
  has(table: RunTable): boolean;
  /**
   * One after another, so that files larger than memory can be read; nothing where the run has no such file.
   * @param wanted of which batches, by their place in the file; default: all
   */
  batches(table: RunTable, wanted?: (index: number) => boolean): AsyncIterable<RecordBatch>;
  /** `manifest.json`, `controls.json`, `outcomes.json` or `verdicts.json`, parsed; null where the run has none. */
  json(name: 'manifest' | 'controls' | 'outcomes' | 'verdicts'): Promise<unknown>;
}
