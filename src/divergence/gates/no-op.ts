/** Gate 5. Patch points change nothing while they are off, nor when they write back what was there. */
import { patchRefusal } from '../../graph/kernels.ts';
import type { Activations, Capture, KernelRole, Patch } from '../../model/executor.ts';
import type { KVCache } from '../../model/kv-cache.ts';
import { forward } from '../../model/plans.ts';
import { gateClaims } from './claims.ts';
import { compareRuns, Tally, tallied } from './difference.ts';
import { always, type Gate, type GateContext, lengthScope, type Observation } from './gate.ts';

export const noOp: Gate = {
  name: 'no-op',
  class: 'harness',
  claim: gateClaims['no-op'],
  required: '0 elements differ (signed zeros apart)',
  failing: ['patches applied where their mask is off', 'a K row that is patched in scaled by 1 + 2^-8'],
  appliesTo: always,
  stages: 'first',
  begin,
};

/** Decode steps that are looked at: the first beside a run, every one in an audit. */
function checkedLengths({ lengths, scale }: GateContext): readonly number[] {
  return scale === 'audit' ? lengths : lengths.slice(0, 1);
}

function begin(context: GateContext): Observation {
  const { prompt, kernels, hooks } = context;
  const refused = [...hooks].some((hook) => patchRefusal(kernels.decode, hook) ?? patchRefusal(kernels.prefill, hook));
  const points = `a patch point at every hook${refused ? ' that has one under these kernels' : ''}`;
  const checked = checkedLengths(context);
  const steps = checked.length === 1 ? ' and one decode step' : ` and decode steps ${lengthScope(checked)}`;
  const scope = `prompt ${prompt.id}, prefill${checked.length > 0 ? steps : ''}, ${points}`;
  return tallied(new Tally(), scope, observe);
}

async function observe(context: GateContext, tally: Tally): Promise<void> {
  const { executor, hooks, tokens, prompt, decodeRows } = context;
  const p = prompt.tokens.length;
  const history = executor.newCache(tokens.length);

  const check = async (n: number, start: number, kernel: KernelRole) => {
    const run = async (capture: Capture, cache: KVCache = executor.newCache(n)): Promise<Activations> => {
      cache.copyFrom(history, start);
      return (await forward(executor, { tokens: tokens.slice(start, n), start, cache, kernel, capture })).activations;
    };
    const rows = { from: start, to: n };
    const next = executor.newCache(n);
    const plain = { start, n, activations: await run({ hooks }, next) };
    const points = new Map([...plain.activations].filter(([hook]) => !patchRefusal(executor.kernels[kernel], hook)));
    const variants = { 'patches off': off(context, points), 'self-patch': self(points) };
    for (const [variant, patches] of Object.entries(variants)) {
      const patched = { start, n, activations: await run({ hooks, patches }) };
      compareRuns(tally, hooks, patched, plain, rows, `${variant}, ${kernel}, n = ${n}`);
    }
    history.copyFrom(next, n);
  };

  await check(p, 0, 'prefill');
  for (const n of checkedLengths(context)) await check(n, Math.max(0, n - decodeRows), 'decode');
}

/** Masks off over NaN: one that leaks poisons everything after it. */
function off({ executor }: GateContext, plain: Activations): Patch[] {
  return [...plain].map(([hook, { dims }]) => {
    const ones = dims.map(() => 1);
    const value = executor.compute === 'f64' ? new Float64Array([NaN]) : new Float32Array([NaN]);
    return { hook, mask: { data: new Uint8Array([0]), dims: ones }, value: { data: value, dims: ones } };
  });
}

function self(plain: Activations): Patch[] {
  return [...plain].map(([hook, { data, dims }]) => ({
    hook,
    mask: { data: new Uint8Array([1]), dims: dims.map(() => 1) },
    value: { data, dims },
  }));
}
