/** The expected lines are the design's `terminal.txt`, copied by hand; nothing here is printed by the code under test. */
import { describe, expect, test } from 'vitest';
import type { DivergenceSummary } from '../../src/divergence/summary.ts';
import { renderAudit, renderModels, renderSummary } from '../../src/report/terminal/index.ts';
import { displayWidth } from '../../src/report/terminal/layout.ts';
import { gate, ort, splitK } from './summaries.ts';

const plain = { columns: 80, color: false, unicode: true, run: 'runs/s260k' };
const render = (summary: DivergenceSummary, options: Partial<typeof plain> = {}) =>
  renderSummary(summary, { ...plain, ...options });

describe('a run whose tokens differ', () => {
  const expected = `stories260K  fp16, greedy, split-k:8:storage (emulated)  40 prompts × 149 steps
  on this CPU: fp16 storage, fp32 accumulation
  split-k:8:storage imitates a GPU's kernel inside the graph

Drift of the newest row, relative L2 in u (1 u = 2^-11, one fp16 rounding)
          step 1                     149      rms     max   added     equal
  embed   ······························        0       0       –     100 %
  L0      ▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆      2.3     8.3     1.9       0 %
  L1      ▆▇▇▇▆▆▆▆▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇      3.3      17     1.8       0 %
  L2      ▆▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇      3.7      18     1.6       0 %
  L3      ▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇      4.2      23     1.8       0 %
  L4      ▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇      5.0      19     1.8       0 %
  final   ▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇      4.5      19       –       0 %
  logits  ▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆      2.6      18       –       0 %
  scale   · exactly 0   ▁ ≤ 0.18 u   █ ≥ 5.6 u, log
  added   same input and same history: what the layer's kernel adds by itself

Tokens
  flips   11 / 5,960 steps    0.18 % [0.10–0.33 %]   8 are exact ties in one arm
  texts   10 / 40             25 % [14–40 %]         first at 14, median 53
  logits  KL 1.6e-5  TV 1.7e-3  L2 0.19   (to fp64: cached 0.20, uncached 0.14)

  prompt  step  uncached  cached     margin u  margin c   4 widest of 11
      35    26  ␣was      ␣want       0 (tie)     0.023
       7    14  ␣play     ␣s            0.016   0 (tie)
      36    53  A         S            7.8e-3     0.016
      37    45  "         T             0.016   0 (tie)

First divergence
  blocks.0.attn.hook_q   prompt 0, step 1   inputs equal, 31 of 64 values not
  query projection, block 0: reads no cache, so the kernel starts it

Gates   ✓ repeat  ✓ alignment  ✓ no-op  ✓ null  ✓ full-patch  ✓ prefix  ✓ finite
        ○ canary  ○ provenance  ○ observer  ○ residual  (○ = not applicable)

✗ TOKENS DIFFER  10 of 40 texts. Starts in the decode kernel, not in the cache.
  removed by     --kernels ort --decode-rows 2
                 (null gate: 0 of 1,452 elements differ)
  look           runs/s260k`.split('\n');

  test('is laid out line by line as designed', () => {
    expect(render(splitK).split('\n')).toEqual(expected);
  });

  test('fits 80 columns', () => {
    for (const line of render(splitK).split('\n')) expect(displayWidth(line)).toBeLessThanOrEqual(80);
  });

  test('in colour says the same, and colours marks alone', () => {
    const colored = render(splitK, { color: true });
    // biome-ignore lint/suspicious/noControlCharactersInRegex: the colour sequences are what is looked for
    const painted = [...colored.matchAll(/\u001b\[\d+m(.*?)\u001b\[\d+m/g)].map((match) => match[1]);
    expect(new Set(painted)).toEqual(new Set(['✓', '○', '✗']));
    // biome-ignore lint/suspicious/noControlCharactersInRegex: as above
    expect(colored.replaceAll(/\u001b\[\d+m/g, '').split('\n')).toEqual(expected);
  });

  test('on a dumb terminal is ASCII with digits for bars', () => {
    const text = render(splitK, { unicode: false });
    expect(text).toMatch(/^[\n -~]*$/);
    expect(text).toContain('  L1      566655556666666666666666666666      3.3      17');
    expect(text).toContain('  embed   ..............................        0       0       -     100 %');
  });
});

describe('a run whose bits differ and whose tokens do not', () => {
  const lines = render(ort).split('\n');

  test('has the run line, chart and token lines of the design', () => {
    const expected = `stories260K  fp16, greedy, ort                           40 prompts × 149 steps
          step 1                     149      rms     max   added     equal
  embed   ······························        0       0       –     100 %
  L0      ▁▁▁·▁▁▁▂▁▁▁▁▁▁▁▂▁▁▁▁▁▁·▁▁▁▁▁▁▁     0.09     3.0    0.09      99 %
  L1      ▂▂▂▁▂▂▃▃▃▂▂▂▂▃▃▃▃▂▃▃▃▃▃▃▃▂▃▃▃▃     0.34     2.8    0.05      80 %
  L2      ▃▃▃▃▃▄▄▄▄▄▄▄▄▄▄▄▄▄▅▅▅▅▄▅▅▅▄▅▅▅     0.88     4.5    0.06      43 %
  L3      ▃▄▄▄▄▅▅▅▅▅▅▅▅▅▅▅▅▆▅▅▅▅▅▅▅▅▅▆▆▆      1.5     9.6    0.06      30 %
  L4      ▄▅▅▅▅▅▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆      2.1      11    0.08      20 %
  final   ▄▅▅▅▅▅▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆      2.0     8.6       –      20 %
  logits  ▂▄▄▄▄▄▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅      1.2     8.2       –      20 %
  flips   0 / 5,960 steps     < 0.05 % (3/n)
  texts   0 / 40              [0–9 %]
  logits  KL 3.4e-6  TV 6.4e-4  L2 0.080   (to fp64: cached 0.14, uncached 0.14)
First divergence
  blocks.1.attn.hook_attn_scores   prompt 0, step 1   1 element differs
≈ BITS DIFFER  in 4,755 of 5,960 steps (80 %); no token changed, texts [0–9 %]`.split('\n');
    expect(lines.filter((line) => expected.includes(line))).toEqual(expected);
  });

  test('names the operation and says why the kernel starts it', () => {
    expect(lines).toContain('  q kᵀ, block 1, head 3: the cache it reads is equal, so the kernel starts it');
  });

  test('ends with the verdict block', () => {
    expect(lines.at(-3)).toMatch(/^≈ BITS DIFFER/);
  });
});

describe('what removes a difference under kernels of a file', () => {
  const removed = (kernels: string, matchedKernels: string | null) =>
    render({ ...ort, kernels, matchedKernels })
      .split('\n')
      .find((line) => line.includes('removed by'));

  test('is a preset of the prefill’s kernel, where one has a name', () => {
    expect(removed('mine', 'ort-unpacked')).toContain('--kernels ort-unpacked --decode-rows 2');
    expect(removed('mine', null)).toContain("the prefill's kernel and --decode-rows 2");
    expect(removed('mine', 'mine')).toMatch(/removed by {5}--decode-rows 2/);
  });

  test('and only kernels of a GPU are called imitations', () => {
    expect(render({ ...ort, kernels: 'mine', emulated: true })).toContain('mine imitates a GPU');
    expect(render({ ...ort, kernels: 'placebo:1', emulated: false })).not.toContain('imitates');
  });
});

describe('gates decide what is printed', () => {
  const failing = (name: string, measured: string) => ({
    ...ort,
    gates: ort.gates.map((item) =>
      item.name === name ? gate(name, { passed: false, status: 'failed' as const, measured }) : item,
    ),
  });

  test('a failed harness gate replaces every number', () => {
    const summary = { ...failing('full-patch', '12 elements differ'), verdict: 'not-valid' as const };
    expect(render(summary).split('\n')).toEqual([
      'stories260K  fp16, greedy, ort                           40 prompts × 149 steps',
      '  on this CPU: fp16 storage, fp32 accumulation',
      '',
      '! NOT VALID  gate "full patch" failed: 12 elements differ, 0 required',
      '  No result is reported. See runs/s260k/controls.json; kvlens audit MODEL shows',
      '  every gate.',
    ]);
  });

  test('a failed identification gate keeps the numbers, says what is open, and removes what it would have shown', () => {
    const text = render(failing('null', '63 elements differ'));
    expect(text).toContain('  L1      ▂▂▂');
    expect(text).toContain('Gates   ✗ null  ✓ repeat');
    expect(text).toContain('gate "null" failed: 63 elements differ, 0 required');
    expect(text).toContain('not identifiable: whether summation order alone makes the arms differ');
    expect(text).not.toContain('removed by');
    expect(text.replaceAll(/\s+/g, ' ')).toMatch(/≈ BITS DIFFER .*; in doubt, as null failed/);
  });

  test('equal arms are in doubt where an identification gate failed, and only there', () => {
    const equal = { verdict: 'equal' as const, differingSteps: 0 };
    const text = render({ ...failing('prefix', '3 elements differ'), ...equal }).replaceAll(/\s+/g, ' ');
    expect(text).toMatch(/= EQUAL not one bit differs in .*; in doubt, as prefix failed/);
    expect(render({ ...failing('prefix', ''), gates: [], ...equal })).not.toContain('in doubt');
  });

  test('an audit shows every gate with both values, the verdict last', () => {
    const audit = renderAudit(
      [gate('repeat'), gate('null', { passed: false, status: 'failed', measured: '3 differ' })],
      plain,
    );
    expect(audit.split('\n')).toEqual([
      '✓ repeat         harness',
      '    measured  0 of 1,452 elements differ',
      '    required  0 elements differ',
      '    scope     prompt story-00, n = 13 … 20',
      '✗ null           identification',
      '    measured  3 differ',
      '    required  0 elements differ',
      '    scope     prompt story-00, n = 13 … 20',
      '',
      '✗ GATES FAILED  1 of 2 gates: null',
    ]);
  });
});

describe('special cases', () => {
  test('equal arms: the verdict says so and nothing removes anything', () => {
    const text = render({
      ...ort,
      drift: ort.drift.map((row) => ({ ...row, bins: row.bins.map(() => 0), rms: 0, max: 0, equalShare: 1 })),
      differingSteps: 0,
      firstDivergence: null,
      verdict: 'equal',
    });
    expect(text).toContain('\n= EQUAL  not one bit differs in 5,960 steps, texts [0–9 %]\n');
    expect(text).not.toContain('removed by');
    expect(text).not.toContain('First divergence');
  });

  test('over 16 layers: the first, the last and the 14 that add most, in order', () => {
    const layers = Array.from({ length: 32 }, (_, i) => ({
      ...ort.drift[1],
      label: `L${i}`,
      added: i === 0 ? 0 : i / 10,
    }));
    const text = render({ ...ort, drift: [ort.drift[0], ...layers, ...ort.drift.slice(-2)] });
    const labels = [...text.matchAll(/^ {2}(L\d+|final|… \d+ more)/gm)].map((match) => match[1]);
    const last15 = Array.from({ length: 15 }, (_, i) => `L${i + 17}`);
    expect(labels).toEqual(['L0', ...last15, '… 16 more', 'final']);
  });

  test('steps that no prompt reached are blank, zero is never a bar, and off the scale is its end', () => {
    const bins = [null, 0, 0.001, 0.1, 0.177, 0.179, 5.5, 5.7, 1000, Number.NaN, ...Array(20).fill(null)];
    const text = render({ ...ort, drift: [{ ...ort.drift[1], bins }] });
    expect(text).toContain(`  L0       ·▁▁▁▂▇██×${' '.repeat(20)}`);
  });

  test('a token cannot steer the terminal', () => {
    const [first] = splitK.widestFlips;
    const text = render({
      ...splitK,
      widestFlips: [{ ...first, cached: { ...first.cached, text: '\u001b[2J\u202e\n' } }],
    });
    expect(text).not.toMatch(/[\p{Control}\p{Format}]/u.test('\n') ? /(?!\n)[\p{Control}\p{Format}]/u : /x/);
    expect(text).toContain('\\x1b[2J');
  });

  test('a run without drift rows has no chart', () => {
    expect(render({ ...ort, drift: [] })).not.toContain('Drift');
  });

  test('models are a table; an accuracy that was not measured is a dash', () => {
    const models = [
      {
        name: 'mini-llama',
        architecture: 'llama',
        parameters: 1_234_567,
        bytes: 4_938_268,
        accuracy: { share: 0.814, problems: 500 },
      },
      { name: 'x', architecture: 'llama', parameters: 500_000, bytes: 1_000_000, accuracy: null },
    ];
    expect(renderModels(models, plain).split('\n')).toEqual([
      'model       architecture  parameters    size     accuracy',
      'mini-llama  llama             1.23 M  4.9 MB  81 % of 500',
      'x           llama             0.50 M  1.0 MB            –',
    ]);
  });
});
