/** Expected values as make_fixtures.py writes them: what the library computed, by run, step and name. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ModelType } from '../../src/checkpoint/types.ts';
import { readSafetensors, type StoredTensor } from '../reference/safetensors.ts';

/** Half types on two attention paths, each a rounding policy of kvlens. */
export const halfRuns = ['fp16', 'bf16', 'fp16-sdpa', 'bf16-sdpa'] as const;
export type HalfRun = (typeof halfRuns)[number];

/** Rows run at once: absolute positions start, start + 1, …; the first step is the prefill. */
export interface Step {
  start: number;
  tokens: number[];
}

/** index.json */
export interface Index {
  name: string;
  about: string;
  modelType: ModelType;
  /** Folder of the checkpoint, relative to index.json. */
  checkpoint: string;
  steps: Step[];
  runs: string[];
  /** Why the library has no sdpa path for this model; null where it has. */
  refused: string | null;
  /** The library's float32 rotary tables against exact ones, over all positions. */
  tables: { positions: number; fromExact: number };
  versions: { transformers: string; torch: string; numpy: string; cpu: string };
}

/** One checkpoint and all that is expected of it. */
export class Expected {
  readonly index: Index;
  readonly checkpointDir: string;
  private readonly dir: string;
  private readonly runs = new Map<string, Map<string, StoredTensor>>();

  constructor(dir: string) {
    this.dir = dir;
    this.index = JSON.parse(readFileSync(join(dir, 'index.json'), 'utf8')) as Index;
    this.checkpointDir = join(dir, this.index.checkpoint);
  }

  has(run: string): boolean {
    return this.index.runs.includes(run);
  }

  /** What a run computed in a step, under the library's module path (rounding_log.py). */
  tensor(run: string, step: number, name: string): StoredTensor {
    const found = this.tensors(run).get(`${step}:${name}`);
    if (!found) throw new Error(`${this.dir}/${run}.safetensors: no ${step}:${name}`);
    return found;
  }

  /** Names of all values of a step. */
  names(run: string, step: number): string[] {
    const prefix = `${step}:`;
    return [...this.tensors(run).keys()].filter((key) => key.startsWith(prefix)).map((key) => key.slice(prefix.length));
  }

  private tensors(run: string): Map<string, StoredTensor> {
    const known = this.runs.get(run) ?? readSafetensors(join(this.dir, `${run}.safetensors`));
    this.runs.set(run, known);
    return known;
  }
}

/** Every checkpoint of a folder. */
export function expectedIn(folder: string): Expected[] {
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => new Expected(join(folder, entry.name)));
}
