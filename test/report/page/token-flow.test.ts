/** The texts as part of a page: one element per token that says where it is, and no text that becomes markup. */
import { describe, expect, test } from 'vitest';
import { type TokenFlow, tokenFlowData } from '../../../src/report/data/token-flow.ts';
import { candidateBars, candidatesAt, tokenFlowHtml, tokenFlowStyle } from '../../../src/report/page/token-flow.ts';
import { hostile, present } from '../run-fixture.ts';
import { type FlowOptions, flowRun, parting, type Texts } from '../token-flow-rows.ts';

const read = async (texts: Texts, options: FlowOptions = {}): Promise<TokenFlow> =>
  present(await tokenFlowData(flowRun(texts, options)));

/** Tokens in the order of the page. */
const tokens = (page: string) =>
  [
    ...page.matchAll(
      /<bdi><span class="([^"]*)" data-step="(\d+)" data-arm="(\w+)" data-again="(\d*)" tabindex="(-?\d+)">([^<]*)<\/span><\/bdi>/g,
    ),
  ].map(([, look, step, arm, again, tab, text]) => ({
    ...{ look: look.split(' '), step: Number(step), arm, again, tab: Number(tab) },
    text: text.replaceAll(/&#(\d+);/g, (_, code) => String.fromCodePoint(Number(code))),
  }));

/** Opened and closed elements are pairs, in order. */
function expectWellFormed(page: string): void {
  const open: string[] = [];
  for (const [, close, name, empty] of page.matchAll(/<(\/?)([a-z]\w*)(?:"[^"]*"|[^">])*?(\/?)>/g)) {
    if (close) expect(open.pop()).toBe(name);
    else if (!empty && name !== 'wbr') open.push(name);
  }
  expect(open).toEqual([]);
}

describe('the page', () => {
  test('has every token of both arms with its step and arm, the uncached text first', async () => {
    const page = String(tokenFlowHtml(await read(parting)));
    const found = tokens(page);
    expect(found.map(({ arm, step }) => `${arm} ${step}`)).toEqual([
      ...parting.uncached.map((_, step) => `uncached ${step}`),
      ...parting.cached.map((_, step) => `cached ${step}`),
    ]);
    expect(found.map(({ text }) => text)).toEqual(
      [...parting.uncached, ...parting.cached].map((text) => text.replaceAll(' ', '␣')),
    );
    expect(page).toContain('data-condition="c" data-prompt="p"');
    expectWellFormed(page);
  });

  test('marks the flip, what follows it, and what both write again with the other’s step', async () => {
    const found = tokens(String(tokenFlowHtml(await read(parting))));
    const marked = (name: string) =>
      found.filter(({ look }) => look.includes(name)).map(({ arm, step }) => [arm, step]);
    expect(marked('kvl-flip')).toEqual([
      ['uncached', 3],
      ['cached', 3],
    ]);
    expect(marked('kvl-after')).toHaveLength(parting.uncached.length + parting.cached.length - 8);
    const again = found.filter(({ again: other }) => other !== '');
    expect(again.map(({ arm, step, again: other }) => [arm, step - Number(other)])).toEqual([
      ...Array(6).fill(['uncached', -1]),
      ...Array(6).fill(['cached', 1]),
    ]);
    expect(again.every(({ look }) => look.includes('kvl-again'))).toBe(true);
  });

  test('has one token in the order of tabs: the flip of the uncached text, else its first', async () => {
    const inOrder = (page: TokenFlow) =>
      tokens(String(tokenFlowHtml(page)))
        .filter(({ tab }) => tab === 0)
        .map(({ arm, step }) => [arm, step]);
    expect(inOrder(await read(parting))).toEqual([['uncached', 3]]);
    expect(inOrder(await read({ uncached: ['a', 'b'], cached: ['a', 'b'] }))).toEqual([['uncached', 0]]);
  });

  test('shows the candidates of the flip without a script, and none where nothing flips', async () => {
    const page = String(tokenFlowHtml(await read(parting)));
    expect(page).toMatch(
      /<div data-candidates="uncached"><p class="kvl-flow-arm kvl-uncached">uncached, token 3<\/p><table/,
    );
    expect(page.match(/class="kvl-chosen"/g)).toHaveLength(2);
    expect(page).not.toMatch(/<script|application\/json|style=/);
    const equal = String(tokenFlowHtml(await read({ uncached: ['a'], cached: ['a'] })));
    expect(equal).not.toContain('<table');
    expect(equal).toContain('<div data-candidates="cached"></div>');
  });

  test('of 500 steps has them all', async () => {
    const own = Array.from({ length: 500 }, (_, i) => ` w${i}`);
    const data = await read({ uncached: own, cached: [...own.slice(0, 250), ' x', ...own.slice(251)] });
    const page = String(tokenFlowHtml(data));
    expect(tokens(page)).toHaveLength(1000);
    expect(page.length).toBeLessThan(250_000);
  });
});

describe('hostile texts', () => {
  const attack = '</script><script>alert(1)</script>';

  test('stay text: in tokens, candidates, the prompt, and names of prompt and condition', async () => {
    const own = { uncached: [attack, hostile, 'مرحبا', '\u202e'], cached: [attack, hostile, 'مرحبا', '"'] };
    const options: FlowOptions = {
      ...{ prompt: `"${attack}`, promptText: [attack, 'שלום'], condition: { model: 'mini', kernels: attack } },
      candidates: () => [
        [attack, 0.5],
        [hostile, Number.NaN],
      ],
    };
    const page = String(tokenFlowHtml(await read(own, options)));
    expect(page.replaceAll('\n', '')).not.toMatch(/<\/?script|[\u202e\p{Control}]/u);
    expectWellFormed(page);
    const found = tokens(page);
    expect(found).toHaveLength(8);
    expect(found[0].text).toBe('</script><script>alert(…');
    expect(found[2].text).toBe('مرحبا');
    // Texts of either direction stand in elements of their own.
    expect(page.match(/<bdi/g)?.length).toBeGreaterThanOrEqual(8 + 2);
    expect(page.match(/dir="ltr"/g)).toHaveLength(2);
  });
});

describe('candidates', () => {
  const candidate = (text: string, probability: number, token = 1) => ({ text, probability, token });

  test('are rows with a bar from 0 to 1, the chosen one marked', () => {
    const bars = String(candidateBars([candidate(' a', 0.75), candidate('b', 0.00001, 2), candidate('c', 0, 3)], 2));
    expect([...bars.matchAll(/<rect width="([^"]*)"/g)].map(([, width]) => width)).toEqual(['75', '0', '0']);
    expect([...bars.matchAll(/<tr class="([^"]*)" data-token="(\d)">/g)].map(([, look, id]) => [look, id])).toEqual([
      ['', '1'],
      ['kvl-chosen', '2'],
      ['', '3'],
    ]);
    expect([...bars.matchAll(/<td>([\d&<][^<]*)<\/td>/g)].map(([, text]) => text)).toEqual([
      '0.7500',
      '&#60; 0.0001',
      '0',
    ]);
    expect(bars).toContain('<bdi class="kvl-token">␣a</bdi>');
  });

  test('of none are an empty table, and NaN is a cross without a bar', () => {
    expect(String(candidateBars([]))).toBe('<table class="kvl-candidates"><tbody>\n</tbody></table>');
    const bars = String(candidateBars([candidate('a', Number.NaN)]));
    expect(bars).toContain('<rect width="0"');
    expect(bars).toContain('<td>×</td>');
  });

  test('of a token say its arm and step, a choice that is none of them, and where there are none', () => {
    const token = { step: 4, token: 9, text: ' z', again: null };
    expect(String(candidatesAt('cached', { ...token, candidates: [candidate('a', 1)] }))).toMatch(
      /cached, token 4<\/p><table[\s\S]*<p>chosen: <bdi class="kvl-token">␣z<\/bdi> #9, none of these<\/p>$/,
    );
    expect(String(candidatesAt('cached', { ...token, candidates: [candidate('z', 1, 9)] }))).not.toContain('chosen:');
    expect(String(candidatesAt('uncached', { ...token, candidates: null }))).toMatch(
      /token 4<\/p><p>no candidates of this step in candidates.arrow<\/p>$/,
    );
  });
});

test('the style names every class that the page uses', async () => {
  const page = String(tokenFlowHtml(await read(parting)));
  const used = new Set([...page.matchAll(/class="([^"]*)"/g)].flatMap(([, names]) => names.split(' ')).filter(Boolean));
  const unstyled = [...used].filter((name) => !tokenFlowStyle.includes(`.${name}`));
  expect(unstyled).toEqual(['kvl-flow-note', 'kvl-flow-text']);
});
