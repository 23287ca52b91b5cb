/** Which precisions keep the rounded weights and widen every activation. */
import { expect, test } from 'vitest';
import { policies, type RoundingPolicy } from '../../../src/graph/rounding.ts';
import { isSingle, isWideActivations } from '../../../src/study/outcome/precisions.ts';

const wide = (places: RoundingPolicy['places'], changes: Partial<RoundingPolicy> = {}): RoundingPolicy => ({
  ...{ name: 'w', compute: 'float32', default: 'f32', places, ...changes },
});

test.each([
  ['weights alone', wide({ weights: 'f16' }), true],
  ['weights and rotary tables', wide({ weights: 'f16', rotary_table: 'f16' }), true],
  ['rotary tables of another half type', wide({ weights: 'f16', rotary_table: 'bf16' }), false],
  ['weights of another half type', wide({ weights: 'bf16' }), false],
  ['no weights', wide({}), false],
  ['a narrow store', wide({ weights: 'f16', kv: 'f16' }), false],
  ['double precision', wide({ weights: 'f16' }, { compute: 'float64' }), false],
] as const)('%s rounded as in fp16', (_, policy, fits) => {
  expect(isWideActivations(policy, policies.fp16)).toBe(fits);
  expect(isSingle(policy)).toBe(policy.compute === 'float32' && Object.keys(policy.places).length === 0);
});
