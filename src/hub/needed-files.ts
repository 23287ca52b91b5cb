/** Which files of a repository make a checkpoint; nothing else is asked for. */
import { indexName, weightsName } from '../checkpoint/shards.ts';
import { showName } from '../checkpoint/show.ts';
import { InputError } from '../errors.ts';
import type { RemoteFile } from './content.ts';

/** Read where they are there. */
const optional = ['generation_config.json', 'tokenizer.json', 'tokenizer_config.json'];

/** What to download first, and what says where the weights are. */
export interface NeededFiles {
  /** config.json first: it says whether kvlens can use the rest. */
  small: RemoteFile[];
  /** The weights in one file, or null if `index` names them. */
  weights: RemoteFile | null;
  index: RemoteFile | null;
}

/**
 * Choose as kvlens reads a folder: `model.safetensors` goes before an index.
 * @throws InputError if the repository holds no checkpoint kvlens could read.
 */
export function neededFiles(repository: string, listed: ReadonlyMap<string, RemoteFile>): NeededFiles {
  const config = listed.get('config.json');
  if (!config) {
    throw new InputError(
      `${repository}: expected config.json (found ${foundNames(listed, () => true)})`,
      'kvlens reads checkpoints in the layout of Hugging Face transformers',
    );
  }
  const weights = listed.get(weightsName) ?? null;
  const index = weights ? null : (listed.get(indexName) ?? null);
  if (!weights && !index) {
    throw new InputError(
      `${repository}: expected ${weightsName} or ${indexName} (found ${foundNames(listed, isWeights)})`,
      'look for a revision or a repository with safetensors (often --revision refs/pr/1), or convert the checkpoint',
    );
  }
  const small = [config, ...optional.flatMap((name) => listed.get(name) ?? [])];
  return { small, weights, index };
}

/** The shards an index names. @throws InputError if the repository does not have one of them. */
export function neededShards(
  repository: string,
  names: readonly string[],
  listed: ReadonlyMap<string, RemoteFile>,
): RemoteFile[] {
  return names.map((name) => {
    const file = listed.get(name);
    if (file) return file;
    throw new InputError(
      `${repository}: ${indexName} names the shard ${name}, which the repository does not have`,
      'try another --revision',
    );
  });
}

function isWeights(name: string): boolean {
  return /\.(bin|safetensors|gguf|pth|pt|h5|msgpack|onnx|ckpt|npz)$/.test(name);
}

function foundNames(listed: ReadonlyMap<string, RemoteFile>, shown: (name: string) => boolean): string {
  const names = [...listed.keys()].filter(shown);
  if (names.length === 0) return 'none';
  return names.slice(0, 3).map(showName).join(', ') + (names.length > 3 ? ', …' : '');
}
