/** What `compare.mts` compares: cases, their peers, and the targets. */
import type { ModelConfig } from '../../src/checkpoint/types.ts';
import type { Peer, Task, WorkerRequest } from './protocol.mts';

/** One comparison of kvlens with one peer. */
export interface Case {
  name: string;
  /** `open`: a new process each time, from its start to its first result. */
  task: Task | 'open';
  peer: Peer;
  /** How many times faster kvlens must be; null: reported only. */
  target: number | null;
  /** A sweep: how the corrupted prompt differs from the clean one. */
  differs?: 'one token' | 'every token';
  /** Share of `--pairs` that is run: a pair of these takes long. */
  share: number;
}

export const cases: readonly Case[] = [
  { name: 'prefill, all hooks', task: 'prefill', peer: 'transformer-lens', target: 2.5, share: 1 },
  { name: 'prefill, all hooks', task: 'prefill', peer: 'transformers', target: null, share: 1 },
  { name: 'prefill, all hooks', task: 'prefill', peer: 'nnsight', target: null, share: 1 },
  { name: 'decode, all hooks', task: 'decode', peer: 'transformers', target: 3, share: 1 },
  {
    ...{ name: 'residual sweep, one token differs', task: 'sweep', peer: 'transformer-lens', target: 15 },
    ...{ differs: 'one token', share: 0.25 },
  },
  {
    ...{ name: 'residual sweep, every token differs', task: 'sweep', peer: 'transformer-lens', target: 15 },
    ...{ differs: 'every token', share: 0.25 },
  },
  { name: 'prefill, nothing kept', task: 'forward', peer: 'onnxruntime-node', target: null, share: 1 },
  { name: 'prefill, nothing kept', task: 'forward', peer: 'onnxruntime', target: null, share: 1 },
  { name: 'prefill, nothing kept', task: 'forward', peer: 'transformers', target: null, share: 1 },
  { name: 'open and run once', task: 'open', peer: 'transformer-lens', target: null, share: 0.25 },
  { name: 'open and run once', task: 'open', peer: 'transformers', target: null, share: 0.25 },
];

/** Sizes of what is run. */
export interface Sizes {
  /** Tokens of a prompt that is prefilled, and of one that is decoded after. */
  prefill: number;
  /** Tokens of a sweep's prompts. */
  sweep: number;
  /** Decode steps in one timed run. */
  steps: number;
}

/** As `sizes`, cut to the model's context. */
export function fitting({ prefill, sweep, steps }: Sizes, { maxPositions }: Pick<ModelConfig, 'maxPositions'>): Sizes {
  const fittingSteps = Math.min(steps, maxPositions >> 1);
  const [longest, longestSweep] = [Math.min(prefill, maxPositions), Math.min(sweep, maxPositions)];
  return { prefill: longest, sweep: longestSweep, steps: fittingSteps };
}

/** What both workers of a case are told, but for who they are. */
export function requestOf(
  { task, differs }: Case,
  { vocabSize, maxPositions }: Pick<ModelConfig, 'vocabSize' | 'maxPositions'>,
  sizes: Sizes,
): Omit<WorkerRequest, 'peer' | 'checkpoint' | 'graphs' | 'threads'> {
  const row = (start: number, length: number) => Array.from({ length }, (_, i) => ((start + i) * 7919 + 3) % vocabSize);
  const isSweep = task === 'sweep';
  const prompt = isSweep
    ? sizes.sweep
    : task === 'decode'
      ? Math.min(sizes.prefill, maxPositions - sizes.steps)
      : sizes.prefill;
  const tokens = row(0, prompt);
  const third = Math.floor(prompt / 3);
  const corrupt = (token: number, i: number) =>
    differs === 'every token' ? (token + 1234) % vocabSize : i === third ? (token + 99) % vocabSize : token;
  return {
    task: task === 'open' ? 'forward' : task,
    precision: 'fp32',
    tokens,
    forced: task === 'decode' ? row(prompt, sizes.steps) : [],
    corrupted: isSweep ? tokens.map(corrupt) : [],
    answers: [5, 7],
    checkLoop: false,
  };
}
