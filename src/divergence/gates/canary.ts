/**
 * Gate 3. The rounding the policy names really happens under the session options of the run.
 *
 * A tiny graph made by the same builder adds two inputs, rounds, and subtracts: what comes out is what the next
 * operation *consumed*. Capturing the rounded value itself would prove nothing, because the runtime rounds a float16
 * output that is captured even where it has deleted the cast before the operation that reads it.
 */
import { GraphBuilder } from '../../graph/builder.ts';
import { computeType, type Place, places, type RoundingPolicy, typeAt } from '../../graph/rounding.ts';
import { allocate, floatData, floatTensor } from '../../model/arrays.ts';
import type { KernelRole } from '../../model/executor.ts';
import { exponentOf, roundTo } from '../../numerics/half.ts';
import { formats, type StorageType } from '../../numerics/types.ts';
import { gateClaims } from './claims.ts';
import { always, type Gate, type GateContext, type Measurement, once } from './gate.ts';

export const canary: Gate = {
  name: 'canary',
  class: 'harness',
  claim: gateClaims.canary,
  required: 'every probe as IEEE 754 says for that type',
  failing: [
    'a float16-typed graph, whose casts the runtime deletes',
    'a graph whose roundings were dropped',
    'a graph that rounds to bfloat16 instead of float16',
  ],
  appliesTo: always,
  stages: 'none',
  begin: once(measure),
};

/** One addition whose rounding tells types apart. */
export interface Probe {
  name: string;
  a: number;
  b: number;
}

/** Probes of `type` for operations that compute in `compute`; every operand is exact in both. */
export function probesOf(type: StorageType, compute: 'f32' | 'f64'): Probe[] {
  const { significandBits, minExponent, maxFinite } = formats[type];
  const ulp = 2 ** (1 - significandBits);
  const half = ulp / 2;
  const topUlp = 2 ** (exponentOf(maxFinite) + 1 - significandBits);
  const subnormal = 2 ** (minExponent + 1 - significandBits);
  const narrow = type !== compute;
  return [
    { name: 'half-ulp tie', a: 1, b: half },
    { name: 'kept ulp', a: 1, b: ulp },
    { name: 'ties to even', a: 1, b: 3 * half },
    { name: 'just below overflow', a: maxFinite, b: topUlp / 4 },
    { name: 'overflow', a: maxFinite, b: topUlp / 2 },
    { name: 'smallest subnormal', a: 0, b: subnormal },
    { name: 'negative subnormal', a: 0, b: -subnormal },
    // Where the type is the compute type itself these operands do not exist.
    ...(narrow
      ? [
          { name: 'half a subnormal', a: 0, b: subnormal / 2 },
          { name: 'three quarters of a subnormal', a: 0, b: 0.75 * subnormal },
        ]
      : []),
  ];
}

/** round(a + b) − a, with every operation rounded as the policy says. */
export function expectedProbe({ a, b }: Probe, type: StorageType, compute: 'f32' | 'f64'): number {
  const sum = roundTo(compute, a + b);
  // Casts from float64 to 16 bits go through float32.
  const stored = roundTo(type, type === 'f64' ? sum : Math.fround(sum));
  return roundTo(compute, stored - a);
}

async function measure(context: GateContext): Promise<Measurement> {
  const { policy } = context;
  const compute = computeType(policy);
  const wrong: string[] = [];
  let total = 0;
  const types = typesOf(policy);
  for (const role of ['prefill', 'decode'] as const) {
    for (const [type, place] of types) {
      const probes = probesOf(type, compute);
      const found = await consumed(context, role, place, probes);
      total += probes.length;
      probes.forEach((probe, i) => {
        const expected = expectedProbe(probe, type, compute);
        if (found[i] === expected) return;
        wrong.push(`${type} ${probe.name} (${role}): ${probe.a} + ${probe.b} left ${found[i]}, not ${expected}`);
      });
    }
  }
  return {
    passed: wrong.length === 0,
    measured: `${wrong.length} of ${total} probes wrong${wrong.length > 0 ? `; first: ${wrong[0]}` : ''}`,
    scope: `types ${[...types.keys()].join(', ')} of policy ${policy.name}, both kernels' session options`,
  };
}

/** The types a policy rounds to, each with a place that does; the compute type is always among them. */
function typesOf(policy: RoundingPolicy): Map<StorageType, Place | null> {
  const types = new Map<StorageType, Place | null>([[computeType(policy), null]]);
  for (const place of places) {
    const type = typeAt(policy, place);
    if (!types.has(type)) types.set(type, place);
  }
  return types;
}

/** Run (a + b, rounded at `place`) − a for all probes at once. */
async function consumed(
  { executor, checkpoint, policy, kernels }: GateContext,
  role: KernelRole,
  place: Place | null,
  probes: readonly Probe[],
): Promise<number[]> {
  const g = new GraphBuilder({
    checkpoint,
    policy,
    kernel: kernels[role],
    hooks: new Set(),
    patchPoints: new Set(),
  });
  const a = g.input('a', ['probe']);
  const b = g.input('b', ['probe']);
  const sum = g.op('Add', [a, b]);
  const rounded = place === null ? sum : g.round(sum, place);
  g.expose('rest', g.op('Sub', [rounded, a]), ['probe']);
  const session = await executor.openGraph(g.finish('canary'), role);
  try {
    const feed = (values: number[]) => {
      const data = allocate(computeType(policy), values.length);
      data.set(values);
      return floatTensor(data, [values.length]);
    };
    const feeds = { a: feed(probes.map((probe) => probe.a)), b: feed(probes.map((probe) => probe.b)) };
    const { rest } = await session.run(feeds, ['rest']);
    return [...floatData(rest)];
  } finally {
    await session.release();
  }
}
