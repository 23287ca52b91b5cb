/**
 * How much each layer amplifies a difference of the residual stream, ‖δ_out‖ / ‖δ_in‖ at the newest row under the decode
 * kernel and the cached arm's history: for the difference there is, and for random ones of its size. And whether that,
 * composed, predicts the drift at the end.
 *
 * With d_l the predicted ‖x_c − x_u‖ that enters layer l, g_l its gain, and a_l, h_l what its kernel adds and what arrives
 * through the history (`divergence/counterfactual.ts`), taken as independent of each other:
 *
 *   d_0 = what enters layer 0 (nothing: the embeddings are equal);   d_{l+1}² = (g_l d_l)² + a_l² + h_l²;   D² = (g_U d_n)² + a_U²
 *
 * U is the final norm and unembedding, D the centred L2 of the logits. Gains are a prompt's: the root of Σ ‖δ_out‖² /
 * Σ ‖δ_in‖² over its steps; a_l and h_l are the step's own.
 */
import { distance, layerOutputs } from '../../divergence/counterfactual.ts';
import type { Tally } from '../../divergence/gates/difference.ts';
import { centredDistance } from '../../divergence/metrics/logits.ts';
import { hookName } from '../../graph/hooks.ts';
import { typeAt } from '../../graph/rounding.ts';
import { Arm, type ArmStep, type UncachedPlan } from '../../model/arms.ts';
import type { FloatArray } from '../../model/arrays.ts';
import { captureNothing, type Executor } from '../../model/executor.ts';
import { RandomStream } from '../../numerics/random.ts';
import { addCheck, type CheckCounts } from '../arms/checks.ts';
import type { ForcedRun } from '../arms/forced-run.ts';
import { randomNeighbour } from './random-difference.ts';

/** One layer at one decode step; layer n is the final norm and unembedding, where ‖δ_out‖ is the centred L2 of logits. */
export interface LayerStep {
  layer: number;
  /** ‖x_c − x_u‖ entering, and what becomes of it: ‖f_d(x_c, H_c) − f_d(x_u, H_c)‖. */
  entering: number;
  leaving: number;
  /** The same of random differences as large as the entering one; empty where nothing enters. */
  random: { entering: number; leaving: number }[];
  /** ‖f_d(x_u, H_u) − f_p(x_u, H_u)‖ */
  added: number;
  /** ‖f_d(x_u, H_c) − f_d(x_u, H_u)‖ */
  viaHistory: number;
}

/** One prompt's layers, by decode step. */
export interface AmplificationRun {
  steps: LayerStep[][];
  /** D at each decode step. */
  observed: number[];
}

export interface AmplificationOptions {
  /** Random differences per layer and step; default 4. */
  draws?: number;
  seed?: number;
  /** How the uncached arm is computed: `stand-in` where gates null and prefix hold. Default `stand-in`. */
  plan?: UncachedPlan;
  /**
   * Counts what differs when a layer is run by itself on what the cached arm read – its output must be that arm's – and steps
   * whose D is not that of `run`.
   */
  check?: CheckCounts;
}

/** Run both arms on the tokens of `run` and measure every layer at every decode step. */
export async function measureAmplification(
  executor: Executor,
  run: ForcedRun,
  { draws = 4, seed = 0, plan = 'stand-in', check }: AmplificationOptions = {},
): Promise<AmplificationRun> {
  const { tokens, promptLength, lengths } = run;
  const layers = Array.from({ length: executor.config.layers }, (_, layer) => layer);
  const kinds = ['resid_pre', 'resid_post'] as const;
  const capture = { hooks: new Set(layers.flatMap((layer) => kinds.map((kind) => hookName(kind, layer)))) };
  const arms = {
    uncached: Arm.uncached(executor, tokens.length, plan),
    cached: Arm.cached(executor, tokens.length, 1),
  };
  await arms.uncached.prefill(tokens.slice(0, promptLength), captureNothing);
  await arms.cached.prefill(tokens.slice(0, promptLength), captureNothing);
  const steps: LayerStep[][] = [];
  const observed: number[] = [];
  for (const [at, n] of lengths.entries()) {
    const uncached = { arm: arms.uncached, step: await arms.uncached.step(tokens.slice(0, n), capture) };
    const cached = { arm: arms.cached, step: await arms.cached.step(tokens.slice(0, n), capture) };
    const replayed = (hook: string, found: FloatArray, expected: FloatArray, steps: number) => {
      if (!check) return;
      const compare = (tally: Tally) => tally.add(hook, `n = ${n}`, found, expected, found.length);
      addCheck(check, executor.policy, `prompt ${run.id}, step ${at + 1}`, compare, steps);
    };
    const probe = (layer: number): Probe => ({
      ...{ draws, stream: new RandomStream(seed, `amplify ${layer} ${n}`) },
      replayed: check ? (hook, found, expected) => replayed(hook, found, expected, 0) : null,
    });
    const found: LayerStep[] = [];
    for (const layer of layers) found.push(await measureLayer(executor, layer, uncached, cached, probe(layer)));
    found.push(await measureUnembedding(executor, uncached.step, cached.step, probe(layers.length)));
    steps.push(found);
    observed.push(centredDistance(cached.step.logits, uncached.step.logits));
    replayed('D', Float64Array.of(observed[at]), Float64Array.of(run.observed[at]), 1);
  }
  return { steps, observed };
}

interface ArmAtStep {
  arm: Arm;
  step: ArmStep;
}

interface Probe {
  draws: number;
  stream: RandomStream;
  /** Takes a replayed output and the arm's own; null where it is not checked. */
  replayed: ((hook: string, found: FloatArray, expected: FloatArray) => void) | null;
}

async function measureLayer(
  executor: Executor,
  layer: number,
  uncached: ArmAtStep,
  cached: ArmAtStep,
  probe: Probe,
): Promise<LayerStep> {
  const { hiddenSize } = executor.config;
  const { n } = cached.step;
  const entering = (step: ArmStep) => {
    const { data } = step.activations.get(hookName('resid_pre', layer))!;
    return data.subarray(data.length - hiddenSize);
  };
  const outputs = await layerOutputs(executor, layer, uncached, cached);
  const history = cached.arm.cache.view(layer, n - 1);
  const rows = { start: n - 1, count: 1 };
  const run = async (x: FloatArray) =>
    (await executor.block(layer, x, rows, history, 'decode', captureNothing)).residual;
  const [x, moved] = [entering(uncached.step), entering(cached.step)];
  probe.replayed?.(hookName('resid_post', layer), await run(moved), outputs.cached);
  const size = distance(moved, x);
  const type = typeAt(executor.policy, layer === 0 ? 'embedding' : 'residual');
  const random = await probeRandomly(x, size, type, probe, async (y) => distance(await run(y), outputs.otherHistory));
  return {
    ...{ layer, entering: size, leaving: distance(outputs.cached, outputs.otherHistory), random },
    added: distance(outputs.sameInput, outputs.uncached),
    viaHistory: distance(outputs.otherHistory, outputs.sameInput),
  };
}

async function measureUnembedding(
  executor: Executor,
  uncached: ArmStep,
  cached: ArmStep,
  probe: Probe,
): Promise<LayerStep> {
  const { layers } = executor.config;
  const run = async (x: FloatArray) =>
    (await executor.unembed(x, 1, 'decode', captureNothing)).get(hookName('logits'))!.data;
  const [x, moved] = [uncached.residual, cached.residual];
  const plain = await run(x);
  probe.replayed?.(hookName('logits'), await run(moved), cached.logits);
  const size = distance(moved, x);
  const type = typeAt(executor.policy, 'residual');
  const random = await probeRandomly(x, size, type, probe, async (y) => centredDistance(await run(y), plain));
  return {
    ...{ layer: layers, entering: size, leaving: centredDistance(cached.logits, plain), random },
    added: centredDistance(plain, uncached.logits),
    viaHistory: 0,
  };
}

async function probeRandomly(
  x: FloatArray,
  size: number,
  type: ReturnType<typeof typeAt>,
  { draws, stream }: Probe,
  leaving: (moved: FloatArray) => Promise<number>,
): Promise<LayerStep['random']> {
  const found: LayerStep['random'] = [];
  for (let draw = 0; size > 0 && draw < draws; draw++) {
    const moved = randomNeighbour(x, size, type, stream);
    found.push({ entering: distance(moved, x), leaving: await leaving(moved) });
  }
  return found;
}
