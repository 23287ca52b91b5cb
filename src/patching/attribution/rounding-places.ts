/**
 * Which rounding lets the drift through: the cached arm against the uncached one where everything is float32 but one place,
 * and where that place alone is float32. Each policy has an uncached arm of its own; all read the same tokens.
 */
import { type Place, places, type RoundingPolicy, typeAt } from '../../graph/rounding.ts';
import type { UncachedPlan } from '../../model/arms.ts';
import { Executor } from '../../model/executor.ts';
import { contains } from '../../numerics/types.ts';
import { addCheck, type CheckCounts } from '../arms/checks.ts';
import { type ForcedRun, forcedRun } from '../arms/forced-run.ts';

/** One place's part: Σ over decode steps of the centred L2 between the arms. */
export interface PlaceShare {
  place: Place;
  /** Everything float32 but this place. */
  oneIn: number;
  /** The policy with this place in float32. */
  leaveOneOut: number;
}

export interface PlaceAttribution {
  policy: string;
  kernels: string;
  steps: number;
  /** The policy as it is. */
  all: number;
  /** Everything float32. */
  none: number;
  shares: PlaceShare[];
}

export interface PlaceOptions {
  /** How the uncached arms are computed: `stand-in` where gates null and prefix hold. Default `stand-in`. */
  plan?: UncachedPlan;
  /** Counts steps at which the policy put together from its places drifts otherwise than the run itself. */
  check?: CheckCounts;
}

/** The places where a policy rounds to less than float32. */
export function narrowPlaces(policy: RoundingPolicy): Place[] {
  return places.filter((place) => !contains(typeAt(policy, place), 'f32'));
}

/** A policy whose places in `rounded` are as they were, and whose others are float32. */
export function onlyRounded(policy: RoundingPolicy, rounded: readonly Place[]): RoundingPolicy {
  const kept = Object.fromEntries(rounded.map((place) => [place, typeAt(policy, place)]));
  return { ...policy, name: `${policy.name}-${rounded.length}-places`, default: 'f32', places: kept };
}

/**
 * Attribute one prompt's drift to the policy's rounding places, on the tokens of `run`.
 * @throws Error for a policy that computes in float64 or rounds nowhere: it has no place to attribute to
 */
export async function attributePlaces(
  executor: Executor,
  run: ForcedRun,
  { plan = 'stand-in', check }: PlaceOptions = {},
): Promise<PlaceAttribution> {
  const { policy, kernels } = executor;
  const narrow = narrowPlaces(policy);
  if (policy.compute === 'float64' || narrow.length === 0) {
    throw new Error(`policy ${policy.name} rounds nowhere: it has no place to attribute a drift to`);
  }
  const driftOf = (rounded: readonly Place[]) => driftUnder(executor, onlyRounded(policy, rounded), run, plan);
  const drift = async (rounded: readonly Place[]) => sumOf(await driftOf(rounded));
  const shares: PlaceShare[] = [];
  for (const place of narrow) {
    const oneIn = await drift([place]);
    shares.push({ place, oneIn, leaveOneOut: await drift(narrow.filter((other) => other !== place)) });
  }
  const [whole, none] = [await driftOf(narrow), await drift([])];
  if (check) {
    addCheck(
      check,
      policy,
      `prompt ${run.id}`,
      (tally) => tally.add('D', 'every step', Float64Array.from(whole), Float64Array.from(run.observed), whole.length),
      whole.length,
    );
  }
  return { policy: policy.name, kernels: kernels.name, steps: run.lengths.length, all: sumOf(whole), none, shares };
}

function sumOf(distances: readonly number[]): number {
  return distances.reduce((sum, distance) => sum + distance, 0);
}

/** D of both arms under another policy, by decode step. */
async function driftUnder(
  { options }: Executor,
  policy: RoundingPolicy,
  { tokens, promptLength }: ForcedRun,
  plan: UncachedPlan,
): Promise<readonly number[]> {
  const executor = new Executor({ ...options, policy });
  const continuation = tokens.slice(promptLength);
  try {
    const forced = { steps: continuation.length, continuation, plan };
    return (await forcedRun(executor, tokens.slice(0, promptLength), forced)).observed;
  } finally {
    await executor.release();
  }
}

/** Parts of several prompts added up. @throws Error for parts of unlike policies or kernels */
export function addPlaces(parts: readonly PlaceAttribution[]): PlaceAttribution {
  const [first] = parts;
  if (!first) throw new Error('places: none to add');
  if (parts.some(({ policy, kernels }) => policy !== first.policy || kernels !== first.kernels)) {
    throw new Error('places: of unlike policies or kernels');
  }
  const sum = (of: (part: PlaceAttribution) => number) => parts.reduce((total, part) => total + of(part), 0);
  return {
    ...first,
    steps: sum(({ steps }) => steps),
    all: sum(({ all }) => all),
    none: sum(({ none }) => none),
    shares: first.shares.map(({ place }, i) => ({
      place,
      oneIn: sum(({ shares }) => shares[i].oneIn),
      leaveOneOut: sum(({ shares }) => shares[i].leaveOneOut),
    })),
  };
}
