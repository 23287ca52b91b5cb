/** What every run computes with, whatever it measures. */
import type { Checkpoint } from '../checkpoint/types.ts';
import type { KernelPreset } from '../graph/kernels.ts';
import type { RoundingPolicy } from '../graph/rounding.ts';
import type { Fault } from '../model/faults.ts';
import type { Strategy } from '../model/sampling/index.ts';
import type { RunDirectory } from '../store/run-directory.ts';
import type { Prompt } from '../study/prompts.ts';

export interface RunSubject {
  checkpoint: Checkpoint;
  policy: RoundingPolicy;
  kernels: KernelPreset;
  strategy: Strategy;
  prompts: readonly Prompt[];
  maxNewTokens: number;
  /** GLOB of hooks. */
  hooks: string;
  decodeRows: number;
  /** Intra-op threads. */
  threads: number;
  ignoreEos: boolean;
  /** Planted in the cached arm; such a run says so wherever it is named. */
  faults?: readonly Fault[];
  /** The template that made prompts of questions; recorded. */
  template: string;
  run: RunDirectory;
  signal?: AbortSignal;
}
