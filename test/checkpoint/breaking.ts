/** A tiny checkpoint, and ways to break one thing in it. */
import { copyFileSync, mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeTinyCheckpoint } from '../tiny-checkpoint.ts';

/** Breaks one thing in the checkpoint of a folder. */
export type Break = (dir: string) => void;

/** An entry of a safetensors header, as anything one may write there. */
export interface Entry {
  dtype: unknown;
  shape: unknown;
  data_offsets: unknown;
}
type Header = Record<string, Entry>;

/** One layer, width 16, 16 tokens: a checkpoint of a few kilobytes. */
export function tinyCheckpoint(dtype: 'F32' | 'F16' | 'BF16' = 'F32'): string {
  return writeTinyCheckpoint({ layers: 1, headDim: 4, vocabSize: 16, maxPositions: 16, dtype });
}

/** Break one thing, then another. */
export function both(first: Break, second: Break): Break {
  return (dir) => {
    first(dir);
    second(dir);
  };
}

export const weights = 'model.safetensors';
export const index = 'model.safetensors.index.json';

/** Header text and data of a safetensors file. */
export function readSafetensors(path: string): { text: string; data: Buffer } {
  const bytes = readFileSync(path);
  const start = 8 + Number(bytes.readBigUInt64LE());
  return { text: bytes.subarray(8, start).toString(), data: bytes.subarray(start) };
}

/** Write a safetensors file with any header, valid or not. */
export function writeSafetensors(
  path: string,
  header: string | Buffer | object,
  data: Buffer,
  declared?: bigint,
): void {
  const bytes = Buffer.isBuffer(header)
    ? header
    : Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(declared ?? BigInt(bytes.length));
  writeFileSync(path, Buffer.concat([length, bytes, data]));
}

/** Edit the parsed header of model.safetensors; what `edit` returns takes its place. */
export function header(edit: (entries: Header) => unknown): Break {
  return (dir) => {
    const path = join(dir, weights);
    const { text, data } = readSafetensors(path);
    const entries: Header = JSON.parse(text);
    const edited = edit(entries);
    writeSafetensors(path, typeof edited === 'string' || Buffer.isBuffer(edited) ? edited : entries, data);
  };
}

/** Change one tensor's entry. */
export function tensor(name: string, change: Partial<Entry>): Break {
  return header((entries) => {
    Object.assign(entries[name], change);
  });
}

/** Declare another header length. */
export function headerLength(declared: bigint): Break {
  return (dir) => {
    const { text, data } = readSafetensors(join(dir, weights));
    writeSafetensors(join(dir, weights), text, data, declared);
  };
}

/** Declare a header one byte shorter than it is. */
export function headerOneShort(dir: string): void {
  headerLength(BigInt(readSafetensors(join(dir, weights)).text.length) - 1n)(dir);
}

/** Put anything in the place of one tensor's entry; undefined leaves it out. */
export function entry(name: string, value: unknown): Break {
  return header((entries) => JSON.stringify({ ...entries, [name]: value }));
}

/** Give a tensor another name, and change its entry. */
export function rename(name: string, to: string, change: Partial<Entry> = {}): Break {
  return header(({ [name]: found, ...others }) => JSON.stringify({ ...others, [to]: { ...found, ...change } }));
}

/** Rewrite the whole file with one norm vector of another dtype, at that dtype's size. */
export function bytesAs(dtype: 'F64' | 'F8_E4M3'): Break {
  return resized('model.layers.0.input_layernorm.weight', dtype, [16], dtype === 'F64' ? 128 : 16);
}

/** A tensor that a LLaMA model does not have, after all others. */
export function extra(name: string): Break {
  return resized(name, 'F32', [16], 64);
}

function resized(name: string, dtype: string, shape: number[], bytes: number): Break {
  return (dir) => {
    const { text, data } = readSafetensors(join(dir, weights));
    const { [name]: _, ...entries }: Header = JSON.parse(text);
    let end = 0;
    const chunks: Buffer[] = [];
    for (const entry of Object.values(entries)) {
      const [begin, stop] = entry.data_offsets as [number, number];
      chunks.push(data.subarray(begin, stop));
      entry.data_offsets = [end, end + stop - begin];
      end += stop - begin;
    }
    const added = { dtype, shape, data_offsets: [end, end + bytes] };
    writeSafetensors(
      join(dir, weights),
      { ...entries, [name]: added },
      Buffer.concat([...chunks, Buffer.alloc(bytes)]),
    );
  };
}

/** Add bytes to the end of model.safetensors, or cut them off. */
export function append(bytes: number): Break {
  return (dir) => {
    const content = readFileSync(join(dir, weights));
    const changed = bytes < 0 ? content.subarray(0, bytes) : Buffer.concat([content, Buffer.alloc(bytes)]);
    writeFileSync(join(dir, weights), changed);
  };
}

/** A folder in the place of a file. */
export function asFolder(name: string): Break {
  return both(file(name, null), (dir) => mkdirSync(join(dir, name)));
}

/** A symbolic link in the place of a file. */
export function link(name: string, target: string): Break {
  return both(file(name, null), (dir) => symlinkSync(target, join(dir, name)));
}

export function move(name: string, to: string): Break {
  return (dir) => renameSync(join(dir, name), join(dir, to));
}

/** Replace the first occurrence of some text in a file. */
export function substitute(name: string, from: string, to: string): Break {
  return (dir) => writeFileSync(join(dir, name), readFileSync(join(dir, name), 'utf8').replace(from, to));
}

/** Replace a file's content, or remove it (null). */
export function file(name: string, content: string | Buffer | null): Break {
  return (dir) => (content === null ? rmSync(join(dir, name)) : writeFileSync(join(dir, name), content));
}

/** Change keys of a JSON file; undefined removes a key. */
export function json(name: string, change: Record<string, unknown>): Break {
  return (dir) => {
    const path = join(dir, name);
    writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), ...change }));
  };
}

export const config = (change: Record<string, unknown>): Break => json('config.json', change);

/** Split model.safetensors: the first tensor in one shard, the rest in another, with an index. */
export function shard(dir: string): void {
  const { text, data } = readSafetensors(join(dir, weights));
  const entries = Object.entries<{ dtype: string; shape: number[]; data_offsets: [number, number] }>(JSON.parse(text));
  const cut = entries[0][1].data_offsets[1];
  const shifted = entries.slice(1).map(([name, entry]) => {
    return [name, { ...entry, data_offsets: entry.data_offsets.map((offset) => offset - cut) }];
  });
  writeSafetensors(join(dir, 'a.safetensors'), Object.fromEntries(entries.slice(0, 1)), data.subarray(0, cut));
  writeSafetensors(join(dir, 'b.safetensors'), Object.fromEntries(shifted), data.subarray(cut));
  const weight_map = Object.fromEntries(entries.map(([name], i) => [name, `${i === 0 ? 'a' : 'b'}.safetensors`]));
  writeFileSync(join(dir, index), JSON.stringify({ metadata: { total_size: data.length }, weight_map }));
  rmSync(join(dir, weights));
}

/** Split, then change keys of weight_map. */
export function weightMap(change: Record<string, unknown>): Break {
  return (dir) => {
    shard(dir);
    const { weight_map } = JSON.parse(readFileSync(join(dir, index), 'utf8'));
    json(index, { weight_map: { ...weight_map, ...change } })(dir);
  };
}

/** Shards, one of which is there a second time under another name. */
export function copyShard(dir: string): void {
  weightMap({ 'model.norm.weight': 'b2.safetensors' })(dir);
  copyFileSync(join(dir, 'b.safetensors'), join(dir, 'b2.safetensors'));
}

/** A tokenizer.json that fits the tiny checkpoint, with changed keys. */
export function tokenizer(change: Record<string, unknown> = {}, model: Record<string, unknown> = {}): Break {
  const definition = {
    version: '1.0',
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: null,
    post_processor: null,
    decoder: null,
    model: { type: 'BPE', unk_token: '<unk>', vocab: { '<unk>': 0, a: 1, b: 2, ab: 3 }, merges: ['a b'], ...model },
    ...change,
  };
  return file('tokenizer.json', JSON.stringify(definition));
}

/** A tokenizer.json with one added token. */
export const added = (token: Record<string, unknown>): Break => tokenizer({ added_tokens: [token] });
