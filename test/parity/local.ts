/**
 * Half precision, rounding by rounding: every operation of a stage is given the library's own values for all its inputs
 * (cut-graph.ts), and its result is compared with what the library rounded there.
 */
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import type { Checkpoint } from '../../src/checkpoint/types.ts';
import { buildStage, inputNames, type Stage } from '../../src/graph/build.ts';
import { hookName } from '../../src/graph/hooks.ts';
import { resolveKernels } from '../../src/graph/kernels.ts';
import { computeType, policies, type RoundingPolicy } from '../../src/graph/rounding.ts';
import { allocate, type FloatArray, floatData, floatTensor } from '../../src/model/arrays.ts';
import { captureNothing, Executor } from '../../src/model/executor.ts';
import { causalMask, rotaryTables } from '../../src/model/positions.ts';
import { type Feeds, GraphSession } from '../../src/model/session.ts';
import { cutAtRoundings, type Rounding } from './cut-graph.ts';
import type { Expected, HalfRun } from './expected.ts';
import { headsInside, inOurLayout } from './layout.ts';
import { type AttentionPath, kindOf, type PlaceKind, placeOf, roundingNames } from './roundings.ts';
import {
  type Float32Difference,
  newTally,
  noDifference,
  ofFunctions,
  ofKnown,
  ofSums,
  type Tally,
  tally,
} from './tally.ts';

export interface LocalResult {
  /** By rounding place (roundings.ts). */
  places: Map<string, Tally>;
  /** The library's default kernel, flash, on the same queries, keys and values: how far its output is from ours. sdpa only. */
  flash: KernelDistance | null;
  /** Roundings that only the library makes, or only kvlens. */
  unmatched: string[];
}

/** Two kernels' outputs on equal inputs. */
export interface KernelDistance {
  elements: number;
  differ: number;
  /** Σ (a − b)² and Σ b²: their ratio's root is the relative L2 distance. */
  difference: number;
  norm: number;
}

/** Compare one run: all its steps, stage by stage. */
export async function compareLocally(expected: Expected, run: HalfRun): Promise<LocalResult> {
  const checkpoint = await openCheckpoint(expected.checkpointDir);
  const path: AttentionPath = run.endsWith('-sdpa') ? 'sdpa' : 'eager';
  const comparison: Comparison = { expected, run, path, checkpoint, policy: policies[run], places: new Map() };
  const { layers } = checkpoint.config;
  const stages: Stage[] = [...Array.from({ length: layers }, (_, block) => ({ block })), 'unembed'];
  await compareEmbedding(comparison);
  compareTables(comparison);
  for (const stage of stages) await compareStage(comparison, stage);
  return {
    places: comparison.places,
    flash: comparison.flash ?? null,
    unmatched: unmatchedNames(comparison, stages),
  };
}

interface Comparison {
  expected: Expected;
  run: HalfRun;
  path: AttentionPath;
  checkpoint: Checkpoint;
  policy: RoundingPolicy;
  places: Map<string, Tally>;
  flash?: KernelDistance;
}

/** The rows of the embedding, which only the weights' and Gemma's own rounding can change. */
async function compareEmbedding(comparison: Comparison): Promise<void> {
  const { expected, run, checkpoint, policy } = comparison;
  const executor = new Executor({ checkpoint, policy, kernels: resolveKernels('ort'), threads: 1 });
  for (const [step, { tokens }] of expected.index.steps.entries()) {
    const rows = (await executor.embed(tokens, 'prefill', captureNothing)).get('hook_embed')!.data;
    tally(
      placeTally(comparison, 'embedding'),
      policy.default,
      rows,
      expected.tensor(run, step, embeddingName(expected)).data,
    );
  }
  await executor.release();
}

/** Our tables against the library's; both round float32 tables, so their float32 distance says how many may differ. */
function compareTables(comparison: Comparison): void {
  const { expected, run, checkpoint, policy } = comparison;
  const { headDim } = checkpoint.config;
  const positions = Math.max(...expected.index.steps.map(({ start, tokens }) => start + tokens.length));
  const [ours, wide] = [policy, policies.fp32].map((each) => rotaryTables(checkpoint.config, each, positions));
  for (const [step, { start, tokens }] of expected.index.steps.entries()) {
    for (const part of ['cos', 'sin'] as const) {
      const window = [start * headDim, (start + tokens.length) * headDim];
      const name = `rotary_emb.${part}`;
      tally(
        placeTally(comparison, 'rotary table'),
        policy.default,
        ours[part].subarray(...window),
        expected.tensor(run, step, name).data,
        ofKnown(wide[part].subarray(...window), expected.tensor('fp32', step, name).data),
      );
    }
  }
}

/** All steps of one stage, given the library's values at every rounding. */
async function compareStage(comparison: Comparison, stage: Stage): Promise<void> {
  const { expected, run, path, checkpoint, policy } = comparison;
  const { config } = checkpoint;
  const names = roundingNames(config, stage, path);
  const rounded = await openCut(checkpoint, policy, stage, names);
  const float64 = await openCut(checkpoint, withoutError(policy), stage, names);
  for (const [step, { start, tokens }] of expected.index.steps.entries()) {
    const given = names.map((name) =>
      inOurLayout(name, expected.tensor(run, step, name), config, tokens.length, start + tokens.length),
    );
    const found = await runCut(rounded, stageFeeds(comparison, stage, step, 'f32'), given);
    const reference = await runCut(float64, stageFeeds(comparison, stage, step, 'f64'), given);
    for (const [index, name] of names.entries()) {
      const { rounded: result, unrounded: float32 } = found[index];
      const place = placeOf(name, config);
      const visible = visibleScores(comparison, name, step);
      const exact = reference[index].unrounded;
      const differences: Record<PlaceKind, () => Float32Difference> = {
        exact: () => noDifference,
        sum: () => ofSums(float32, exact, visible),
        // GELU's 1 + tanh(u) cancels: tanh near −1 is right to a step of 2^−24, whatever is left of it. Everything else
        // errs by its own size.
        function: () => {
          if (place !== 'activation' || config.activation === 'silu') return ofFunctions((i) => exact[i]);
          const gate = given[names.indexOf(name.replace('act_fn', 'gate_proj'))].data;
          return ofFunctions((i) => gate[i] / 8);
        },
      };
      const into = placeTally(comparison, place);
      tally(into, policy.default, result, given[index].data, differences[kindOf(place)](), visible);
      if (!name.endsWith('.output') || path === 'eager') continue;
      comparison.flash ??= { elements: 0, differ: 0, difference: 0, norm: 0 };
      addDistance(comparison.flash, result, expected.tensor(run, step, name.replace('output', 'flash')).data);
    }
  }
  await rounded.session.release();
  await float64.session.release();
}

function addDistance(into: KernelDistance, found: FloatArray, expected: FloatArray): void {
  into.elements += expected.length;
  for (const [i, value] of expected.entries()) {
    if (found[i] !== value) into.differ += 1;
    into.difference += (found[i] - value) ** 2;
    into.norm += value ** 2;
  }
}

interface Cut {
  session: GraphSession;
  roundings: Rounding[];
  compute: 'f32' | 'f64';
}

async function openCut(checkpoint: Checkpoint, policy: RoundingPolicy, stage: Stage, names: string[]): Promise<Cut> {
  const kernel = resolveKernels('ort').prefill;
  const none: ReadonlySet<string> = new Set();
  const built = buildStage(stage, { checkpoint, policy, kernel, hooks: none, patchPoints: none });
  const compute = computeType(policy);
  const { graph, roundings } = cutAtRoundings(built, compute);
  if (roundings.length !== names.length) {
    const where = `${built.model.graph!.name}, ${policy.name}`;
    throw new Error(`${where}: ${roundings.length} roundings, the library makes ${names.length}: ${names.join(', ')}`);
  }
  const options = { threads: 1, prepack: kernel.prepack, weightsRoot: checkpoint.weightsRoot };
  return { session: await GraphSession.open(graph, options), roundings, compute };
}

/** The same operations on the same numbers in float64: what float32 results are measured by. */
function withoutError(policy: RoundingPolicy): RoundingPolicy {
  const wide = Object.keys(policy.places).map((place) => [place, 'f64' as const]);
  return { ...policy, compute: 'float64', constants: 'f32', places: Object.fromEntries(wide) };
}

async function runCut(
  { session, roundings, compute }: Cut,
  feeds: Feeds,
  given: { data: FloatArray; dims: number[] }[],
): Promise<{ rounded: FloatArray; unrounded: FloatArray }[]> {
  for (const [index, { given: input }] of roundings.entries()) {
    feeds[input] = floatTensor(inType(given[index].data, compute), given[index].dims);
  }
  const outputs = await session.run(
    feeds,
    roundings.flatMap(({ rounded, unrounded }) => [rounded, unrounded]),
  );
  const read = (name: string) => {
    const value = outputs[name];
    if (!('dims' in value)) throw new Error(`${name}: not a tensor`);
    return floatData(value);
  };
  return roundings.map(({ rounded, unrounded }) => ({ rounded: read(rounded), unrounded: read(unrounded) }));
}

/** What a stage reads beside the rounded values: residual rows, history, tables and mask, all the library's but the mask. */
function stageFeeds(comparison: Comparison, stage: Stage, step: number, compute: 'f32' | 'f64'): Feeds {
  const { expected, run, checkpoint } = comparison;
  const { config } = checkpoint;
  const { start, tokens } = expected.index.steps[step];
  const tensor = (name: string, dims: number[], at = step) =>
    floatTensor(inType(expected.tensor(run, at, name).data, compute), dims);
  const residual = [1, tokens.length, config.hiddenSize];
  if (stage === 'unembed')
    return { [hookName('resid_post', config.layers - 1)]: tensor(`layers.${config.layers - 1}.mlp_sum`, residual) };
  if (stage === 'embed') throw new Error('the embedding has no cut');
  const { block } = stage;
  const window = config.slidingWindows[block];
  const input = block === 0 ? embeddingName(expected) : `layers.${block - 1}.mlp_sum`;
  const history = (name: string) => {
    const earlier = expected.index.steps.slice(0, step).map((_, index) => {
      const rows = expected.tensor(run, index, `layers.${block}.self_attn.${name}`);
      return name === 'v_proj' ? rows.data : headsInside(rows, config.kvHeads, config.headDim).data;
    });
    const rows = allocate(compute, start * config.kvHeads * config.headDim);
    let at = 0;
    for (const part of earlier) {
      rows.set(part, at);
      at += part.length;
    }
    return floatTensor(rows, [1, start, config.kvHeads, config.headDim]);
  };
  const table = [1, tokens.length, 1, config.headDim];
  return {
    [hookName('resid_pre', block)]: tensor(input, residual),
    [inputNames.pastKeys(block)]: history('k_rotated'),
    [inputNames.pastValues(block)]: history('v_proj'),
    [inputNames.cos]: tensor('rotary_emb.cos', table),
    [inputNames.sin]: tensor('rotary_emb.sin', table),
    [inputNames.mask(window)]: floatTensor(causalMask(compute, start, tokens.length, window), [
      tokens.length,
      start + tokens.length,
    ]),
  };
}

/** Scores that the library's softmax turned into something; the others never mattered, and a sliding cache has none. */
function visibleScores({ expected, run, checkpoint }: Comparison, name: string, step: number): Float64Array | null {
  const last = name.split('.').at(-1)!;
  if (!name.includes('self_attn.') || !/^(scores_raw|scores|cap_share|cap_tanh|capped)$/.test(last)) return null;
  const probabilities = expected.tensor(run, step, name.replace(last, 'probabilities'));
  const { start, tokens } = expected.index.steps[step];
  return inOurLayout(name, probabilities, checkpoint.config, tokens.length, start + tokens.length).data;
}

function embeddingName({ index }: Expected): string {
  return index.modelType === 'gemma2' ? 'embed_tokens.scaled' : 'embed_tokens';
}

function placeTally({ places }: Comparison, place: string): Tally {
  const known = places.get(place) ?? newTally();
  places.set(place, known);
  return known;
}

function inType(data: FloatArray, compute: 'f32' | 'f64'): FloatArray {
  return compute === 'f64' ? Float64Array.from(data) : Float32Array.from(data);
}

/** The two lists of roundings, the library's log and ours, against each other. */
function unmatchedNames({ expected, run, path, checkpoint }: Comparison, stages: Stage[]): string[] {
  const ours = new Set([
    ...stages.flatMap((stage) => roundingNames(checkpoint.config, stage, path)),
    ...['rotary_emb.cos', 'rotary_emb.sin', embeddingName(expected)],
  ]);
  return expected.index.steps.flatMap((_, step) => {
    const theirs = new Set(expected.names(run, step).filter((name) => !name.endsWith('.flash')));
    return [...theirs].filter((name) => !ours.has(name)).concat([...ours].filter((name) => !theirs.has(name)));
  });
}
