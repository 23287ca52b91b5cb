/**
 * Which part of the history carries how much: Shapley values of the game whose players are parts of the cached history
 * (K and V; rows of the prompt's first token, of the rest of the prompt, and generated ones; or single heads), and whose
 * value is how much of the distance to the uncached arm is removed when those parts are recomputed, D(∅) − D(S), under the
 * decode kernel. Values sum to what the whole history removes.
 */
import type { Executor } from '../../model/executor.ts';
import { playedShapley, sampledShapley } from '../../numerics/shapley.ts';
import { copyHistory, differingElements, type HistorySelection, overwriteHistory } from '../arms/history.ts';
import { BaseDistances } from '../arms/horizons.ts';
import { distanceTo } from '../arms/recovery.ts';
import type { StepRunner } from '../arms/step.ts';
import type { Trajectory } from '../arms/trajectory.ts';
import { requestOf } from '../arms/two-by-two.ts';
import type { Timing } from '../specification/resolve.ts';
import type { ArmsSpec } from '../specification/spec.ts';

/** Shares at one step; plain data. */
export interface HistoryAttribution {
  step: number;
  /** D(cached, uncached), and with the whole history recomputed: centred L2. */
  base: number;
  recomputed: number;
  parts: AttributedPart[];
  /** Different histories that were run. */
  plays: number;
}

export interface AttributedPart {
  /** `k`, `v`; `first`, `prompt`, `generated`; `blocks.0 head 1`. */
  part: string;
  /** Elements of the part that differ between the arms. */
  differing: number;
  /** Of the distance removed, in L2. */
  value: number;
  /** What is removed where this part alone is recomputed. */
  oneIn: number;
  /** Null where all subsets were played. */
  standardError: number | null;
}

/** Up to this many parts every subset is played. */
const mostExact = 6;

/** Attribute the history's share at the spec's steps; nothing if the spec does not ask for it. */
export async function attributeHistory(
  { executor, resolved }: { executor: Executor; resolved: { spec: ArmsSpec; timing: Timing } },
  trajectory: Trajectory,
  runner: StepRunner,
): Promise<HistoryAttribution[]> {
  const wanted = resolved.spec.measure.attribution;
  if (wanted === undefined || resolved.timing.kind !== 'each') return [];
  const found: HistoryAttribution[] = [];
  for (const step of resolved.timing.steps(trajectory.steps - 1)) {
    found.push(await attributeStep(executor, trajectory, runner, step, wanted));
  }
  return found;
}

async function attributeStep(
  executor: Executor,
  trajectory: Trajectory,
  runner: StepRunner,
  step: number,
  { parts: kind, samples, seed }: NonNullable<ArmsSpec['measure']['attribution']>,
): Promise<HistoryAttribution> {
  const { cached, uncached, promptLength } = trajectory;
  const n = promptLength + step;
  const [own, donor] = [cached.history(n), uncached.history(n)];
  const all = partsOf(executor, promptLength, n, kind);
  const differing = all.map(({ selection }) => differingElements(executor, own, donor, selection));
  // A part whose rows are equal changes nothing in any company: its value is 0 without playing.
  const players = all.filter((_, i) => differing[i] > 0);
  const base = new BaseDistances(trajectory).at(step).l2;
  let whole = base;
  const play = async (members: readonly number[]): Promise<number> => {
    if (members.length === 0) return 0;
    const history = copyHistory(executor, own, n, n);
    for (const member of members) overwriteHistory(executor, history, donor, players[member].selection);
    const { logits } = await runner.run(requestOf(trajectory, step, 'decode', history));
    const left = distanceTo(uncached.steps[step].logits, logits).l2;
    if (members.length === players.length) whole = left;
    return base - left;
  };
  const game = await playGame(players.length, samples, seed, play);
  const alone: number[] = [];
  for (const member of players.keys()) alone.push(await play([member]));
  let next = 0;
  const parts = all.map(({ part }, i): AttributedPart => {
    if (differing[i] === 0) return { part, differing: 0, value: 0, oneIn: 0, standardError: null };
    const at = next++;
    const values = { value: game.values[at], oneIn: alone[at], standardError: game.standardErrors?.[at] ?? null };
    return { part, differing: differing[i], ...values };
  });
  return { step, base, recomputed: whole, parts, plays: game.plays };
}

async function playGame(
  players: number,
  samples: number,
  seed: number,
  play: (members: readonly number[]) => Promise<number>,
): Promise<{ values: Float64Array; standardErrors: Float64Array | null; plays: number }> {
  if (players === 0) return { values: new Float64Array(0), standardErrors: null, plays: 0 };
  if (players > mostExact) return sampledShapley(players, Math.max(2, samples), seed, play);
  const members = (subset: number) =>
    Array.from({ length: players }, (_, i) => i).filter((i) => (subset & (1 << i)) !== 0);
  const { values, played } = await playedShapley(players, (subset) => play(members(subset)));
  return { values, standardErrors: null, plays: played.length };
}

interface Part {
  part: string;
  selection: HistorySelection;
}

function partsOf({ config }: Executor, p: number, n: number, kind: 'components' | 'rows' | 'heads'): Part[] {
  const upTo = (from: number, to: number) => Array.from({ length: Math.max(0, to - from) }, (_, i) => from + i);
  const whole: HistorySelection = {
    ...{ layers: upTo(0, config.layers), heads: upTo(0, config.kvHeads), positions: upTo(0, n - 1) },
    component: 'both',
  };
  if (kind === 'components')
    return (['k', 'v'] as const).map((component) => ({ part: component, selection: { ...whole, component } }));
  if (kind === 'rows') {
    const rows = { first: upTo(0, Math.min(1, n - 1)), prompt: upTo(1, Math.min(p, n - 1)), generated: upTo(p, n - 1) };
    return Object.entries(rows).map(([part, positions]) => ({ part, selection: { ...whole, positions } }));
  }
  return whole.layers.flatMap((layer) =>
    whole.heads.map((head) => ({
      part: `blocks.${layer} head ${head}`,
      selection: { ...whole, layers: [layer], heads: [head] },
    })),
  );
}
