/**
 * What the uncached arm costs on given tokens: `npx tsx bench/uncached.mts [CHECKPOINT…] [--precision fp16] [--steps 256]`.
 *
 * All steps as rows of one forward against one forward per step, capturing the core hooks, and the logits alone; and against
 * decoding two rows per step. The steps of one kind are spread over the run, so that all kinds see the same machine. The
 * newest row of every captured hook is compared, bit for bit, with the step's own forward.
 */
import { parseArgs } from 'node:util';
import { embeddedModels } from '../src/checkpoint/embedded.ts';
import { openCheckpoint } from '../src/checkpoint/open.ts';
import { bitEqual } from '../src/divergence/counterfactual.ts';
import { type Hook, selectHooks } from '../src/graph/hooks.ts';
import { resolveKernels } from '../src/graph/kernels.ts';
import { resolvePolicy } from '../src/graph/rounding.ts';
import { newestRow } from '../src/model/activation-rows.ts';
import { Arm, type ArmStep } from '../src/model/arms.ts';
import { Executor } from '../src/model/executor.ts';
import { median } from './statistics.mts';
import { benchModel } from './synthetic.mts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    precision: { type: 'string', default: 'fp16' },
    kernels: { type: 'string', default: 'ort' },
    /** Tokens of the prompt, and forced tokens after it, as far as the context reaches. */
    prompt: { type: 'string', default: '64' },
    steps: { type: 'string', default: '256' },
    /** How often the one forward is made; its median counts. */
    repetitions: { type: 'string', default: '7' },
  },
});
const policy = resolvePolicy(values.precision);
const kernels = resolveKernels(values.kernels);
const folders = positionals.length > 0 ? positionals : [...embeddedModels().map(({ dir }) => dir), benchModel()];

console.log(
  `${policy.name}, kernels ${kernels.name}, one thread, Node ${process.versions.node}; milliseconds per prompt`,
);
console.log('                    hooks   prompt   steps   1 forward   per step   ratio   2 rows   ratio   bits');
for (const folder of folders) {
  const checkpoint = await openCheckpoint(folder);
  for (const [name, globs] of [
    ['core', 'core'],
    ['logits', 'logits'],
  ]) {
    const executor = new Executor({ checkpoint, policy, kernels, threads: 1 });
    await bench(executor, checkpoint.name, name, selectHooks(globs, checkpoint.config));
    await executor.release();
  }
}

async function bench(executor: Executor, model: string, name: string, hooks: readonly Hook[]): Promise<void> {
  const { vocabSize, maxPositions } = executor.config;
  const promptLength = Number(values.prompt);
  const length = Math.min(promptLength + Number(values.steps), maxPositions);
  const tokens = Array.from({ length }, (_, i) => (i * 7919 + 3) % vocabSize);
  const capture = { hooks: new Set(hooks.map((hook) => hook.name)) };
  const step = (arm: Arm, n: number) =>
    n === promptLength ? arm.prefill(tokens.slice(0, n), capture) : arm.step(tokens.slice(0, n), capture);

  // One forward: all steps, their rows cut out. The first one opens sessions and warms up.
  const forwards: number[] = [];
  let found: ArmStep[] = [];
  const forward = async () => {
    const began = performance.now();
    const arm = Arm.ofForward(executor, tokens);
    found = [];
    for (let n = promptLength; n <= length; n++) found.push(await step(arm, n));
    forwards.push(performance.now() - began);
  };
  await forward();
  forwards.length = 0;
  await forward();

  const honest = Arm.uncached(executor, length, 'recompute');
  const decoded = Arm.uncached(executor, length, 'stand-in');
  const times = { honest: 0, decoded: 0 };
  const every = Math.ceil((length - promptLength) / Number(values.repetitions));
  let equal = true;
  for (let n = promptLength; n <= length; n++) {
    let began = performance.now();
    const own = await step(honest, n);
    times.honest += performance.now() - began;
    began = performance.now();
    await step(decoded, n);
    times.decoded += performance.now() - began;
    const row = found[n - promptLength];
    equal &&= bitEqual(row.logits, own.logits);
    for (const hook of hooks) {
      const [ours, theirs] = [row, own].map(({ activations }) => newestRow(hook, activations.get(hook.name)!));
      equal &&= bitEqual(ours, theirs);
    }
    if ((n - promptLength) % every === 0) await forward();
  }
  const one = median(forwards);
  const cells = [
    model.slice(0, 18).padEnd(18),
    name.padStart(7),
    String(promptLength).padStart(9),
    String(length - promptLength).padStart(8),
    one.toFixed(1).padStart(12),
    times.honest.toFixed(0).padStart(11),
    (times.honest / one).toFixed(0).padStart(8),
    times.decoded.toFixed(0).padStart(9),
    (times.decoded / one).toFixed(0).padStart(8),
    (equal ? 'equal' : 'DIFFER').padStart(9),
  ];
  console.log(cells.join(''));
}
