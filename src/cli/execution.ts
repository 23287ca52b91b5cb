/** How a run fits into memory: with all layers loaded and so many workers, or one layer at a time. */
import { totalmem } from 'node:os';
import type { Checkpoint, ModelConfig } from '../checkpoint/types.ts';
import { InputError } from '../errors.ts';
import type { RoundingPolicy } from '../graph/rounding.ts';
import { estimateMemory, loadedBytes } from '../model/memory.ts';
import type { Prompt } from '../study/prompts.ts';
import type { CommonOptions } from './options.ts';

/** How prompts run. */
export interface Execution {
  execution: 'resident' | 'by-layer';
  workers: number;
  /** The estimate and the choice, for stderr. */
  note: string;
}

/** What the choice depends on beside the model. */
export interface Demand {
  /** Tokens of the longest sequence. */
  rows: number;
  /** Every token is given, so that the run can go layer by layer. */
  givenTokens?: boolean;
  /** What needs all layers whatever is given, in a word. */
  allLayers?: string;
}

/** Share of the memory at hand that a run may take if it is not told. */
const usableShare = 0.8;

/**
 * Choose how to run.
 * @throws InputError if the run fits in neither way.
 */
export function chooseExecution(
  checkpoint: Checkpoint,
  options: Pick<CommonOptions, 'policy' | 'workers' | 'maxMemory'>,
  { rows, givenTokens = false, allLayers }: Demand,
): Execution {
  const { policy, workers } = options;
  const limit = memoryLimit(options.maxMemory);
  const { resident, perWorker, byLayer } = estimateMemory(checkpoint, policy, rows);
  const source = options.maxMemory === null ? 'memory' : '--max-memory';
  const estimate = `about ${shownBytes(resident)} with all layers loaded, ${shownBytes(byLayer)} layer by layer; ${shownBytes(limit)} may be used`;
  if (resident <= limit) {
    const fitting = Math.min(workers, 1 + Math.floor((limit - resident) / perWorker));
    return { execution: 'resident', workers: fitting, note: `memory: ${estimate}: all layers loaded` };
  }
  if (allLayers !== undefined) {
    throw new InputError(
      `${source}: ${checkpoint.name} takes ${estimate}, and ${allLayers} needs all layers`,
      'raise --max-memory',
    );
  }
  if (!givenTokens) {
    throw new InputError(
      `${source}: ${checkpoint.name} takes ${estimate}, and a run that chooses its own tokens needs all layers`,
      'give the tokens, so that it can run layer by layer: --prefill N, or a "continuation" of each prompt; or raise --max-memory',
    );
  }
  if (byLayer > limit) throw new InputError(`${source}: ${checkpoint.name} takes ${estimate}`, 'raise --max-memory');
  return { execution: 'by-layer', workers: 1, note: `memory: ${estimate}: layer by layer` };
}

/**
 * Refuse a model whose weights do not fit, for commands that need all layers.
 * @param copies graphs of every stage that are loaded at once
 * @throws InputError
 */
export function checkLoads(checkpoint: Checkpoint, policy: RoundingPolicy, maxMemory: number | null, copies = 1): void {
  const limit = memoryLimit(maxMemory);
  const needed = copies * loadedBytes(checkpoint, policy);
  if (needed <= limit) return;
  throw new InputError(
    `${maxMemory === null ? 'memory' : '--max-memory'}: ${checkpoint.name} takes about ${shownBytes(needed)} with all layers loaded, ${shownBytes(limit)} may be used`,
    'kvlens diverge runs layer by layer on given tokens (--prefill N); or raise --max-memory',
  );
}

/** Tokens of the longest sequence that a run of these prompts can reach. */
export function longestSequence(
  prompts: readonly Pick<Prompt, 'tokens' | 'continuation'>[],
  maxNewTokens: number,
  { maxPositions }: ModelConfig,
): number {
  const lengths = prompts.map(({ tokens, continuation }) => tokens.length + (continuation?.length ?? maxNewTokens));
  return Math.min(maxPositions, Math.max(...lengths));
}

/** What a run may take: what it is told, or a share of the memory at hand. */
export function memoryLimit(maxMemory: number | null): number {
  return maxMemory ?? usableShare * (process.availableMemory?.() ?? totalmem());
}

/** `1.34 GB` */
export function shownBytes(bytes: number): string {
  if (bytes >= 1e9) return `${(bytes / 1e9).toPrecision(3)} GB`;
  return bytes >= 1e6 ? `${Math.round(bytes / 1e6)} MB` : `${Math.ceil(bytes / 1e3)} kB`;
}
