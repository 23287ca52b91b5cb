/**
 * Gate 2. Both arms embed the same rows, at the same positions, see the same keys and begin with the same token.
 *
 * Positions and masks are judged by what the graphs consumed, not by what was meant to be fed: a rotated row must be
 * R(x, position) recomputed here from the captured x, and a key is hidden where its captured score is −inf.
 */
import { hookName } from '../../graph/hooks.ts';
import { computeType, typeAt } from '../../graph/rounding.ts';
import type { FloatArray } from '../../model/arrays.ts';
import { type RotaryTables, rotaryTables, sees } from '../../model/positions.ts';
import { argmax } from '../../model/sampling/index.ts';
import { roundTo } from '../../numerics/half.ts';
import { formats } from '../../numerics/types.ts';
import { gateClaims } from './claims.ts';
import { type Captured, compareRuns, Tally } from './difference.ts';
import { always, count, type Gate, type GateContext, lengthScope, type Observation } from './gate.ts';

export const alignment: Gate = {
  name: 'alignment',
  class: 'harness',
  claim: gateClaims.alignment,
  required: '0 embeddings, 0 positions and 0 visible keys differ; the same first token',
  failing: [
    'decode steps rotated to the next position',
    'a mask that hides the newest key in decode steps',
    'a mask that shows a future key',
  ],
  appliesTo: always,
  stages: 'each',
  begin,
};

interface Found {
  embeddings: Tally;
  positions: Mismatches;
  visible: Mismatches;
  first: { cached: number; uncached: number } | null;
}

function begin({ prompt, lengths }: GateContext): Observation {
  const found: Found = {
    embeddings: new Tally(),
    positions: new Mismatches(),
    visible: new Mismatches(),
    first: null,
  };
  return {
    observe: (context) => observe(context, found),
    conclude: () => {
      const { embeddings, positions, visible, first } = found;
      return {
        passed: embeddings.equal && positions.none && visible.none && first !== null && first.cached === first.uncached,
        measured: [
          `embeddings: ${embeddings.describe()}`,
          `positions: ${positions.describe('rotated rows')}`,
          `visible keys: ${visible.describe('mask entries')}`,
          `first token ${first?.cached} (cached) and ${first?.uncached} (uncached)`,
        ].join('; '),
        scope: `prompt ${prompt.id}, prefill and ${lengthScope(lengths)}, every layer, as the graphs consumed them`,
      };
    },
  };
}

async function observe(context: GateContext, found: Found): Promise<void> {
  const { executor, policy, hooks } = context;
  const tables = rotaryTables(executor.config, policy, context.tokens.length);
  const embedding = [...hooks].filter((name) => name === 'hook_embed');
  const steps = await context.cached();
  for (const step of steps) {
    const uncached = await context.honest(step.n);
    compareRuns(found.embeddings, embedding, step, uncached, { from: step.start, to: step.n });
    for (const [arm, run] of [['cached', step] as const, ['uncached', uncached] as const]) {
      for (const layer of executor.blocks) {
        checkPositions(context, tables, run, layer, arm, found.positions);
        checkVisibleKeys(context, run, layer, arm, found.visible);
      }
    }
  }
  const honest = await context.honest(steps[0].n);
  if (!context.hasLogits) return;
  found.first = { cached: firstToken(context, steps[0]), uncached: firstToken(context, honest) };
}

/** Counts what does not match and keeps the first place. */
class Mismatches {
  private total = 0;
  private wrong = 0;
  private first = '';

  add(matches: boolean, place: () => string): void {
    this.total++;
    if (matches) return;
    if (this.wrong++ === 0) this.first = place();
  }

  get none(): boolean {
    return this.wrong === 0;
  }

  describe(what: string): string {
    return `${count(this.wrong)} of ${count(this.total)} ${what} differ${this.wrong > 0 ? ` (first: ${this.first})` : ''}`;
  }
}

/** Every rotated row equals the rotation of its input at the row's absolute position. */
function checkPositions(
  { executor, policy }: GateContext,
  tables: RotaryTables,
  run: Captured,
  layer: number,
  arm: string,
  found: Mismatches,
): void {
  const { headDim } = executor.config;
  const half = headDim / 2;
  const compute = computeType(policy);
  const type = typeAt(policy, 'rotary');
  const store = (value: number) => roundTo(type, type === 'f64' ? value : Math.fround(roundTo(compute, value)));
  const normed = executor.config.queryKeyNorm;
  for (const [from, to] of [
    [normed ? 'attn.q_norm.out' : 'attn.q', 'attn.rot_q'] as const,
    [normed ? 'attn.k_norm.out' : 'attn.k', 'attn.rot_k'] as const,
  ]) {
    const before = run.activations.get(hookName(from, layer))!;
    const after = run.activations.get(hookName(to, layer))!.data;
    const heads = before.dims[2];
    for (let row = 0; row < before.dims[1]; row++) {
      const table = (run.start + row) * headDim;
      const base = row * heads * headDim;
      let equal = true;
      for (let head = 0; head < heads && equal; head++) {
        const at = base + head * headDim;
        for (let i = 0; i < headDim; i++) {
          const turned = i < half ? -before.data[at + i + half] : before.data[at + i - half];
          const straight = store(before.data[at + i] * tables.cos[table + i]);
          const expected = store(straight + store(turned * tables.sin[table + i]));
          const value = after[at + i];
          if (value !== expected && !(Number.isNaN(value) && Number.isNaN(expected))) equal = false;
        }
      }
      found.add(equal, () => `${hookName(to, layer)}, ${arm} arm, position ${run.start + row}`);
    }
  }
}

/** Row i sees keys 0 … i, or the last of them that its layer's window holds, and no other. */
function checkVisibleKeys(context: GateContext, run: Captured, layer: number, arm: string, found: Mismatches): void {
  const name = hookName('attn.attn_scores', layer);
  const { data, dims } = run.activations.get(name)!;
  const [, heads, rows, keys] = dims;
  const window = context.executor.config.slidingWindows[layer];
  for (let head = 0; head < heads; head++) {
    for (let row = 0; row < rows; row++) {
      const position = run.start + row;
      const base = (head * rows + row) * keys;
      for (let key = 0; key < keys; key++) {
        // NaN says nothing about the mask; the finite gate counts it.
        if (Number.isNaN(data[base + key])) continue;
        const hidden = data[base + key] === -Infinity && !overflowed(context, run, layer, head, row, key);
        found.add(
          hidden !== sees(window, position, key),
          () => `${name}, ${arm} arm, head ${head}, row ${position}, key ${key}`,
        );
      }
    }
  }
}

/** True if q·k itself leaves the range of the scores' type: then −inf says nothing about the mask. */
function overflowed(
  { executor, policy }: GateContext,
  run: Captured,
  layer: number,
  head: number,
  row: number,
  key: number,
): boolean {
  const { heads, kvHeads, headDim } = executor.config;
  const limit = formats[typeAt(policy, 'scores')].maxFinite;
  if (key > run.start + row) return false;
  const query: FloatArray = run.activations.get(hookName('attn.rot_q', layer))!.data;
  const keys: FloatArray = run.activations.get(hookName('attn.cache_k', layer))!.data;
  const q = (row * heads + head) * headDim;
  const k = (key * kvHeads + Math.floor((head * kvHeads) / heads)) * headDim;
  let dot = 0;
  for (let i = 0; i < headDim; i++) dot += query[q + i] * keys[k + i];
  return !(Math.abs(dot) < limit * 0.99);
}

function firstToken({ executor }: GateContext, run: Captured): number {
  const { data } = run.activations.get('logits')!;
  return argmax(data.subarray(data.length - executor.config.vocabSize));
}
