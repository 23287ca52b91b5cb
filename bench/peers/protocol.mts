/**
 * What a worker is told and what it answers: JSON, a line each. The first line is the request; the worker answers `ready` or
 * `error`. Each line `"go"` after it runs the case once and is answered. The end of its input ends the worker.
 */
import { z } from 'zod';

export const peers = [
  'kvlens',
  'onnxruntime-node',
  'onnxruntime',
  'transformer-lens',
  'transformers',
  'nnsight',
] as const;
export type Peer = (typeof peers)[number];

/** What is run: a pass without capture, the same with all hooks kept, decode steps with all hooks kept, a patching sweep. */
export const tasks = ['forward', 'prefill', 'decode', 'sweep'] as const;
export type Task = (typeof tasks)[number];

const ids = z.array(z.int().min(0));
export const requestSchema = z.strictObject({
  peer: z.enum(peers),
  task: z.enum(tasks),
  /** A folder in Hugging Face's layout. */
  checkpoint: z.string(),
  /** A single-file export of it, for the bare runtimes. */
  graphs: z.string(),
  /** Of the operators; nothing else runs beside them. */
  threads: z.int().min(1),
  precision: z.literal('fp32'),
  /** The prompt; of a sweep, the clean one. */
  tokens: ids.min(1),
  /** Tokens that are forced after the prompt, a decode step each. */
  forced: ids,
  /** The prompt that a sweep patches. */
  corrupted: ids,
  /** A sweep's metric is logit(answers[0]) − logit(answers[1]) at the last position. */
  answers: z.tuple([z.int(), z.int()]),
  /** A sweep of kvlens: whether to run it once cell by cell too, and compare the bits. */
  checkLoop: z.boolean(),
});
export type WorkerRequest = z.infer<typeof requestSchema>;

export const readySchema = z.strictObject({
  ready: z.literal(true),
  /** Names and versions of what computes. */
  versions: z.record(z.string(), z.string()),
  /** What both sides must agree on: logits of the last position, or the cells of a sweep. */
  result: z.array(z.number()).min(1),
  /** What one run keeps: tensors by name, and bytes of distinct memory. */
  kept: z.strictObject({ tensors: z.int(), bytes: z.int() }).nullable(),
  /** A worker's own remarks, such as how a sweep ran. */
  notes: z.array(z.string()),
});
export const ranSchema = z.strictObject({ seconds: z.number().positive(), digest: z.array(z.number()).min(1) });
export const errorSchema = z.strictObject({ error: z.string() });

/** What a worker says once it has run its case for the first time. */
export type Ready = z.infer<typeof readySchema>;
/** One timed run; `digest` holds every n-th number of the result (`digestOf`). */
export type Ran = z.infer<typeof ranSchema>;

/** Numbers of a digest. */
const digestSize = 16;

/** At most sixteen numbers of a result, evenly spread, the first among them: `worker.py` takes the same. */
export function digestOf(result: readonly number[]): number[] {
  const count = Math.min(digestSize, result.length);
  return Array.from({ length: count }, (_, i) => result[Math.floor((i * result.length) / count)]);
}

/** The largest difference, relative to the largest number of either; Infinity for unlike lengths or a number that is none. */
export function relativeDifference(a: readonly number[], b: readonly number[]): number {
  if (a.length !== b.length || a.length === 0) return Number.POSITIVE_INFINITY;
  if (![...a, ...b].every(Number.isFinite)) return Number.POSITIVE_INFINITY;
  const scale = Math.max(...a.map(Math.abs), ...b.map(Math.abs));
  const difference = Math.max(...a.map((x, i) => Math.abs(x - b[i])));
  return difference === 0 ? 0 : difference / scale;
}
