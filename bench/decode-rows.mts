/**
 * What order-matched decoding costs: `npx tsx bench/decode-rows.mts [CHECKPOINT…] [--precision fp16]`.
 *
 * Milliseconds per token of a decode step of one row, of two rows, and of the uncached arm (all rows), at a few sequence lengths,
 * interleaved in one process so that the three see the same machine. "1 row again" has sessions of its own: how far its ratio is
 * from 1 is the noise of the run. Whether two rows give the uncached arm's bits is checked at every length.
 */
import { parseArgs } from 'node:util';
import { embeddedModels } from '../src/checkpoint/embedded.ts';
import { openCheckpoint } from '../src/checkpoint/open.ts';
import { bitEqual } from '../src/divergence/counterfactual.ts';
import { resolveKernels } from '../src/graph/kernels.ts';
import { resolvePolicy } from '../src/graph/rounding.ts';
import { captureNothing, Executor } from '../src/model/executor.ts';
import { forward } from '../src/model/plans.ts';
import { benchModel } from './synthetic.mts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    precision: { type: 'string', default: 'fp16' },
    kernels: { type: 'string', default: 'ort' },
    lengths: { type: 'string', default: '64,160,256' },
    repetitions: { type: 'string', default: '60' },
    /** Every so many repetitions the uncached arm runs once. */
    every: { type: 'string', default: '6' },
  },
});
const [repetitions, every] = [Number(values.repetitions), Number(values.every)];
const policy = resolvePolicy(values.precision);
const kernels = resolveKernels(values.kernels);
const folders = positionals.length > 0 ? positionals : [...embeddedModels().map(({ dir }) => dir), benchModel()];

console.log(
  `${policy.name}, kernels ${kernels.name}, one thread, Node ${process.versions.node}; medians, ms per token`,
);
console.log(
  '                               ms per token           ratio of medians         ratio of minima    2 rows =',
);
console.log(
  '                  length     1 row    2 rows  uncached  2 rows   again uncached  2 rows   again uncached   uncached',
);
for (const folder of folders) await benchOne(folder);

async function benchOne(folder: string): Promise<void> {
  const checkpoint = await openCheckpoint(folder);
  const { vocabSize, maxPositions } = checkpoint.config;
  const open = () => new Executor({ checkpoint, policy, kernels, threads: 1 });
  const executors = { '1 row': open(), '2 rows': open(), '1 row again': open(), uncached: open() };
  for (const n of values.lengths.split(',').map(Number)) {
    if (n > maxPositions) continue;
    const tokens = Array.from({ length: n }, (_, i) => (i * 7919 + 3) % vocabSize);
    const cache = executors.uncached.newCache(n);
    const all = { tokens, start: 0, cache, kernel: 'prefill', capture: captureNothing } as const;
    const honest = await forward(executors.uncached, all);
    const step = async (name: keyof typeof executors, rows: number) => {
      const start = n - rows;
      const request = { tokens: tokens.slice(start), start, kernel: rows === n ? 'prefill' : 'decode' } as const;
      const began = performance.now();
      const { logits } = await forward(executors[name], { ...request, cache, capture: captureNothing });
      return { milliseconds: performance.now() - began, newest: logits!.slice(-vocabSize) };
    };
    const times: Record<string, number[]> = { '1 row': [], '2 rows': [], '1 row again': [], uncached: [] };
    let equal = true;
    for (let repetition = -3; repetition < repetitions; repetition++) {
      const plan: [keyof typeof executors, number][] = [
        ['1 row', 1],
        ['2 rows', 2],
        ['1 row again', 1],
      ];
      if (repetition < 0 || repetition % every === 0) plan.push(['uncached', n]);
      // Each kind comes first, second and third equally often; the cache is the uncached arm's before every step.
      for (let i = 0; i < plan.length; i++) {
        const [name, rows] = plan[(i + repetition + 3) % plan.length];
        const { milliseconds, newest } = await step(name, rows);
        if (name === '2 rows') equal &&= bitEqual(newest, honest.logits!.slice(-vocabSize));
        // The first repetitions open sessions and warm up.
        if (repetition >= 0) times[name].push(milliseconds);
      }
    }
    show(`${checkpoint.name}`, n, times, equal);
  }
  for (const executor of Object.values(executors)) await executor.release();
}

function show(name: string, n: number, times: Record<string, number[]>, equal: boolean): void {
  const kinds = ['1 row', '2 rows', '1 row again', 'uncached'];
  const [one, two, again, all] = kinds.map((kind) => median(times[kind]));
  const [least, ...others] = kinds.map((kind) => Math.min(...times[kind]));
  const cells = [
    name.slice(0, 18).padEnd(18),
    String(n).padStart(6),
    ...[one, two, all].map((milliseconds) => milliseconds.toFixed(2).padStart(10)),
    ...[two, again].map((milliseconds) => (milliseconds / one).toFixed(2).padStart(8)),
    (all / one).toFixed(1).padStart(8),
    ...others.slice(0, 2).map((milliseconds) => (milliseconds / least).toFixed(2).padStart(8)),
    (others[2] / least).toFixed(1).padStart(8),
    (equal ? 'every bit' : 'NO').padStart(12),
  ];
  console.log(cells.join(''));
}

function median(numbers: number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
