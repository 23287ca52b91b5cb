/**
 * The rows of a run that its page brings along: those of the prompts that maps show, and of the one whose texts do, as Arrow
 * files, so that the page reads them as it reads any run. Whole prompts only, as many as fit.
 */
import { gzipSync } from 'node:zlib';
import { type RecordBatch, Table, tableToIPC } from 'apache-arrow';
import { Columns } from '../data/columns.ts';
import { thumbnailData } from '../data/drift-map.ts';
import { isMissing } from '../data/missing.ts';
import { layerOwners } from '../data/owners.ts';
import type { RunTable, RunTables } from '../data/run-tables.ts';
import { tokenFlowData } from '../data/token-flow.ts';

/** Bytes of Arrow files before compression; a page of a study of minutes stays below 5 MB. */
const mostBytes = 8e6;

/** Whose rows: condition and prompt. */
interface Owner {
  condition: string;
  prompt: string;
}

/** @returns base64 of gzip of JSON: name, Arrow files by path in base64, JSON files by path */
export async function excerptOf(run: RunTables): Promise<string> {
  const owners = await ownersOf(run);
  const tables: Record<string, string> = {};
  const keep = async (table: RunTable, parts: RecordBatch[]) => {
    if (parts.length > 0)
      tables[`${table}.arrow`] = Buffer.from(tableToIPC(new Table(parts), 'file')).toString('base64');
  };
  const size = { left: mostBytes };
  const maps = owners.map(({ condition, prompt }) => key(condition, prompt));
  const rows = await rowsOf(run, 'layers', new Set(maps), size);
  await keep('layers', rows.parts);
  const texts = await tokenFlowData(run);
  const kept = new Set(rows.kept);
  if (!isMissing(texts)) kept.add(key(texts.condition.condition, texts.prompt));
  const used = new Set<number>();
  for (const table of ['steps', 'candidates', 'answers'] as const) {
    const parts = await slices(run, table, (columns) => {
      const owner = ownerOf(columns);
      return (row) => kept.has(owner(row));
    });
    addTokens(table, parts, used);
    await keep(table, parts);
  }
  await keep('conditions', await batchesOf(run, 'conditions'));
  const prompts = new Set([...kept].map((owner) => owner.slice(owner.indexOf('\n') + 1)));
  const own = await slices(run, 'prompts', (columns) => {
    const prompt = columns.texts('prompt');
    return (row) => prompts.has(prompt(row));
  });
  addTokens('prompts', own, used);
  await keep('prompts', own);
  await keep('vocab', await vocabulary(run, used));
  const json: Record<string, string> = {};
  for (const name of ['manifest', 'controls'] as const) {
    const value = await run.json(name);
    if (value !== null) json[`${name}.json`] = JSON.stringify(value);
  }
  return gzipSync(JSON.stringify({ name: run.name, tables, texts: json }), { level: 9 }).toString('base64');
}

/** The prompt that the page's maps show, under each of their conditions; then the other prompts of the first condition. */
async function ownersOf(run: RunTables): Promise<Owner[]> {
  const maps = await thumbnailData(run);
  if (isMissing(maps)) return [];
  const owners = maps.map(({ condition, prompt }) => ({ condition: condition.condition, prompt }));
  const [{ condition }] = owners;
  const seen = new Set(owners.map((owner) => key(owner.condition, owner.prompt)));
  const others = [...((await layerOwners(run)).get(condition)?.keys() ?? [])];
  for (const prompt of others) if (!seen.has(key(condition, prompt))) owners.push({ condition, prompt });
  return owners;
}

/** Runs of rows of these owners, whole owners only, in the order of the file while there is room. */
async function rowsOf(run: RunTables, table: 'layers', owners: ReadonlySet<string>, size: { left: number }) {
  const bytes = new Map<string, number>();
  for await (const batch of run.batches(table)) {
    const owner = ownerOf(new Columns(table, batch));
    const each = batchBytes(batch) / Math.max(1, batch.numRows);
    for (let row = 0; row < batch.numRows; row++)
      if (owners.has(owner(row))) bytes.set(owner(row), (bytes.get(owner(row)) ?? 0) + each);
  }
  const kept = new Set<string>();
  for (const owner of owners) {
    const own = bytes.get(owner) ?? 0;
    if (kept.size > 0 && own > size.left) continue;
    kept.add(owner);
    size.left -= own;
  }
  const parts = await slices(run, table, (columns) => {
    const owner = ownerOf(columns);
    return (row) => kept.has(owner(row));
  });
  return { parts, kept };
}

function key(condition: string, prompt: string): string {
  return `${condition}\n${prompt}`;
}

function ownerOf(columns: Columns): (row: number) => string {
  const [condition, prompt] = [columns.texts('condition'), columns.texts('prompt')];
  return (row) => key(condition(row), prompt(row));
}

function batchBytes(batch: RecordBatch): number {
  return batch.data.children.reduce((sum, { byteLength }) => sum + byteLength, 0);
}

async function batchesOf(run: RunTables, table: RunTable): Promise<RecordBatch[]> {
  const found: RecordBatch[] = [];
  for await (const batch of run.batches(table)) found.push(batch);
  return found;
}

/** Slices of a table's batches: neighbouring rows that are wanted. */
async function slices(
  run: RunTables,
  table: RunTable,
  wanted: (columns: Columns) => (row: number) => boolean,
): Promise<RecordBatch[]> {
  const found: RecordBatch[] = [];
  for await (const batch of run.batches(table)) {
    const holds = wanted(new Columns(table, batch));
    for (let from = 0; from < batch.numRows; from++) {
      if (!holds(from)) continue;
      let to = from + 1;
      while (to < batch.numRows && holds(to)) to += 1;
      found.push(batch.slice(from, to));
      from = to;
    }
  }
  return found;
}

/** Columns that hold tokens. */
const tokenColumns = {
  steps: { one: ['token_cached', 'token_uncached'], many: [] },
  candidates: { one: ['token'], many: ['tokens'] },
  answers: { one: [], many: ['tokens'] },
  prompts: { one: [], many: ['tokens'] },
} as const;

function addTokens(table: keyof typeof tokenColumns, parts: readonly RecordBatch[], used: Set<number>): void {
  const { one, many } = tokenColumns[table];
  for (const part of parts) {
    const columns = new Columns(table, part);
    const single = one.map((name) => columns.required(name));
    const lists = many.map((name) => columns.lists(name));
    for (let row = 0; row < part.numRows; row++) {
      for (const of of single) used.add(of(row));
      for (const of of lists) for (const token of of(row)) used.add(token);
    }
  }
}

/** Entries of the tokens that the rows name; of a large vocabulary most are never used. */
async function vocabulary(run: RunTables, used: ReadonlySet<number>): Promise<RecordBatch[]> {
  return slices(run, 'vocab', (columns) => {
    const id = columns.required('id');
    return (row) => used.has(id(row));
  });
}
