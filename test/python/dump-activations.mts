/**
 * `npx tsx dump-activations.mts MODEL RUN RAW`: recompute a greedy run of `diverge` from its tokens and write the values
 * that `activations/` should hold, without `src/store`'s writers, the run's worker threads or its stand-in plan.
 */
import { join } from 'node:path';
import { resolveModel } from '../../src/checkpoint/embedded.ts';
import { readJsonFile } from '../../src/checkpoint/json-file.ts';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { selectHooks } from '../../src/graph/hooks.ts';
import { resolveKernels } from '../../src/graph/kernels.ts';
import { resolvePolicy } from '../../src/graph/rounding.ts';
import { type Activation, Executor, type KernelRole } from '../../src/model/executor.ts';
import { forward } from '../../src/model/plans.ts';
import { openArrow } from '../../src/store/reader.ts';
import { RawDump } from './raw.mts';

interface Identity {
  hooks: string;
  decodeRows: number;
  policy: { name: string };
  kernels: { name: string };
}

const [model, runDir, raw] = process.argv.slice(2);
if (model === undefined || runDir === undefined || raw === undefined) throw new Error('expected MODEL, RUN and RAW');
const { identity } = readJsonFile(join(runDir, 'manifest.json')) as { identity: Identity };
const resolved = resolveModel(model);
const checkpoint = await openCheckpoint(resolved.dir, 'name' in resolved ? { name: resolved.name } : {});
const executor = new Executor({
  checkpoint,
  policy: resolvePolicy(identity.policy.name),
  kernels: resolveKernels(identity.kernels.name),
  threads: 1,
});
const hooks = new Map(
  selectHooks('all', checkpoint.config)
    .filter(({ definition }) => !definition.axes.includes('cache'))
    .map((hook) => [hook.name, hook]),
);
const capture = { hooks: new Set(hooks.keys()) };
const dump = new RawDump();

for (const { condition, prompt, tokens, steps } of await forcedSequences()) {
  const cache = executor.newCache(tokens.length);
  for (let step = 0; step < steps; step++) {
    const n = tokens.length - (steps - 1) + step;
    const start = step === 0 ? 0 : Math.max(0, n - identity.decodeRows);
    const rows = tokens.slice(start, n);
    const kernel: KernelRole = step === 0 ? 'prefill' : 'decode';
    const cached = await forward(executor, { tokens: rows, start, cache, kernel, capture });
    const whole = { tokens: tokens.slice(0, n), start: 0, cache: executor.newCache(n), kernel: 'prefill' as const };
    const uncached = await forward(executor, { ...whole, capture });
    for (const [arm, { activations }] of [['cached', cached] as const, ['uncached', uncached] as const]) {
      for (const [hook, { layer, definition }] of hooks) {
        const place = { condition, prompt, arm, step, position: n - 1, token: tokens[n - 1], layer, hook };
        const found = activations.get(hook);
        if (found) dump.add(definition.kind, place, newest(found, definition.axes.includes('query')));
      }
    }
  }
}
dump.write(raw);

/** Last row along `pos` ([1, pos, …]), or last query of every head ([1, head, query, key]). */
function newest({ data, dims }: Activation, perHead: boolean): Float32Array | Float64Array {
  if (!perHead) return data.slice(data.length - data.length / dims[1]);
  const [, heads, queries, keys] = dims;
  return data.filter((_, i) => Math.floor(i / keys) % queries === queries - 1 && i < heads * queries * keys);
}

/** Of every prompt: its tokens followed by those the teacher-forced steps were given. */
async function forcedSequences() {
  const prompts = await rowsOf('prompts.arrow');
  const steps = (await rowsOf('steps.arrow')).filter((row) => row.protocol === 'teacher-forced');
  return prompts.map((row) => {
    const prompt = String(row.prompt);
    const own = steps.filter((step) => step.prompt === prompt).sort((a, b) => Number(a.step) - Number(b.step));
    // The token of the last step was decided, never run.
    const forced = own.slice(0, -1).map((step) => Number(step.token_uncached));
    const tokens = [...(row.tokens as Iterable<number>), ...forced];
    return { condition: String(own[0].condition), prompt, tokens, steps: own.length };
  });
}

async function rowsOf(name: string): Promise<Record<string, unknown>[]> {
  const file = await openArrow(join(runDir, name));
  const table = await file.table();
  await file.close();
  return table.toArray().map((row) => row.toJSON());
}
