/** Literal summaries, as a run on stories260K gave them to the prototype that `terminal.txt` was drawn from. */
import type { DivergenceSummary, DriftRow, FlipRow, GateResult } from '../../src/divergence/summary.ts';

/** Middle of bar ▁ … █, in u: any value there draws that bar. */
const barValues: Record<string, number | null> = {
  ' ': null,
  '·': 0,
  '▁': 0.12,
  '▂': 0.22,
  '▃': 0.4,
  '▄': 0.7,
  '▅': 1.3,
  '▆': 2.2,
  '▇': 4,
  '█': 9,
};

function row(label: string, bins: string, rms: number, max: number, added: number | null, equal: number): DriftRow {
  return { label, bins: [...bins].map((bar) => barValues[bar]), rms, max, added, equalShare: equal };
}

function flip(promptIndex: number, step: number, uncached: [string, number], cached: [string, number]): FlipRow {
  const side = ([text, margin]: [string, number]) => ({ token: 1, text, margin, tie: margin === 0 });
  return { promptIndex, prompt: `story-${promptIndex}`, step, uncached: side(uncached), cached: side(cached) };
}

export function gate(name: string, change: Partial<GateResult> = {}): GateResult {
  const harness = !['null', 'prefix', 'finite', 'batch-threads'].includes(name);
  return {
    name,
    class: harness ? 'harness' : 'identification',
    passed: true,
    status: 'passed',
    measured: '0 of 1,452 elements differ',
    required: '0 elements differ',
    scope: 'prompt story-00, n = 13 … 20',
    ...change,
  };
}

const held = ['repeat', 'alignment', 'no-op', 'null', 'full-patch', 'prefix', 'finite'];
const notRun = ['canary', 'provenance', 'observer', 'residual'];
const gates = [
  ...held.map((name) => gate(name)),
  ...notRun.map((name) => gate(name, { status: 'not-applicable', measured: 'not run' })),
];

const common = {
  model: 'stories260K',
  precision: 'fp16',
  strategy: 'greedy',
  decodeRows: 1,
  planted: [],
  unit: 'f16',
  prompts: 40,
  steps: 5960,
  longestSteps: 149,
  gates,
  spotChecks: { steps: 80, failed: 0 },
} as const;

const embed = row('embed', '·'.repeat(30), 0, 0, null, 1);

/** Tokens differ: a split-K decode kernel. */
export const splitK: DivergenceSummary = {
  ...common,
  gates: [...gates],
  kernels: 'split-k:8:storage',
  matchedKernels: 'ort',
  emulated: true,
  differingSteps: 5960,
  drift: [
    embed,
    row('L0', '▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆', 2.3, 8.3, 1.9, 0),
    row('L1', '▆▇▇▇▆▆▆▆▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇', 3.3, 17, 1.8, 0),
    row('L2', '▆▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇', 3.7, 18, 1.6, 0),
    row('L3', '▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇', 4.2, 23, 1.8, 0),
    row('L4', '▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇', 5.0, 19, 1.8, 0),
    row('final', '▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇', 4.5, 19, null, 0),
    row('logits', '▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆', 2.6, 18, null, 0),
  ],
  flips: 11,
  tieFlips: 8,
  divergedPrompts: 10,
  firstFlipSteps: [14, 26, 37, 45, 52, 54, 60, 77, 90, 120],
  kl: 1.6e-5,
  tv: 1.7e-3,
  l2: 0.19,
  oracle: { cached: 0.2, uncached: 0.14 },
  widestFlips: [
    flip(35, 26, [' was', 0], [' want', 0.023]),
    flip(7, 14, [' play', 0.016], [' s', 0]),
    flip(36, 53, ['A', 7.8e-3], ['S', 0.016]),
    flip(37, 45, ['"', 0.016], ['T', 0]),
  ],
  firstDivergence: {
    prompt: 'story-00',
    promptIndex: 0,
    step: 1,
    hook: 'blocks.0.attn.hook_q',
    operation: 'query projection, block 0',
    layer: 0,
    head: null,
    nDiffer: 31,
    nElements: 64,
    maxUlp: 1,
    readsCache: false,
  },
  origins: [],
  verdict: 'tokens-differ',
};

/** Bits differ, no token: the default kernels. */
export const ort: DivergenceSummary = {
  ...common,
  gates: [...gates],
  kernels: 'ort',
  matchedKernels: 'ort',
  emulated: false,
  differingSteps: 4755,
  drift: [
    embed,
    row('L0', '▁▁▁·▁▁▁▂▁▁▁▁▁▁▁▂▁▁▁▁▁▁·▁▁▁▁▁▁▁', 0.09, 3.0, 0.09, 0.99),
    row('L1', '▂▂▂▁▂▂▃▃▃▂▂▂▂▃▃▃▃▂▃▃▃▃▃▃▃▂▃▃▃▃', 0.34, 2.8, 0.05, 0.8),
    row('L2', '▃▃▃▃▃▄▄▄▄▄▄▄▄▄▄▄▄▄▅▅▅▅▄▅▅▅▄▅▅▅', 0.88, 4.5, 0.06, 0.43),
    row('L3', '▃▄▄▄▄▅▅▅▅▅▅▅▅▅▅▅▅▆▅▅▅▅▅▅▅▅▅▆▆▆', 1.5, 9.6, 0.06, 0.3),
    row('L4', '▄▅▅▅▅▅▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆', 2.1, 11, 0.08, 0.2),
    row('final', '▄▅▅▅▅▅▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆', 2.0, 8.6, null, 0.2),
    row('logits', '▂▄▄▄▄▄▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅', 1.2, 8.2, null, 0.2),
  ],
  flips: 0,
  tieFlips: 0,
  divergedPrompts: 0,
  firstFlipSteps: [],
  kl: 3.4e-6,
  tv: 6.4e-4,
  l2: 0.08,
  oracle: { cached: 0.14, uncached: 0.14 },
  widestFlips: [],
  firstDivergence: {
    prompt: 'story-00',
    promptIndex: 0,
    step: 1,
    hook: 'blocks.1.attn.hook_attn_scores',
    operation: 'q kᵀ, block 1',
    layer: 1,
    head: 3,
    nDiffer: 1,
    nElements: 112,
    maxUlp: 1,
    readsCache: true,
  },
  origins: [],
  verdict: 'bits-differ',
};
