/**
 * What kvlens computes where bench/gpu computes it again in Python: uniform numbers, chosen tokens, distances of logits. JSON;
 * numbers that must agree to the bit are hexadecimal.
 */
import { compareLogits, totalVariation } from '../../src/divergence/metrics/logits.ts';
import { keyedUniform } from '../../src/model/sampling/choose.ts';
import {
  chooseToken,
  processedProbabilities,
  resolveStrategy,
  type StrategyOptions,
} from '../../src/model/sampling/index.ts';
import { RandomStream } from '../../src/numerics/random.ts';

const seeds = [0, 1, 7, 2 ** 32 - 1, 2 ** 32, 2 ** 40 + 12345, Number.MAX_SAFE_INTEGER];
const ids = ['arith-0000', 'p', 'Straße – 数', ''];
const tokens = [0, 1, 2, 63, 64, 511, 255_999, 0xffffffff];
const uniforms = seeds.flatMap((seed) =>
  ids.flatMap((prompt) =>
    [0, 1, 101, 65_536].map((step) => {
      const draw = keyedUniform(seed, { prompt, step });
      return { seed, prompt, step, tokens, values: tokens.map((token) => hex(Float64Array.of(draw(token)))) };
    }),
  ),
);

const options: StrategyOptions[] = [
  {},
  { temperature: 0.7 },
  { temperature: 1, topK: 5 },
  { temperature: 1.5, topP: 0.9, seed: 3 },
  { temperature: 0.3, topK: 40, topP: 0.5, seed: 2 ** 33 },
  { temperature: 1, topP: 0.95, sampler: 'inverse-cdf', seed: 11 },
  { temperature: 2, topK: 3, sampler: 'inverse-cdf' },
];
const rows = logitRows();
const choices = options.flatMap((given) => {
  const strategy = resolveStrategy(given);
  return rows.flatMap((logits, row) =>
    [0, 1, 2, 3, 4].map((step) => ({
      ...{ strategy: { ...given }, row, step },
      token: chooseToken(logits, strategy, { prompt: `prompt ${row}`, step }),
    })),
  );
});

const pairs = rows.flatMap((left, i) => rows.slice(i).map((right) => [left, right] as const)).filter(sameLength);
const strategy = resolveStrategy({ temperature: 0.8, topK: 12 });
if (strategy.kind !== 'sample') throw new Error('a strategy that samples was asked for');
const distances = pairs.map(([cached, uncached]) => {
  const { cached: ours, uncached: theirs, ...found } = compareLogits(cached, uncached, 'f32');
  const [p, q] = [cached, uncached].map((logits) => processedProbabilities(logits, strategy));
  return {
    ...{ cached: rows.indexOf(cached), uncached: rows.indexOf(uncached) },
    expected: {
      ...{ logits_n_differ: found.nDiffer, logits_max_abs: found.maxAbs, logits_rel_l2: found.relL2 },
      ...{ logits_l2_centred: found.l2Centred, kl: found.kl, js: found.js, tv: found.tv },
      ...{ tv_processed: totalVariation(p, q), tie_cached: ours.tie, tie_uncached: theirs.tie },
      ...{ margin_cached: ours.margin, margin_uncached: theirs.margin, top_shift: found.topShift },
    },
  };
});

console.log(JSON.stringify({ uniforms, rows: rows.map(hex), choices, distances }));

/** Logits of several spreads; pairs a rounding apart, ties, a zero of either sign, logits that are far apart. */
function logitRows(): Float32Array[] {
  const random = new RandomStream(5, 'gpu parts');
  const wide = Float32Array.from({ length: 512 }, () => 3 * random.normal());
  const nudged = wide.map((value, i) => (i % 7 === 0 ? value * (1 + 2 ** -11) : value));
  const tiny = wide.map((value, i) => (i === 17 ? value * (1 + 2 ** -23) : value));
  const tied = wide.map((value) => Math.round(value * 2) / 2);
  const flat = Float32Array.from({ length: 512 }, (_, i) => (i % 3 === 0 ? 0 : i % 3 === 1 ? -0 : 0.25));
  const far = wide.map((value, i) => (i < 3 ? 500 + value : -400 + value));
  const few = Float32Array.of(0.5, 2, 2, -1);
  return [wide, nudged, tiny, tied, flat, far, few];
}

function sameLength([a, b]: readonly [Float32Array, Float32Array]): boolean {
  return a.length === b.length;
}

function hex(values: Float32Array | Float64Array): string {
  return Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString('hex');
}
