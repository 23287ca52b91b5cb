/** Repositories for the test hub: the embedded model as it is, and the same weights in shards. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { embeddedModels } from '../../src/checkpoint/embedded.ts';
import type { HostedFile, Repository } from './server.ts';

const found = embeddedModels().find((model) => model.name === 'mini-llama');
if (!found) throw new Error('mini-llama is not there');
export const miniLlama = found.dir;

export const commit = '0123456789abcdef0123456789abcdef01234567';
/** What kvlens reads, in the order it asks for it. */
export const neededNames = [
  'config.json',
  'generation_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'model.safetensors',
];

export const small = (text: string | Buffer): HostedFile => ({ content: Buffer.from(text), large: false });
export const large = (content: string | Buffer): HostedFile => ({ content: Buffer.from(content), large: true });

export function fileOf(name: string): HostedFile {
  const content = readFileSync(join(miniLlama, name));
  return name.endsWith('.safetensors') ? large(content) : small(content);
}

/** What a repository of mini-llama holds, with much that nobody needs. */
export function miniFiles(): Record<string, HostedFile> {
  return {
    '.gitattributes': small('*.safetensors filter=lfs diff=lfs merge=lfs -text\n'),
    'README.md': small('# A model\n'),
    'consolidated.safetensors': large('not asked for'),
    'mini.gguf': large('not asked for'),
    'pytorch_model.bin': large('not asked for'),
    'special_tokens_map.json': small('{}'),
    ...Object.fromEntries(neededNames.map((name) => [name, fileOf(name)])),
  };
}

/** One commit with these files, on `main` and on a branch whose name has a slash. */
export function repositoryOf(files: Record<string, HostedFile>, more: Partial<Repository> = {}): Repository {
  return { refs: { main: commit, 'refs/pr/1': commit }, commits: { [commit]: files }, ...more };
}

/** mini-llama's weights in two files and an index; `model.safetensors` is not among them. */
export function shardedFiles(): Record<string, HostedFile> {
  const { 'model.safetensors': whole, ...others } = miniFiles();
  const headerBytes = Number(whole.content.readBigUInt64LE());
  const header: Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }> = JSON.parse(
    whole.content.toString('utf8', 8, 8 + headerBytes),
  );
  const names = Object.keys(header).filter((key) => key !== '__metadata__');
  const half = Math.ceil(names.length / 2);
  const shards = [names.slice(0, half), names.slice(half)];
  const map: Record<string, string> = {};
  const files = shards.map((tensors, i): [string, HostedFile] => {
    const shard = `model-0000${i + 1}-of-00002.safetensors`;
    const parts: Buffer[] = [];
    let offset = 0;
    const entries = tensors.map((tensor) => {
      map[tensor] = shard;
      const { data_offsets: range, ...rest } = header[tensor];
      const data = whole.content.subarray(8 + headerBytes + range[0], 8 + headerBytes + range[1]);
      parts.push(data);
      offset += data.length;
      return [tensor, { ...rest, data_offsets: [offset - data.length, offset] }];
    });
    const text = JSON.stringify(Object.fromEntries(entries));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(text.length));
    return [shard, large(Buffer.concat([length, Buffer.from(text), ...parts]))];
  });
  return {
    ...others,
    'model.safetensors.index.json': small(JSON.stringify({ metadata: {}, weight_map: map })),
    ...Object.fromEntries(files),
  };
}
