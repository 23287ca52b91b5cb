/** The figure of both texts: every token has its place, the flip is boxed, and nothing in a text leaves it. */
import { describe, expect, test } from 'vitest';
import { leastAgain, tokenFlowData } from '../../../src/report/data/token-flow.ts';
import type { FigureOptions } from '../../../src/report/figures/frame.ts';
import { themes } from '../../../src/report/figures/theme.ts';
import { tokenFlowFigure } from '../../../src/report/figures/token-flow.ts';
import { hostile, present } from '../run-fixture.ts';
import { type FlowOptions, flowRun, parting, type Texts, words } from '../token-flow-rows.ts';
import { expectSafe, paths, rects, texts } from './marks.ts';

const { light } = themes;

async function drawn(own: Texts, options: FlowOptions = {}, figure: FigureOptions = {}) {
  return tokenFlowFigure(present(await tokenFlowData(flowRun(own, options))), { appearance: 'light', ...figure });
}

interface Mark {
  x: number;
  y: number;
  step: number;
  look: string;
  content: string;
}

/** Tokens of the texts with their places in the figure. */
function tokens(svg: string): Record<'uncached' | 'cached', Mark[]> {
  const found = { uncached: [] as Mark[], cached: [] as Mark[] };
  const groups =
    /<g transform="translate\(0 ([\d.]+)\)">\n<text[^\n]*\n(?:<text[^\n]*\n)?<g data-arm="(\w+)"[^>]*>([\s\S]*?)<\/g>/g;
  for (const [, top, arm, content] of svg.matchAll(groups)) {
    for (const [, x, y, look, step, text] of content.matchAll(
      /<text x="([\d.]+)" y="([\d.]+)"([^>]*?) data-step="(\d+)">([^<]*)</g,
    )) {
      const mark = { x: Number(x), y: Number(top) + Number(y), step: Number(step), look };
      found[arm as 'uncached' | 'cached'].push({ ...mark, content: texts(`<text >${text}</text>`)[0] });
    }
  }
  return found;
}

describe('the texts', () => {
  test('stand token by token, the uncached one above, blanks visible', async () => {
    const { uncached, cached } = tokens((await drawn(parting)).svg);
    expect(uncached.map(({ content }) => content)).toEqual(parting.uncached.map((text) => text.replaceAll(' ', '␣')));
    expect(cached.map(({ step }) => step)).toEqual(parting.cached.map((_, step) => step));
    expect(Math.max(...uncached.map(({ y }) => y))).toBeLessThan(Math.min(...cached.map(({ y }) => y)));
    // Up to the flip they stand below one another.
    for (const step of [0, 1, 2, 3]) expect(cached[step].x).toBe(uncached[step].x);
  });

  test('box the first token that differs in each, show it in the colour of its arm and what follows in grey', async () => {
    const { svg } = await drawn(parting);
    const boxes = rects(svg, 'stroke-width="1.5"');
    expect(boxes).toHaveLength(2);
    for (const arm of ['uncached', 'cached'] as const) {
      const own = tokens(svg)[arm];
      expect(own[3].look).toContain(`fill="${light[arm]}" font-weight="700"`);
      expect(boxes.some(({ x, width }) => x < own[3].x && x + width > own[3].x && x + width <= own[4].x + 2)).toBe(
        true,
      );
      expect(own.slice(0, 3).map(({ look }) => look)).toEqual(['', '', '']);
      for (const { look } of own.slice(4)) expect(look).toBe(` fill="${light.ink3}"`);
    }
  });

  test('underline what both write again, and nothing else', async () => {
    const { svg, subtitle } = await drawn(parting);
    const lines = paths(svg, 'data-again');
    const { uncached, cached } = tokens(svg);
    const expected = [...uncached.slice(4), ...cached.slice(5, 11)].map(({ x }) => x);
    expect(lines.map(({ x }) => x)).toEqual(expected);
    expect(subtitle).toContain(`Underlined: runs of at least ${leastAgain} tokens that both write again, 6 tokens.`);
    const none = await drawn({ uncached: words('a red x'), cached: words('a big y') });
    expect(paths(none.svg, 'data-again')).toEqual([]);
    expect(none.subtitle).toContain('No run of 3 tokens after it is in both texts.');
  });

  test('wrap before the edge at any width, and no two tokens lie on one another', async () => {
    const long = {
      uncached: words(`${'word and more '.repeat(20)}x`),
      cached: words(`${'word and more '.repeat(20)}y`),
    };
    for (const width of [420, 720, 1120]) {
      const { uncached } = tokens((await drawn(long, {}, { width })).svg);
      const lines = new Set(uncached.map(({ y }) => y));
      expect(lines.size).toBeGreaterThan(1);
      uncached.forEach(({ x, y, content }, i) => {
        const end = x + content.length * 12 * 0.61;
        expect(end).toBeLessThanOrEqual(width);
        const next = uncached[i + 1];
        if (next?.y === y) expect(next.x).toBeGreaterThan(end);
      });
    }
  });

  test('of 500 tokens are shown about the flip, and what is left out is counted', async () => {
    const start = Array.from({ length: 220 }, (_, i) => ` w${i}`);
    const own = {
      uncached: [...start, ' red', ...Array.from({ length: 279 }, (_, i) => ` u${i}`)],
      cached: [...start, ' big', ...Array.from({ length: 260 }, (_, i) => ` c${i}`)],
    };
    const figure = await drawn(own);
    const found = tokens(figure.svg);
    for (const arm of ['uncached', 'cached'] as const) {
      const shown = found[arm].map(({ step }) => step);
      expect(shown).toContain(220);
      expect(shown).toEqual(shown.map((_, i) => shown[0] + i));
      const notes = texts(figure.svg).filter((text) => /^… \d+ tokens? before$/.test(text));
      expect(notes).toContain(`… ${shown[0]} tokens before`);
      const after = own[arm].length - shown.at(-1)! - 1;
      expect(after).toBeGreaterThan(0);
      expect(texts(figure.svg)).toContain(`… ${after} tokens more`);
    }
    expect(figure.height).toBeLessThan(900);
    expect(figure.svg.length).toBeLessThan(60_000);
    expectSafe(figure.svg);
  });

  test('of 500 equal tokens begin with the first, and the rest is counted', async () => {
    const own = Array.from({ length: 500 }, (_, i) => ` w${i}`);
    const figure = await drawn({ uncached: own, cached: own });
    const { uncached } = tokens(figure.svg);
    expect(uncached[0].step).toBe(0);
    expect(texts(figure.svg)).toContain(`… ${500 - uncached.length} tokens more`);
  });
});

describe('the title', () => {
  test.each<[string, Texts, FlowOptions]>([
    ['Prompt 6 parts at token 3 – on an exact tie', parting, { flip: { tie_uncached: true, margin_choice: 0 } }],
    ['Prompt 6 parts at token 3 – at a margin of 0.016', parting, { flip: { margin_choice: 0.0157 } }],
    ['Prompt 6 parts at token 3', parting, { flip: { margin_choice: null }, condition: { strategy: 't1.0' } }],
    ['Prompt 6 parts at token 1 – at a margin of 1.0', { uncached: ['a', 'b'], cached: ['a', 'c'] }, {}],
    ['Prompt 6: both arms write the same 2 tokens', { uncached: ['a', 'b'], cached: ['a', 'b'] }, {}],
    ['Prompt 6: both arms write the same 1 token', { uncached: ['a'], cached: ['a'] }, {}],
  ])('%s', async (title, own, options) => {
    const figure = await drawn(own, options);
    expect(figure.title).toBe(title);
    expect(figure.alternative).toContain(title);
    expectSafe(figure.svg);
  });

  test('says to those who cannot see it what each arm writes', async () => {
    expect((await drawn(parting)).alternative).toContain('At token 3: uncached ␣red, cached ␣big.');
  });
});

describe('candidates at the flip', () => {
  const candidates: FlowOptions['candidates'] = (arm, step, text) => {
    if (step !== 3) return [[text, 1]];
    return arm === 'uncached'
      ? [
          [' red', 0.5],
          [' big', 0.25],
          ['x', 0.00002],
        ]
      : [
          [' big', 0.4],
          [' red', 0.4],
          ['y', 0],
        ];
  };
  const bars = (svg: string) => rects(svg, 'data-token').map(({ width }) => width);

  test('are bars of both arms on one scale from 0, the chosen one in the colour of its arm', async () => {
    const { svg } = await drawn(parting, { candidates });
    const [red, big, x, ...others] = bars(svg);
    expect(big).toBeCloseTo(red / 2, 1);
    expect(x).toBeLessThan(0.1);
    expect(others[0]).toBeCloseTo(red * 0.8, 1);
    expect(others.slice(1)).toEqual([others[0], 0]);
    // The scale ends with the most probable one, however improbable that is.
    const tenth: FlowOptions['candidates'] = (...of) => candidates(...of).map(([text, share]) => [text, share / 10]);
    expect(bars((await drawn(parting, { candidates: tenth })).svg)[0]).toBe(red);
    const chosen = [...svg.matchAll(/<rect [^>]*fill="([^"]*)" fill-opacity="1"[^>]*>/g)].map(([, fill]) => fill);
    expect(chosen).toEqual([light.uncached, light.cached]);
    expect(texts(svg)).toEqual(expect.arrayContaining([expect.stringMatching(/^0\.5000 {2}#\d+$/)]));
    expect(texts(svg).some((text) => text.startsWith('< 0.0001'))).toBe(true);
  });

  test('name a sampled choice that is none of them', async () => {
    const { svg } = await drawn(parting, { candidates: () => [['other', 0.5]] });
    expect(texts(svg).filter((text) => /^chosen: ␣(red|big) #\d+, none of these$/.test(text))).toHaveLength(2);
  });

  test('that are no numbers have no bar and a cross', async () => {
    const { svg } = await drawn(parting, { candidates: (_, __, text) => [[text, Number.NaN]] });
    expect(bars(svg)).toEqual([0, 0]);
    expect(texts(svg).some((text) => text.startsWith('×'))).toBe(true);
    expectSafe(svg);
  });

  test('are missed where the run has none, and not drawn without a flip', async () => {
    const own = { uncached: parting.uncached, cached: [...parting.uncached.slice(0, 3), ' big'] };
    const { svg } = await drawn(own, { candidates: null });
    expect(texts(svg)).toContain('No candidates of this step: candidates.arrow is not there, or is of another run.');
    expect(bars((await drawn({ uncached: ['a'], cached: ['a'] })).svg)).toEqual([]);
  });
});

describe('hostile texts', () => {
  const attack = '</script><script>alert(1)</script>';
  const arabic = 'مرحبا';
  const own = {
    uncached: [attack, hostile, arabic, '\n', '', ' \u202eabc', 'x'.repeat(300)],
    cached: [attack, hostile, arabic, '\n', '', '猫', '\u0000'],
  };

  test.each(['light', 'dark', 'adaptive'] as const)('stay text, each token by itself (%s)', async (appearance) => {
    const figure = await drawn(own, { promptText: [attack, arabic], condition: { model: 'mini' } }, { appearance });
    expectSafe(figure.svg);
    const { uncached } = tokens(figure.svg);
    expect(uncached[2].content).toBe(arabic);
    expect(uncached[3].content).toBe('⏎');
    // An empty text says nothing: the token's id does.
    expect(uncached[4].content).toBe('#14');
    expect(uncached[5].content).toBe('␣\\x202eabc');
    expect([...uncached[6].content]).toHaveLength(24);
    // A text from right to left has an element of its own, in a group from left to right.
    expect(figure.svg.match(/data-arm="\w+" direction="ltr"/g)).toHaveLength(2);
  });

  test('wide characters take two columns', async () => {
    const { uncached } = tokens((await drawn({ uncached: ['猫猫', 'b', 'c'], cached: ['猫猫', 'b', 'd'] })).svg);
    const { uncached: narrow } = tokens(
      (await drawn({ uncached: ['aaaa', 'b', 'c'], cached: ['aaaa', 'b', 'd'] })).svg,
    );
    expect(uncached[1].x).toBe(narrow[1].x);
  });

  test('names of conditions and prompts too', async () => {
    expectSafe((await drawn(parting, { prompt: hostile, condition: { kernels: hostile } })).svg);
  });
});
