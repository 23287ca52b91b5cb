/**
 * What capturing costs: `npx tsx bench/capture.mts [CHECKPOINT] [--precision fp16]`.
 *
 * The same forward pass with no hooks, the `core` hooks and `all` hooks, interleaved in one process so that the three see
 * the same machine: a prefill of 256 tokens, and one decoded token at past length 256. "none again" is a second copy of
 * "none": how far its ratio is from 1 is the noise of the run.
 */
import { parseArgs } from 'node:util';
import { openCheckpoint } from '../src/checkpoint/open.ts';
import { isCacheHook, selectHooks } from '../src/graph/hooks.ts';
import { resolveKernels } from '../src/graph/kernels.ts';
import { resolvePolicy } from '../src/graph/rounding.ts';
import { Executor, type KernelRole } from '../src/model/executor.ts';
import { type ForwardRequest, forward } from '../src/model/plans.ts';
import { benchModel } from './synthetic.mts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    precision: { type: 'string', default: 'fp16' },
    length: { type: 'string', default: '256' },
    prefills: { type: 'string', default: '25' },
    decodes: { type: 'string', default: '200' },
  },
});
const length = Number(values.length);
const checkpoint = await openCheckpoint(positionals[0] ?? benchModel());
const { layers, vocabSize } = checkpoint.config;
const policy = resolvePolicy(values.precision);
const names = (globs: string) => new Set(selectHooks(globs, checkpoint.config).map(({ name }) => name));
const sets: Record<string, ReadonlySet<string>> = {
  none: new Set<string>(),
  'none again': new Set<string>(),
  core: names('core'),
  all: names('all'),
};
// Each set has sessions of its own: where weights happen to lie in memory is part of the noise that "none again" shows.
const executors = Object.fromEntries(
  Object.keys(sets).map((name) => [
    name,
    new Executor({ checkpoint, policy, kernels: resolveKernels('ort'), threads: 1 }),
  ]),
);
const tokens = Array.from({ length: length + 1 }, (_, i) => (i * 7919 + 3) % vocabSize);
const cache = executors.none.newCache(length + 1);

interface Timed {
  /** Milliseconds of each repetition. */
  wall: number[];
  cpu: number[];
  bytes: number;
}

/** Milliseconds of `repetitions` passes per hook set, in rotating order. */
async function measure(kernel: KernelRole, start: number, count: number, repetitions: number) {
  const timed = Object.fromEntries(
    Object.keys(sets).map((name): [string, Timed] => [name, { wall: [], cpu: [], bytes: 0 }]),
  );
  const order = Object.keys(sets);
  for (let repetition = -3; repetition < repetitions; repetition++) {
    for (let i = 0; i < order.length; i++) {
      const name = order[(i + repetition + 3) % order.length];
      const request: ForwardRequest = {
        ...{ tokens: tokens.slice(start, start + count), start, cache, kernel },
        capture: { hooks: sets[name] },
      };
      const before = process.cpuUsage();
      const began = performance.now();
      const { activations } = await forward(executors[name], request);
      const wall = performance.now() - began;
      const { user, system } = process.cpuUsage(before);
      // The first repetitions open sessions and warm up.
      if (repetition < 0) continue;
      timed[name].wall.push(wall);
      timed[name].cpu.push((user + system) / 1000);
      // Arrays that two hooks share count once; views of the cache are no copies at all.
      const own = [...activations].filter(([hook]) => !isCacheHook(hook)).map(([, { data }]) => data.buffer);
      timed[name].bytes = [...new Set(own)].reduce((sum, buffer) => sum + buffer.byteLength, 0);
    }
  }
  return timed;
}

function median(numbers: number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

function show(title: string, timed: Record<string, Timed>) {
  console.log(`\n${title}, ${timed.none.wall.length} repetitions, interleaved`);
  console.log('               median ms    ratio   ratio of minima   ratio of CPU time     MB of arrays');
  for (const [name, { wall, cpu, bytes }] of Object.entries(timed)) {
    const numbers = [
      median(wall).toFixed(2).padStart(10),
      (median(wall) / median(timed.none.wall)).toFixed(3).padStart(9),
      (Math.min(...wall) / Math.min(...timed.none.wall)).toFixed(3).padStart(16),
      (median(cpu) / median(timed.none.cpu)).toFixed(3).padStart(18),
      (bytes / 1e6).toFixed(2).padStart(16),
    ];
    console.log(`  ${name.padEnd(12)}${numbers.join('')}`);
  }
}

console.log(`${checkpoint.name}: ${layers} blocks, ${policy.name}, one thread, Node ${process.versions.node}`);
show(`Prefill of ${length} tokens`, await measure('prefill', 0, length, Number(values.prefills)));
show(`One token at past length ${length}`, await measure('decode', length, 1, Number(values.decodes)));
for (const executor of Object.values(executors)) await executor.release();
