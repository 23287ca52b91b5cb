/** Cells that cannot come out otherwise, by hand: what is cut, and what still sums in another order. */
import { afterAll, expect, test } from 'vitest';
import { isByConstruction } from '../../../src/patching/specification/by-construction.ts';
import { resolveSpec } from '../../../src/patching/specification/resolve.ts';
import { type ArmsSpecInput, parsePatchSpec } from '../../../src/patching/specification/spec.ts';
import { removeCheckpoint, writeTinyCheckpoint } from '../../tiny-checkpoint.ts';
import { executorOf } from '../arms/traces.ts';

const dir = writeTinyCheckpoint({ attention: 'gqa', layers: 3 });
afterAll(() => removeCheckpoint(dir));

interface Case {
  patches?: ArmsSpecInput['patches'];
  prefix?: number;
  kernel?: 'decode' | 'prefill';
  kernels?: string;
  decodeRows?: number;
  n?: number;
  into?: 'cached' | 'uncached';
}
const last = [{ hook: 'blocks.2.hook_resid_post' }];
const own = { prefix: 3, kernel: 'prefill' as const };
const fromCached = (hook: string) => [{ hook: `blocks.2.${hook}`, from: 'cached' as const }];
const cache = { cache: 'both' as const, positions: ['history' as const] };

test.each<[string, boolean, Case]>([
  ['nothing replaced', false, {}],
  ['history recomputed under the decode kernel: attention sums otherwise', false, { prefix: 3 }],
  ['history and kernel replaced', true, { prefix: 3, kernel: 'prefill' }],
  ['two layers of three', false, { prefix: 2, kernel: 'prefill' }],
  ['the prefill kernel on the cached history', false, { kernel: 'prefill' }],
  ['… of the first decode step, whose history is the prompt alone', true, { kernel: 'prefill', n: 5 }],
  ['… of the second, which reads one generated row', false, { kernel: 'prefill', n: 6 }],
  ['every row edited in the cache, read by the prefill kernel', true, { patches: [cache], kernel: 'prefill' }],
  [
    'generated rows are all that can differ',
    true,
    { patches: [{ ...cache, positions: ['generated'] }], kernel: 'prefill' },
  ],
  ['one head of them is not', false, { patches: [{ ...cache, heads: [0] }], kernel: 'prefill' }],
  ['K alone is not', false, { patches: [{ ...cache, cache: 'k' }], kernel: 'prefill' }],
  [
    'K and V by two patches',
    true,
    {
      patches: [
        { ...cache, cache: 'k' },
        { ...cache, cache: 'v' },
      ],
      kernel: 'prefill',
    },
  ],
  ['the last residual stream', true, { patches: last }],
  ['the last residual stream of weights that are not prepacked', false, { patches: last, kernels: 'ort-unpacked' }],
  ['the residual stream after the last attention', true, { patches: [{ hook: 'blocks.2.hook_resid_mid' }] }],
  ['the residual stream before it', false, { patches: [{ hook: 'blocks.2.hook_resid_pre' }] }],
  [
    'the last scores and what enters the block: pattern · v still sums otherwise',
    false,
    { prefix: 3, patches: [{ hook: 'blocks.2.hook_resid_pre,blocks.2.attn.hook_attn_scores' }] },
  ],
  ['… and with pattern · v', true, { prefix: 3, patches: [{ hook: 'blocks.2.hook_resid_pre,blocks.2.attn.hook_z' }] }],
  ['the logits themselves', true, { patches: [{ hook: 'logits' }], kernels: 'ort-unpacked' }],
  ['the last residual stream over itself', false, { patches: [{ hook: 'blocks.2.hook_resid_post', from: 'cached' }] }],
  ['zeros instead', true, { patches: [{ hook: 'blocks.2.hook_resid_post', from: 'zero' }] }],
  [
    'what both sums of the last layer add',
    false,
    { patches: [{ hook: 'blocks.2.hook_attn_out,blocks.2.hook_mlp_out' }] },
  ],
  ['… and what they add it to', true, { patches: [{ hook: 'blocks.2.hook_resid_pre,blocks.2.hook_attn_out' }] }],
  ['two rows per step sum as the prefill does', true, { prefix: 3, decodeRows: 2 }],
  ['two rows per step on the cached history', false, { decodeRows: 2 }],
  ['one of the two rows', false, { patches: last, decodeRows: 2 }],
  [
    'both of the two rows',
    true,
    { patches: [{ hook: 'blocks.2.hook_resid_post', positions: [[0, 64]] }], decodeRows: 2 },
  ],
  // Into the uncached arm, with the cached one's values: prefix 3 and kernel prefill are its own.
  ['the cached last residual stream', true, { into: 'uncached', ...own, patches: fromCached('hook_resid_post') }],
  ['… before the last attention', false, { into: 'uncached', ...own, patches: fromCached('hook_resid_pre') }],
  ['… over itself', false, { into: 'uncached', ...own, patches: last }],
  ['nothing replaced in the uncached arm', false, { into: 'uncached', ...own }],
  ['the cached history under the decode kernel', true, { into: 'uncached', prefix: 0, kernel: 'decode' }],
  ['… under the prefill kernel', false, { into: 'uncached', prefix: 0, kernel: 'prefill' }],
])(
  '%s: %s',
  async (_, expected, {
    patches = [],
    prefix = 0,
    kernel = 'decode',
    kernels = 'ort',
    decodeRows = 1,
    n = 9,
    into = 'cached',
  }) => {
    const executor = await executorOf(dir, 'fp16', kernels);
    const [{ targets }] = resolveSpec(
      parsePatchSpec({ experiment: 'arms', name: 'x', patches, into, measure: { horizons: [0] } }, 'x'),
      executor.config,
      executor.kernels,
    ).cells;
    const found = isByConstruction({ executor, into, kernel, decodeRows, prefix, targets, promptLength: 4, n });
    expect(found).toBe(expected);
  },
);
