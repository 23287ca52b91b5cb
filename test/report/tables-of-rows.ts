/** Run tables of a few rows, in memory: what is not given is 0, false, empty or null. */
import { Dictionary, Int32, type RecordBatch, Table, Utf8, type Vector, vectorFromArray } from 'apache-arrow';
import type { ActivationTable, RunTable, RunTables } from '../../src/report/data/run-tables.ts';
import { plainTypes } from '../../src/store/arrow-writer.ts';
import { openArrow } from '../../src/store/reader.ts';
import { type Column, type ColumnType, tables } from '../../src/store/schemas.ts';

export type GivenRow = Record<string, unknown>;

const blanks: Record<ColumnType, unknown> = {
  ...{ text: '', string: '', int16: 0, int32: 0, float64: 0, bool: false },
  ...{ 'int32 list': [], 'float64 list': [], binary: new Uint8Array() },
};

type Tables = Exclude<RunTable, ActivationTable>;

/** @param activations paths of files @param batchRows rows to a batch: few, so that readers meet several */
export function tablesOfRows(
  given: Partial<Record<Tables, readonly GivenRow[]>>,
  activations: Partial<Record<ActivationTable, string>> = {},
  batchRows = 7,
): RunTables {
  return {
    name: 'test',
    has: (table) => table in given || table in activations,
    batches: async function* (table, wanted = () => true) {
      if (table === 'activations/attn.rot_k' || table === 'activations/attn.v') {
        const path = activations[table];
        if (path === undefined) return;
        const file = await openArrow(path);
        for (let i = 0; i < file.batchCount; i++) yield await file.batch(i);
        return await file.close();
      }
      const rows = given[table] ?? [];
      if (rows.length === 0) return;
      // Few rows to a batch, so that readers meet several; dictionaries are those of the table, as in a file.
      const whole = batchOf(table, rows);
      for (let at = 0; at < rows.length; at += batchRows)
        if (wanted(at / batchRows)) yield whole.slice(at, at + batchRows);
    },
    json: async () => null,
  };
}

function batchOf(table: Tables, rows: readonly GivenRow[]): RecordBatch {
  const columns = Object.entries<Column>(tables[table]).map(([name, { type, nullable }]): [string, Vector] => {
    const blank = nullable ? null : blanks[type];
    return [
      name,
      vectorFromArray(
        rows.map((row) => (name in row ? row[name] : blank)),
        type === 'text' ? new Dictionary(new Utf8(), new Int32()) : plainTypes[type],
      ),
    ];
  });
  return new Table(Object.fromEntries(columns)).batches[0];
}

/** Rows of conditions, prompts, vocab, steps and layers of one prompt with a map of relative L2 by hook and step. */
export function mapRows(
  hooks: readonly { hook: string; kind: string; layer: number; rel: readonly (number | null)[] }[],
  { condition = 'c', prompt = 'p', changes = {} }: { condition?: string; prompt?: string; changes?: GivenRow } = {},
) {
  const steps = Math.max(...hooks.map(({ rel }) => rel.length));
  return {
    conditions: [
      { condition, model: 'mini', precision: 'fp16', kernels: 'ort', strategy: 'greedy', coupling: 'keyed' },
    ],
    prompts: [{ prompt, index: 3, tokens: [1, 2], model: 'mini' }],
    vocab: [
      { id: 1, string: '▁He', model: 'mini', bytes: new TextEncoder().encode(' He') },
      { id: 2, string: '<b>&\u202e', model: 'mini', bytes: null },
      { id: 1, string: 'other', model: 'another', bytes: null },
    ],
    steps: Array.from({ length: steps + 1 }, (_, step) => ({
      ...{
        condition,
        prompt,
        protocol: 'teacher-forced',
        step,
        position: 4 + step,
        token_cached: 1,
        token_uncached: 1,
      },
      ...{ flip: false, differs: hooks.some(({ rel }) => (rel[step - 1] ?? 0) !== 0) },
      logits_n_differ: (hooks.find(({ kind }) => kind === 'logits')?.rel[step - 1] ?? 0) === 0 ? 0 : 1,
    })),
    layers: hooks.flatMap(({ hook, kind, layer, rel }) =>
      rel.flatMap((value, i) =>
        value === null
          ? []
          : [
              {
                ...{ condition, prompt, protocol: 'teacher-forced', step: i + 1, position: 5 + i, layer, hook, kind },
                ...{ dtype: 'f16', n_elements: 10, n_differ: value === 0 ? 0 : 1, rel_l2: value, max_ulp: value * 100 },
                ...(Number.isNaN(value) ? { nan: 1, nonfinite: 1 } : {}),
                ...(value === Infinity ? { nonfinite: 1 } : {}),
                ...changes,
              },
            ],
      ),
    ),
  };
}
