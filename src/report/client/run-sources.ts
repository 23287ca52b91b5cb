/** A run's tables as the page has them: rows that came with it, files a reader dropped, files of a server on this machine. */
import { type RecordBatch, tableFromIPC } from 'apache-arrow';
import { z } from 'zod';
import { type ArrowSource, openArrowSource } from '../../store/arrow-source.ts';
import type { RunTables } from '../data/run-tables.ts';
import { buffered } from './buffered.ts';

type Sources = ReadonlyMap<string, ArrowSource>;
type Texts = ReadonlyMap<string, () => Promise<string>>;

/** A run of these files: Arrow files and JSON files by their path within the run. */
function runOf(name: string, tables: Sources, texts: Texts): RunTables {
  return {
    name,
    has: (table) => tables.has(`${table}.arrow`),
    batches: (table, wanted) => batchesOf(tables, `${table}.arrow`, wanted),
    json: async (file) => {
      const text = await texts.get(`${file}.json`)?.();
      return text === undefined ? null : JSON.parse(text);
    },
  };
}

async function* batchesOf(
  tables: Sources,
  path: string,
  wanted: (index: number) => boolean = () => true,
): AsyncGenerator<RecordBatch> {
  const source = tables.get(path);
  if (!source) return;
  const file = await openArrowSource(source, path);
  try {
    for (let index = 0; index < file.batchCount; index++) {
      if (!wanted(index)) continue;
      yield await file.batch(index);
      // Between batches the page stays alive.
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
  } finally {
    await file.close();
  }
}

function blobSource(blob: Blob): ArrowSource {
  const read = async (position: number, length: number) =>
    new Uint8Array(await blob.slice(position, position + length).arrayBuffer());
  return { size: blob.size, read, close: () => Promise.resolve() };
}

/** A run of files with their paths, of a folder that was dropped or chosen. @throws Error if no manifest.json is among them */
export function runOfFiles(files: readonly { path: string; file: File }[]): RunTables {
  const manifest = files
    .filter(({ path }) => /(^|\/)manifest\.json$/.test(path))
    .sort((a, b) => a.path.length - b.path.length)[0];
  if (!manifest) throw new Error('no manifest.json among these files: drop the folder of a run, or all of its files');
  const root = manifest.path.slice(0, manifest.path.length - 'manifest.json'.length);
  const within = files.flatMap(({ path, file }) =>
    path.startsWith(root) ? [{ path: path.slice(root.length), file }] : [],
  );
  const name =
    root
      .split('/')
      .filter((part) => part !== '')
      .at(-1) ?? 'run';
  const arrow = within.filter(({ path }) => path.endsWith('.arrow'));
  const json = within.filter(({ path }) => path.endsWith('.json'));
  return runOf(
    name,
    new Map(arrow.map(({ path, file }) => [path, buffered(blobSource(file))])),
    new Map(json.map(({ path, file }) => [path, () => file.text()])),
  );
}

/** The excerpt as it is embedded: Arrow files and JSON texts by path, base64. */
const excerptSchema = z.object({
  name: z.string(),
  tables: z.record(z.string(), z.string()),
  texts: z.record(z.string(), z.string()),
});

/** What a server has. */
const listing = z.object({ name: z.string(), files: z.array(z.object({ path: z.string(), size: z.number() })) });

/** The rows that came with the page: base64 of gzip of JSON. */
export async function runOfExcerpt(text: string): Promise<RunTables> {
  const stream = new Blob([bytesOf(text.trim())]).stream().pipeThrough(new DecompressionStream('gzip'));
  const excerpt = excerptSchema.parse(await new Response(stream).json());
  const tables = new Map(
    Object.entries(excerpt.tables).map(([table, content]) => [table, tableFromIPC(bytesOf(content))]),
  );
  return {
    name: excerpt.name,
    has: (table) => tables.has(`${table}.arrow`),
    batches: async function* (table, wanted = () => true) {
      yield* (tables.get(`${table}.arrow`)?.batches ?? []).filter((_, index) => wanted(index));
    },
    json: async (file) => {
      const text = excerpt.texts[`${file}.json`];
      return text === undefined ? null : JSON.parse(text);
    },
  };
}

function bytesOf(base64: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

/** A run of a server that says which files it has, and gives ranges of them. */
export async function runOfServer(): Promise<RunTables> {
  const answer = await fetch('files.json');
  const { name, files } = listing.parse(await answer.json());
  const source = ({ path, size }: { path: string; size: number }): ArrowSource => ({
    size,
    read: async (position, length) => {
      const last = Math.min(size, position + length) - 1;
      if (last < position) return new Uint8Array();
      const part = await fetch(`run/${path}`, { headers: { range: `bytes=${position}-${last}` } });
      if (part.status !== 206) throw new Error(`${path}: the server answered ${part.status}`);
      return new Uint8Array(await part.arrayBuffer());
    },
    close: () => Promise.resolve(),
  });
  const text = async (path: string) => (await fetch(`run/${path}`)).text();
  const arrow = files.filter(({ path }) => path.endsWith('.arrow'));
  const json = files.filter(({ path }) => path.endsWith('.json'));
  return runOf(
    name,
    new Map(arrow.map((file) => [file.path, buffered(source(file))])),
    new Map(json.map(({ path }) => [path, () => text(path)])),
  );
}
