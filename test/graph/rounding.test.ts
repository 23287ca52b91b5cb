/** Where a policy rounds, every number is one of the narrow type's; where nothing rounds, the same check fails. */
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { GraphBuilder } from '../../src/graph/builder.ts';
import { findHook, selectHooks } from '../../src/graph/hooks.ts';
import { resolveKernels } from '../../src/graph/kernels.ts';
import { type Place, places, type RoundingPolicy, resolvePolicy, typeAt } from '../../src/graph/rounding.ts';
import { forward } from '../../src/model/plans.ts';
import { rotaryTables } from '../../src/model/positions.ts';
import { representable } from '../../src/numerics/half.ts';
import type { StorageType } from '../../src/numerics/types.ts';
import { sharedPath } from '../shared.ts';
import { removeCheckpoint, writeTinyCheckpoint } from '../tiny-checkpoint.ts';
import { OperandProbe } from './operand-probe.ts';

const tokens = [1, 17, 5, 88, 42, 42, 7, 63, 30, 11];
const stories = sharedPath('data', 'models', 'stories260K');
const names = ['grouped-query', ...(stories ? ['stories260K'] : [])];
const dirs = new Map<string, string>(stories ? [['stories260K', stories]] : []);
beforeAll(() => {
  dirs.set('grouped-query', writeTinyCheckpoint({ attention: 'gqa', seed: 5 }));
});
afterAll(() => removeCheckpoint(dirs.get('grouped-query')!));

/** The place a hook's value was last rounded at; null where half-precision code keeps float32. */
const hookPlaces: Record<string, Place | null> = {
  embed: 'embedding',
  resid_pre: 'residual',
  'ln1.scale': null,
  'ln1.normalized': null,
  'attn.q': 'linear',
  'attn.k': 'linear',
  'attn.v': 'linear',
  'attn.rot_q': 'rotary',
  'attn.rot_k': 'rotary',
  'attn.cache_k': 'kv',
  'attn.cache_v': 'kv',
  'attn.attn_scores': 'scores',
  'attn.pattern': 'probabilities',
  'attn.z': 'attention_out',
  attn_out: 'linear',
  resid_mid: 'residual',
  'ln2.scale': null,
  'ln2.normalized': null,
  'mlp.pre': 'linear',
  'mlp.pre_linear': 'linear',
  'mlp.post': 'mlp',
  mlp_out: 'linear',
  resid_post: 'residual',
  'ln_final.scale': null,
  'ln_final.normalized': null,
  'unembed.out': 'logits',
  logits: 'logits',
};

/** Numbers of a run: the place they were rounded at, and the type the graph says they are of, if it says one. */
interface Numbers {
  name: string;
  place: Place | null;
  claimed?: StorageType;
  data: ArrayLike<number>;
}

let placesInUse = new Set<Place>();
beforeEach(() => {
  placesInUse = new Set(['weights', 'rotary_table']);
  const { round } = GraphBuilder.prototype;
  vi.spyOn(GraphBuilder.prototype, 'round').mockImplementation(function (this: GraphBuilder, x, place) {
    placesInUse.add(place);
    return round.call(this, x, place);
  });
  return () => vi.restoreAllMocks();
});

describe.each(names)('%s', (name) => {
  describe.each(['fp16', 'bf16', 'fp16-sdpa'])('%s', (precision) => {
    const policy = resolvePolicy(precision);

    test('a hook is of the type its place rounds to, float32 elsewhere', async () => {
      for (const { name: hook, place, claimed } of await run(name, policy))
        if (claimed) expect.soft(claimed, hook).toBe(place ? typeAt(policy, place) : 'f32');
    });

    test('every number at every place in use is representable', async () => {
      const checked = narrowNumbers(await run(name, policy), policy);
      expect(checked.filter(({ data, type }) => !allOf(type, data)).map((numbers) => numbers.name)).toEqual([]);
      const narrowPlaces = [...placesInUse].filter((place) => typeAt(policy, place) !== 'f32');
      expect(new Set(checked.map(({ place }) => place))).toEqual(new Set(narrowPlaces));
    });

    test('an unrounded run fails at each of them', async () => {
      const checked = narrowNumbers(await run(name, resolvePolicy('fp32')), policy);
      expect(checked.length).toBeGreaterThan(0);
      expect(checked.filter(({ data, type }) => allOf(type, data)).map((numbers) => numbers.name)).toEqual([]);
    });
  });
});

describe('a policy that rounds one place to another type: every hook is of the type it claims', () => {
  const claimsHold = async (place: Place) => {
    const policy = { ...resolvePolicy('fp16'), name: `bf16-${place}`, places: { [place]: 'bf16' } };
    const found = await run('grouped-query', policy);
    expect(found.filter(({ claimed, data }) => claimed && !allOf(claimed, data)).map(({ name }) => name)).toEqual([]);
  };
  test.each(places)('%s', claimsHold);
});

/** Everything a run can show: all hooks, the operands of products with a weight, the rotary tables. */
async function run(name: string, policy: RoundingPolicy): Promise<Numbers[]> {
  const checkpoint = await openCheckpoint(dirs.get(name)!);
  const executor = new OperandProbe({ checkpoint, policy, kernels: resolveKernels('ort'), threads: 1 });
  const { config } = executor;
  const hooks = new Set(selectHooks('all', config).map((hook) => hook.name));
  const cache = executor.newCache(tokens.length);
  const { activations } = await forward(executor, { tokens, start: 0, cache, kernel: 'prefill', capture: { hooks } });
  await executor.release();
  const captured = [...activations].map(([hook, { data, dtype }]): Numbers => {
    const { kind } = findHook(hook, config)!.definition;
    return { name: hook, place: hookPlaces[kind], claimed: dtype, data };
  });
  const { cos, sin } = rotaryTables(config, policy, tokens.length);
  const tables = [cos, sin].map((data): Numbers => ({ name: 'rotary table', place: 'rotary_table', data }));
  return [...captured, ...executor.operands, ...tables];
}

/** Those that a policy rounds to 16 bits, with the type. */
function narrowNumbers(found: Numbers[], policy: RoundingPolicy) {
  return found.flatMap(({ name, place, data }) => {
    const type = place && typeAt(policy, place);
    return place && type && type !== 'f32' ? [{ name, place, type, data }] : [];
  });
}

function allOf(type: StorageType, data: ArrayLike<number>): boolean {
  return Array.from(data).every((value) => representable(type, value));
}
