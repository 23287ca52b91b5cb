/**
 * A patching sweep against the straightforward loop: `npx tsx bench/sweep.mts [CHECKPOINT] [--precision fp16] [--length 64]`.
 *
 * The grid is resid_pre by layer and position, read at the last position. The loop is one full forward pass per cell. The two
 * take turns in one process, so that they see the same machine, and every cell's logits are compared bit by bit. Two
 * pairs of prompts: one that differs in a single token a third of the way in, as clean and corrupted prompts do, and one that
 * differs in every token, so that no cell is the base run. `npm run build` first: workers need it.
 */
import { existsSync } from 'node:fs';
import { parseArgs } from 'node:util';
import type { FloatArray } from '../src/model/arrays.ts';
import type { Cell } from '../src/patching/sweep/cells.ts';
import { median } from './statistics.mts';
import { benchModel } from './synthetic.mts';

const { values: given, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    precision: { type: 'string', default: 'fp16' },
    kernels: { type: 'string', default: 'ort' },
    kind: { type: 'string', default: 'resid_pre' },
    length: { type: 'string', default: '64' },
    repetitions: { type: 'string', default: '3' },
    workers: { type: 'string', default: '2' },
  },
});
const build = new URL('../dist/patching/sweep/sweep.js', import.meta.url);
if (!existsSync(build)) throw new Error('dist/patching/sweep/sweep.js is missing: npm run build');
const { sweep }: typeof import('../src/patching/sweep/sweep.ts') = await import(build.href);
const at = async (path: string) => import(new URL(`../dist/${path}.js`, import.meta.url).href);
const { baseRun, honestLogits }: typeof import('../src/patching/sweep/base-run.ts') =
  await at('patching/sweep/base-run');
const { Executor }: typeof import('../src/model/executor.ts') = await at('model/executor');
const { openCheckpoint }: typeof import('../src/checkpoint/open.ts') = await at('checkpoint/open');
const { findHook, hookName }: typeof import('../src/graph/hooks.ts') = await at('graph/hooks');
const { resolveKernels }: typeof import('../src/graph/kernels.ts') = await at('graph/kernels');
const { resolvePolicy }: typeof import('../src/graph/rounding.ts') = await at('graph/rounding');

const checkpoint = await openCheckpoint(positionals[0] ?? benchModel());
const { layers, vocabSize } = checkpoint.config;
const policy = resolvePolicy(given.precision);
const executor = new Executor({ checkpoint, policy, kernels: resolveKernels(given.kernels), threads: 1 });
const length = Number(given.length);
const third = Math.floor(length / 3);
const clean = Array.from({ length }, (_, i) => (i * 7919 + 3) % vocabSize);
const pairs = {
  'one token differs': clean.map((token, i) => (i === third ? (token + 99) % vocabSize : token)),
  'every token differs': clean.map((token) => (token + 1234) % vocabSize),
};
const cells = Array.from({ length: layers }, (_, layer) => {
  const hook = findHook(hookName(given.kind, layer), checkpoint.config)!;
  return clean.map((_, pos): Cell => ({ hook, at: { pos } }));
}).flat();
const hooks = new Set(cells.map(({ hook }) => hook.name));
const { values } = await baseRun(executor, clean, hooks);

/** Seconds by the clock and of all cores. */
async function timed<T>(run: () => Promise<T>) {
  const before = process.cpuUsage();
  const began = performance.now();
  const result = await run();
  const { user, system } = process.cpuUsage(before);
  return { result, clock: (performance.now() - began) / 1000, cpu: (user + system) / 1e6 };
}

/** Logits of the last row of every cell, one full pass each. */
async function loop(tokens: readonly number[], part: readonly Cell[] = cells) {
  const found: FloatArray[] = [];
  for (const cell of part) {
    const logits = await honestLogits({ executor, tokens }, cell, values.get(cell.hook.name)!);
    found.push(logits.slice((length - 1) * vocabSize));
  }
  return found;
}

/** The same by a sweep. */
function swept(tokens: readonly number[], workers = 1) {
  const request = { executor, tokens, cells, clean: values, reads: [length - 1], workers };
  return sweep({ ...request, evaluate: (logits: FloatArray) => logits });
}

function cellsThatDiffer(a: readonly FloatArray[], b: readonly FloatArray[]): number {
  return a.filter((logits, i) => logits.some((x, j) => !Object.is(x, b[i][j]))).length;
}

console.log(
  `${checkpoint.name}: ${layers} blocks, ${policy.name}, ${given.kernels}, one thread, Node ${process.versions.node}`,
);
console.log(
  `${given.kind}, ${layers} layers × ${length} positions = ${cells.length} cells, logits of the last position`,
);
for (const [name, tokens] of Object.entries(pairs)) {
  // Opens the sessions of both.
  await swept(tokens);
  const firsts = cells.filter(({ at: { pos } }) => pos === length - 1);
  await loop(tokens, firsts);
  const loops: { clock: number; cpu: number }[] = [];
  const sweeps: { clock: number; cpu: number }[] = [];
  let differ = 0;
  let honest: FloatArray[] = [];
  for (let repetition = 0; repetition < Number(given.repetitions); repetition++) {
    const fast = await timed(() => swept(tokens));
    const slow = await timed(() => loop(tokens));
    sweeps.push(fast);
    loops.push(slow);
    honest = slow.result;
    differ += cellsThatDiffer(fast.result.values, honest);
    if (repetition > 0) continue;
    const { mode, vacuous, resumed, compared } = fast.result.method;
    console.log(
      `\n${name}: ${mode}; ${vacuous} cells change nothing, ${resumed} resumed, ${compared} computed both ways`,
    );
  }
  const middle = (runs: typeof loops, what: 'clock' | 'cpu') => median(runs.map((run) => run[what]));
  for (const what of ['clock', 'cpu'] as const) {
    const [slow, fast] = [middle(loops, what), middle(sweeps, what)];
    console.log(
      `  ${what.padEnd(6)} loop ${slow.toFixed(2)} s, sweep ${fast.toFixed(2)} s, ratio ${(slow / fast).toFixed(2)}`,
    );
  }
  const count = cells.length * loops.length;
  console.log(`  bits   ${differ} of ${count} cells differ from the loop's`);
  const workers = Number(given.workers);
  if (workers < 2) continue;
  const many = await timed(() => swept(tokens, workers));
  const ratio = middle(loops, 'clock') / many.clock;
  const others = cellsThatDiffer(many.result.values, honest);
  console.log(
    `  ${workers} workers, starting them included: ${many.clock.toFixed(2)} s, ratio ${ratio.toFixed(2)}; ${others} cells differ`,
  );
}
await executor.release();
