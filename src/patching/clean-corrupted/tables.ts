/** The Arrow tables of a clean/corrupted run. */
import type { RunSubject } from '../../divergence/run-subject.ts';
import { SharedTables } from '../../divergence/shared-tables.ts';
import type { TableWriter } from '../../store/arrow-writer.ts';
import type { CleanCorruptedRow } from '../sweep/clean-corrupted.ts';

/** Writes patches beside the tables every run has. */
export class CleanCorruptedTables extends SharedTables {
  private readonly patches: TableWriter<'patches'>;

  constructor(subject: RunSubject, identity: unknown, spec: string, rows: readonly CleanCorruptedRow[]) {
    super(subject, identity, []);
    const values = (of: (row: CleanCorruptedRow) => string | null) =>
      [...new Set(rows.map(of))].filter((value) => value !== null);
    this.patches = subject.run.table('patches', identity, {
      ...{ condition: [this.condition], prompt: subject.prompts.map(({ id }) => id), spec: [spec] },
      ...{ history: ['recomputed'], kernel: ['prefill'], component: ['k', 'v', 'value'] },
      ...{ hook: values(({ hook }) => hook), metric: values(({ metric }) => metric) },
    });
    for (const row of rows) this.patches.add({ ...row, condition: this.condition });
    this.count('patches', rows.length);
  }
}
