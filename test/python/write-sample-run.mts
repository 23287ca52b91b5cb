/**
 * `npx tsx write-sample-run.mts RUN RAW`: a run of made-up rows through `src/store` – every table, every type, nulls, NaN,
 * infinities, −0, subnormals, more rows than one batch – and what was written, in RAW, for other readers to compare.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { hookName } from '../../src/graph/hooks.ts';
import { roundTo } from '../../src/numerics/half.ts';
import type { StorageType } from '../../src/numerics/types.ts';
import type { Dictionaries } from '../../src/store/arrow-writer.ts';
import { RunDirectory } from '../../src/store/run-directory.ts';
import { type Column, type Row, type TableName, tables } from '../../src/store/schemas.ts';
import { RawDump } from './raw.mts';

const [out, raw] = process.argv.slice(2);
if (out === undefined || raw === undefined) throw new Error('expected RUN and RAW folders');
const identity = { command: 'sample', text: 'ünïcødé "quoted" \\ 汉字 🙂', list: [1, null, 0.1], nested: { a: true } };
const conditions = ['greedy', 't0.7-p0.9'];
const prompts = ['arith-0000', 'naïve 🙂', '3f9a'];
const specials = [0, -0, 1, -1, 0.1, Math.PI, NaN, Infinity, -Infinity, 5e-324, 1.7976931348623157e308, 2 ** 53];
const float = (i: number) => specials[i % specials.length];
const run = RunDirectory.create({ out, command: 'sample', model: 'none' });
const rows: Record<string, number> = {};
const written: Record<string, Record<string, unknown[]>> = {};

/** Write rows through the store and keep them as plain columns. */
function table<T extends TableName>(name: T, dictionaries: Dictionaries, values: Row<T>[]): void {
  const writer = run.table(name, identity, dictionaries);
  for (const row of values) writer.add(row);
  rows[`${name}.arrow`] = values.length;
  const columns: Record<string, Column> = tables[name];
  written[name] = Object.fromEntries(
    Object.keys(columns).map((column) => [
      column,
      values.map((row) => plain((row as Record<string, unknown>)[column], columns[column].type)),
    ]),
  );
}

/** JSON has no NaN, infinities, −0 or bytes. */
function plain(value: unknown, type: Column['type']): unknown {
  if (type === 'float64' && typeof value === 'number') return Object.is(value, -0) ? '-0' : String(value);
  return value instanceof Uint8Array ? [...value] : value;
}

table(
  'conditions',
  {
    ...same('model', 'precision', 'kernels', 'template'),
    coupling: ['keyed', 'independent'],
    condition: conditions,
    strategy: conditions,
    sampler: ['gumbel'],
  },
  conditions.map((condition, i) => ({
    ...{ condition, model: 'model', precision: 'precision', kernels: 'kernels', strategy: condition },
    ...{ temperature: i ? 0.7 : null, top_k: i ? 50 : null, top_p: i ? 0.9 : null, sampler: i ? 'gumbel' : null },
    ...{ seed: 2 ** 53 - 1, decode_rows: 1 + i, threads: 1, template: 'template' },
    ...{ coupling: i ? 'independent' : 'keyed', padding: 7 * i },
  })),
);
table(
  'prompts',
  { ...same('model'), prompt: prompts, text: ['ein Text\n', ''], gold: ['42'] },
  prompts.map((prompt, index) => ({
    ...{ prompt, index, text: ['ein Text\n', '', null][index], gold: index ? null : '42' },
    tokens: index === 2 ? [] : [1, 2 ** 31 - 1, index],
    model: 'model',
  })),
);
table(
  'vocab',
  same('model'),
  Array.from({ length: 300 }, (_, id) => ({
    id,
    string: id % 7 === 0 ? null : `▁${String.fromCodePoint(0x1f600 + (id % 50))}${id}`,
    bytes: id % 5 === 0 ? null : Uint8Array.from({ length: id % 4 }, (_, i) => (id * 31 + i) & 255),
    model: 'model',
  })),
);
const maybe = <V,>(i: number, value: V): V | null => (i % 3 === 0 ? null : value);
table(
  'steps',
  { condition: conditions, prompt: prompts, protocol: ['teacher-forced', 'free-running'] },
  keys().flatMap(([condition, prompt]) =>
    ['teacher-forced', 'free-running'].flatMap((protocol) =>
      Array.from({ length: 12 }, (_, step) => ({
        ...{ condition, prompt, protocol, step, position: 3 + step, token_cached: step, token_uncached: step ^ 1 },
        ...{
          flip: maybe(step, step % 2 === 0),
          differs: maybe(step, step % 3 === 0),
          tie_cached: step % 2 === 1,
          tie_uncached: false,
        },
        ...{ diverged_before: step > 5, logits_n_differ: step, logits_max_abs: float(step) },
        ...{ logits_rel_l2: float(step + 1), logits_l2_centred: float(step + 2), kl: float(step + 3), js: 0, tv: 1 },
        ...{ tv_processed: maybe(step, float(step)), margin_cached: float(step + 4), margin_uncached: 0.5 },
        ...{ top_shift: float(step), margin_choice: maybe(step, float(step)), boundary: maybe(step, step % 2 === 0) },
        ...{ error_cached: maybe(step, float(step)), error_uncached: null, error_cosine: maybe(step + 1, NaN) },
        ...{ drift_fp32_cached: maybe(step, float(step)), drift_fp32_uncached: null },
        ...{ drift_fp64_cached: null, drift_fp64_uncached: maybe(step + 2, float(step)) },
      })),
    ),
  ),
);
// More than one batch of 16,384 rows; a dictionary of each text column serves them all.
const hooks = Array.from({ length: 130 }, (_, i) => `blocks.${i}.hook_resid_post`);
table(
  'layers',
  {
    ...{ condition: conditions, prompt: prompts, protocol: ['teacher-forced'] },
    ...{ hook: hooks, kind: ['resid_post'], dtype: ['f16', 'bf16'] },
  },
  keys().flatMap(([condition, prompt]) =>
    Array.from({ length: 25 }, (_, step) =>
      hooks.map((hook, layer) => ({
        ...{ condition, prompt, protocol: 'teacher-forced', step, position: 3 + step, layer: layer - 1, hook },
        ...{ kind: 'resid_post', dtype: layer % 2 ? 'f16' : 'bf16', head: maybe(layer, layer), n_elements: 128 },
        ...{ n_differ: step, signed_zero: 0, sign_flips: 0, nonfinite: 2 ** 31 - 1, nan: 7, max_abs: float(layer) },
        ...{ rel_l2: float(step), max_ulp: 0, mean_ulp: 0.25, ulp_row: 0, cosine: 1 },
        ...{ added_rel_l2: maybe(step, float(step)), via_history_rel_l2: null, via_residual_rel_l2: maybe(layer, 0.5) },
      })),
    ).flat(),
  ),
);

const dump = new RawDump();
activations('resid_post', 'f16', [768]);
activations('mlp_out', 'bf16', [64]);
activations('attn.rot_k', 'f32', [2, 16]);
activations('mlp.post', 'f64', [96]);
activations('attn.pattern', 'f16', [4, null]);
run.publish({ gates: [] }, { identity, provenance: { rows } });
dump.write(raw);
writeFileSync(join(raw, 'tables.json'), JSON.stringify(written));

/** Rows of one kind, wide enough for a binary16 overflow, subnormals and both zeros; enough for several batches. */
function activations(kind: string, dtype: StorageType, shape: (number | null)[]): void {
  const axes = shape.length === 1 ? ['d_model'] : ['head', shape[1] === null ? 'key' : 'd_head'];
  const names = Array.from({ length: 12 }, (_, layer) => hookName(kind, layer));
  const dictionaries = { condition: conditions, prompt: prompts, hook: names };
  const options = () => ({ shape, axes, dtype, identity, dictionaries });
  let state = 1;
  const random = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32 - 0.5;
  };
  for (const [condition, prompt] of keys()) {
    for (const arm of ['cached', 'uncached']) {
      for (let step = 0; step < 25; step++) {
        for (let layer = 0; layer < 12; layer++) {
          const size = shape.reduce<number>((total, length) => total * (length ?? 3 + step), 1);
          const values = dtype === 'f64' ? new Float64Array(size) : new Float32Array(size);
          for (let i = 0; i < size; i++) values[i] = roundTo(dtype, random() * 2 ** ((i % 48) - 28));
          specials.slice(0, 9).forEach((value, i) => {
            values[i] = roundTo(dtype, value);
          });
          const row = { condition, prompt, arm, step, position: 2 + step, token: step, layer, hook: names[layer] };
          run.addActivation(kind, options, { ...row, value: values });
          dump.add(kind, row, values);
        }
      }
    }
  }
  rows[`activations/${kind}.arrow`] = run.rows[`activations/${kind}.arrow`];
}

function keys(): [string, string][] {
  return conditions.flatMap((condition) => prompts.map((prompt): [string, string] => [condition, prompt]));
}

function same(...names: string[]): Dictionaries {
  return Object.fromEntries(names.map((name) => [name, [name]]));
}
