/** docs/parity.md: what was measured against the library, as tables. */
import { modelTypes } from '../../src/checkpoint/types.ts';
import { policies } from '../../src/graph/rounding.ts';
import { unitRoundoff } from '../../src/numerics/types.ts';
import { bounds, type FullPrecision, type HalfPrecision } from './claims.ts';
import { type HalfRun, halfRuns, type Index } from './expected.ts';
import { allowedFlips } from './roundings.ts';
import { addTally, newTally, type Tally } from './tally.ts';

/** All that was measured on one checkpoint. */
export interface Measured {
  index: Index;
  full: FullPrecision;
  halves: HalfPrecision[];
}

const titles: Record<HalfRun, string> = {
  fp16: '`fp16`, against eager attention in float16',
  bf16: '`bf16`, against eager attention in bfloat16',
  'fp16-sdpa': '`fp16-sdpa`, against the sdpa path (math kernel) in float16',
  'bf16-sdpa': '`bf16-sdpa`, against the sdpa path (math kernel) in bfloat16',
};

export function parityDocument(unsorted: Measured[]): string {
  const order = (model: Measured) => modelTypes.indexOf(model.index.modelType);
  const all = unsorted.toSorted((a, b) => order(a) - order(b));
  const { transformers, torch, numpy, cpu } = all[0].index.versions;
  return `${[
    '# Parity with Hugging Face transformers',
    '',
    `Written by \`test/parity/compare.mts\` from a run with transformers ${transformers}, torch ${torch}, numpy ${numpy}`,
    `on ${cpu}. Random checkpoints of each architecture and the embedded models; the prompt at once, then single rows`,
    'over the cache. Again, with an environment that has `test/python/requirements-reference.txt`:',
    '',
    '```sh',
    'python test/parity/make_fixtures.py OUT --against test/parity/fixtures --checkpoint data/checkpoints/mini-llama',
    'npx tsx test/parity/compare.mts OUT --document docs/parity.md',
    '```',
    '',
    '`npm test` compares with the small shapes’ values, which are committed; `.ci/run` makes all of them again.',
    '',
    '## Full precision',
    '',
    `float64: the largest relative difference (max |a − b| / max |b|) over all hooks and steps, at most ${bounds.float64}.`,
    'The library computes rotary tables in float32 whatever the model’s type; here both read its tables, and its casts to',
    'float32 in norms and softmax are left out. Tables: how far the library’s are from exact ones, largest |cos| or |sin|',
    'error at the positions that were run and at all positions of the model; kvlens’s own float32 tables beside it, and what',
    `float64 with exact tables would differ by. float32: logits, each side with its own tables, at most ${bounds.float32}.`,
    '',
    ...table(
      [
        'model',
        'shape',
        'tokens',
        'hooks',
        'float64',
        'float32',
        'tables: run',
        'all positions',
        'ours',
        'exact tables',
      ],
      all.map(({ index, full }) => [
        index.modelType,
        `${index.name}: ${index.about}`,
        index.steps.map(({ tokens }) => tokens.length).join(' + '),
        String(full.hooks),
        ...[full.float64, full.float32, full.tables.library].map(small),
        `${small(index.tables.fromExact)} (${index.tables.positions.toLocaleString('en')})`,
        ...[full.tables.ours, full.withExactTables].map(small),
      ]),
    ),
    '',
    '## Half precision, rounding by rounding',
    '',
    'The library’s code runs unchanged and every operation with a result of the half type is logged: that is the list of its',
    'roundings, and kvlens’s graphs have the same list, no rounding more and none less. Then each operation of a graph is',
    'given the library’s own values for all its inputs and its result is compared with the library’s, so that a difference',
    'is that operation’s.',
    '',
    '- **differ**: elements that are not the same bits.',
    '- **law**: how many the float32 results before the rounding explain, Σ E|Δ_fp32| / ulp. For sums Δ_fp32 is measured,',
    '  twice our distance from float64 on the same terms; for exp, tanh and rsqrt with what surrounds them it is 2^−22 of',
    '  the result.',
    '- **allowed**: none for operations that IEEE 754 defines; else twice the law, and, since a count scatters, 5 of its',
    '  standard deviations and 3 more, per checkpoint.',
    '- **max**: the largest difference in ulp, at most 1.',
    '- **cancelled**, and how many of them differ: elements counted apart, results so much smaller than their terms that',
    '  float32 leaves open which half number is nearest (an ulp of theirs is less than 4 × the tensor’s largest |Δ_fp32|;',
    '  for GELU, whose 1 + tanh cancels, less than 2^−23 of x). None differs by more than that and one ulp.',
    '',
    ...halfRuns.flatMap((run) => halfSection(run, all)),
    '**Found by it**: the runtime’s Sigmoid is inaccurate where its result is small (by 0.2 % at x = −10): SiLU as',
    'x · Sigmoid(x) was up to 29 ulp of a half type from the library. SiLU is x / (1 + exp(−x)) now and equal everywhere. The',
    'runtime’s Tanh is off by several float32 steps near −1; GELU takes tanh from exp, which left 714 of 9,502 differing',
    'elements of gemma2-wide in float16, all but 7 of them cancelled. The soft-caps keep Tanh: no difference shows there.',
    '',
    '## Attention kernels of the sdpa path',
    '',
    'The policies round as the math kernel does: float32 inside, one rounding. The CPU’s default, the flash kernel, rounds',
    'unnormalised exponentials to the half type before P·V. Its output on the same queries, keys and values, against ours:',
    '',
    ...table(
      ['shape', 'policy', 'elements', 'differ', 'relative L2 in u'],
      all.flatMap(({ index, halves }) =>
        halves.flatMap(({ run, flash }) => {
          if (!flash) return [];
          const distance = Math.sqrt(flash.difference / flash.norm) / unitRoundoff(policies[run].default);
          return [
            [index.name, run, count(flash.elements), percent(flash.differ / flash.elements), distance.toFixed(2)],
          ];
        }),
      ),
    ),
    '',
    ...all.flatMap(({ index }) =>
      index.refused === null ? [] : [`- ${index.name}: not applicable. “${index.refused}”`],
    ),
    '',
    'Gemma-2 soft-caps its scores, which sdpa cannot, so eager attention is its default path. `fp16-sdpa` and `bf16-sdpa`',
    'keep the soft-cap inside the one rounding; there is no reference to compare that with.',
    '',
    '## Whole runs',
    '',
    'Each side goes on with its own values, so that a flip is carried on by all later layers: the logits at the end.',
    '',
    ...table(
      ['shape', ...halfRuns.map((run) => `${run}: equal, L2 in u`)],
      all.map(({ index, halves }) => [
        index.name,
        ...halfRuns.map((run) => {
          const half = halves.find((each) => each.run === run);
          if (!half) return 'n/a';
          return `${percent(half.logits.equal)}, ${(half.logits.distance / unitRoundoff(policies[run].default)).toFixed(2)}`;
        }),
      ]),
    ),
  ].join('\n')}\n`;
}

function halfSection(run: HalfRun, all: Measured[]): string[] {
  const places = new Map<string, { total: Tally; allowed: number }>();
  let shapes = 0;
  for (const { halves } of all) {
    for (const half of halves.filter((each) => each.run === run)) {
      shapes += 1;
      for (const [place, found] of half.places) {
        const sum = places.get(place) ?? { total: newTally(), allowed: 0 };
        addTally(sum.total, found);
        sum.allowed += allowedFlips(place, found.law);
        places.set(place, sum);
      }
    }
  }
  const rows = [...places].map(([place, { total, allowed }]) => [
    place,
    count(total.elements),
    total.flips === 0 ? '0' : `${count(total.flips)} (${percent(total.flips / total.elements)})`,
    allowed === 0 ? '–' : percent(total.law / total.elements),
    allowed === 0 ? '0' : `${count(allowed)} (${percent(allowed / total.elements)})`,
    String(total.largest),
    total.cancelled === 0 ? '0' : `${count(total.cancelled)}, ${count(total.cancelledFlips)}`,
  ]);
  return [
    `### ${titles[run]}`,
    '',
    `${shapes} checkpoints.`,
    '',
    ...table(['rounding', 'elements', 'differ', 'law', 'allowed', 'max', 'cancelled, differ'], rows),
    '',
  ];
}

function table(head: string[], rows: string[][]): string[] {
  const line = (cells: string[]) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)];
}

const count = (value: number) => value.toLocaleString('en');
const small = (value: number) => value.toExponential(1);

/** Two digits, so that a small share is not shown as none. */
function percent(share: number): string {
  if (share === 0) return '0 %';
  const value = share * 100;
  if (value >= 10) return `${value.toFixed(0)} %`;
  return `${value.toPrecision(2).includes('e') ? value.toExponential(1) : value.toPrecision(2)} %`;
}
