/** Activations that other runs saved, as values for patches: found by prompt, position and layer, refused where they do not fit. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Vector } from 'apache-arrow';
import { z } from 'zod';
import { readJsonFile } from '../../checkpoint/json-file.ts';
import { InputError } from '../../errors.ts';
import { findHook } from '../../graph/hooks.ts';
import { rowElements } from '../../model/activation-rows.ts';
import type { FloatArray } from '../../model/arrays.ts';
import type { Executor } from '../../model/executor.ts';
import { decodeFloat16 } from '../../numerics/half.ts';
import { openArrow } from '../../store/reader.ts';
import type { SavedSource } from '../specification/resolve.ts';

/** One row that is asked for. */
export interface SavedRowKey {
  hook: string;
  kind: string;
  layer: number;
  prompt: string;
  /** Absolute; every position is the newest one at one step, or a row of the prompt. */
  position: number;
  /** The token there, which must be the same in the other run. */
  token: number;
}

interface SavedRow {
  token: number;
  value: FloatArray;
}

/** The files of some runs, loaded once. */
export class SavedRuns {
  private readonly rows: ReadonlyMap<string, SavedRow>;
  private readonly executor: Executor;

  private constructor(executor: Executor, rows: ReadonlyMap<string, SavedRow>) {
    this.executor = executor;
    this.rows = rows;
  }

  /**
   * Load the rows of these kinds and prompts.
   * @throws InputError for a folder without them, or with values of another shape.
   */
  static async open(
    executor: Executor,
    sources: readonly SavedSource[],
    kinds: readonly string[],
    prompts: ReadonlySet<string> | null = null,
  ): Promise<SavedRuns> {
    const rows = new Map<string, SavedRow>();
    for (const source of sources) {
      await requireSameWeights(executor, source.folder);
      for (const kind of kinds) await loadKind(source, kind, prompts, rows);
    }
    return new SavedRuns(executor, rows);
  }

  /** One row's numbers, flattened. @throws InputError */
  row(source: SavedSource, key: SavedRowKey): FloatArray {
    const { folder } = source;
    const place = `prompt "${key.prompt}", position ${key.position}`;
    const found = this.rows.get(rowKey(source, key));
    if (!found) {
      throw new InputError(
        `${folder}: has no ${key.hook} of the ${source.arm} arm for ${place}`,
        `capture it there (--hooks "${key.hook}"), or patch other positions`,
      );
    }
    if (found.token !== key.token) {
      throw new InputError(
        `${folder}: ${place}: found token ${found.token}, expected ${key.token}, the token of this run`,
      );
    }
    const hook = findHook(key.hook, this.executor.config);
    const size = hook ? rowElements(hook, this.executor.config, key.position + 1) : found.value.length;
    if (found.value.length !== size) {
      throw new InputError(`${folder}: ${key.hook}: found rows of ${found.value.length} numbers, expected ${size}`);
    }
    return this.executor.compute === 'f64' ? Float64Array.from(found.value) : Float32Array.from(found.value);
  }
}

/** Activations of other weights mean something else, even where their shapes fit. */
async function requireSameWeights({ options }: Executor, folder: string): Promise<void> {
  const file = join(folder, 'manifest.json');
  if (!existsSync(file)) return;
  const found = manifestSchema.safeParse(readJsonFile(file));
  if (!found.success) throw new InputError(`${file}: is no manifest of a run`);
  const { model, sha256 } = found.data.identity;
  const own = await options.checkpoint.sha256();
  if (sha256.checkpoint === own) return;
  throw new InputError(
    `${folder}: its activations are those of ${model} (weights ${sha256.checkpoint.slice(0, 12)}…), expected ${options.checkpoint.name} (${own.slice(0, 12)}…)`,
  );
}

const manifestSchema = z.object({
  identity: z.object({ model: z.string(), sha256: z.object({ checkpoint: z.string() }) }),
});

function rowKey(
  { folder, arm }: SavedSource,
  { kind, layer, prompt, position }: Omit<SavedRowKey, 'hook' | 'token'>,
): string {
  return [folder, arm, kind, layer, prompt, position].join('\n');
}

async function loadKind(
  source: SavedSource,
  kind: string,
  prompts: ReadonlySet<string> | null,
  rows: Map<string, SavedRow>,
): Promise<void> {
  const path = join(source.folder, 'activations', `${kind}.arrow`);
  if (!existsSync(path)) {
    throw new InputError(
      `${source.folder}: has no activations/${kind}.arrow`,
      'kvlens capture and diverge --save-activations write it',
    );
  }
  const file = await openArrow(path);
  try {
    const isHalf = file.schema.metadata.get('dtype') === 'f16';
    for (let at = 0; at < file.batchCount; at++) {
      const batch = await file.batch(at);
      const column = (name: string) => {
        const found = batch.getChild(name);
        if (!found) throw new InputError(`${path}: column ${name} is missing`);
        return found;
      };
      const [prompt, arm, layer] = [column('prompt'), column('arm'), column('layer')];
      const [position, token, value] = [column('position'), column('token'), column('value')];
      for (let row = 0; row < batch.numRows; row++) {
        const id = String(prompt.get(row));
        if (arm.get(row) !== source.arm || (prompts !== null && !prompts.has(id))) continue;
        const key = { kind, layer: Number(layer.get(row)), prompt: id, position: Number(position.get(row)) };
        rows.set(rowKey(source, key), { token: Number(token.get(row)), value: numbers(value.get(row), isHalf) });
      }
    }
  } finally {
    await file.close();
  }
}

/** One list value; float16 comes as its bits. */
function numbers(value: unknown, isHalf: boolean): FloatArray {
  if (!(value instanceof Vector)) throw new Error('activations: a value is no list');
  const array: unknown = value.toArray();
  if (array instanceof Uint16Array && isHalf) return decodeFloat16(array);
  if (array instanceof Float32Array || array instanceof Float64Array) return array.slice();
  throw new Error('activations: a value is no list of numbers');
}
