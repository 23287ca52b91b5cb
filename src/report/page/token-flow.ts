/**
 * The texts of both arms as part of a page: every token is an element that says its arm and step, so that what a reader points at can
 * be looked up. It is readable without a script: the candidates of the flip are shown to begin with.
 */
import { type FlowArm, type FlowCandidate, type FlowToken, flowArms, type TokenFlow } from '../data/token-flow.ts';
import { flowSubtitle, flowTitle, probabilityText, shownToken } from '../figures/token-flow-words.ts';
import { formatCounted } from '../terminal/numbers.ts';
import { type Html, html } from './html.ts';

/**
 * Title, both texts and the candidates of the flip. One token is in the order of tabs, the flip or else the first; a script moves that on.
 *
 * Tokens are `span[data-step][data-arm]`, the place for candidates of an arm `[data-candidates="cached"]`, both in
 * `.kvl-flow[data-condition][data-prompt]`. `data-again` is the other arm's step of a token that both write again, else empty.
 */
export function tokenFlowHtml(data: TokenFlow): Html {
  const { condition, prompt, arms, flip } = data;
  const at = flip?.step ?? 0;
  return html`<section class="kvl-flow" data-condition="${condition.condition}" data-prompt="${prompt}">
<h3>${flowTitle(data)}</h3>
<p class="kvl-flow-note">${flowSubtitle(data)}</p>
${flowArms.map((arm) => armHtml(data, arm, at))}
<div class="kvl-flow-candidates" aria-live="polite">
${flowArms.map(
  (arm) => html`<div data-candidates="${arm}">${flip === null ? '' : candidatesAt(arm, arms[arm][at])}</div>
`,
)}</div>
</section>`;
}

/** The candidates of one token with its arm and step: what a page shows for the token that is pointed at. */
export function candidatesAt(arm: FlowArm, { step, token, text, candidates }: FlowToken): Html {
  const found = candidates ?? [];
  const among = found.some((candidate) => candidate.token === token);
  const chosen = html`<p>chosen: <bdi class="kvl-token">${shownToken(text)}</bdi> #${token}, none of these</p>`;
  return html`<p class="kvl-flow-arm kvl-${arm}">${arm}, token ${step}</p>${
    found.length === 0 ? html`<p>no candidates of this step in candidates.arrow</p>` : candidateBars(found, token)
  }${found.length === 0 || among ? '' : chosen}`;
}

/** Bars of these tokens from 0 to 1, with their probabilities in figures. @param chosen id of the arm's choice */
export function candidateBars(candidates: readonly FlowCandidate[], chosen?: number): Html {
  const rows = candidates.map(({ token, text, probability }) => {
    const long = probability > 0 ? Math.round(probability * 1e4) / 100 : 0;
    const bar = html`<svg viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true"><rect width="${long}" height="1"/></svg>`;
    const name = html`<bdi class="kvl-token">${shownToken(text)}</bdi>`;
    return html`<tr class="${token === chosen ? 'kvl-chosen' : ''}" data-token="${token}"><th scope="row">${name}</th><td>${bar}</td><td>${probabilityText(probability)}</td><td>#${token}</td></tr>
`;
  });
  return html`<table class="kvl-candidates"><tbody>
${rows}</tbody></table>`;
}

function armHtml(data: TokenFlow, arm: FlowArm, focus: number): Html {
  const { promptEnd, promptTokens, arms, flip } = data;
  const more = promptTokens > promptEnd.length ? '… ' : '';
  const prompt = promptEnd.map(({ text }) => html`<bdi class="kvl-token">${shownToken(text)}</bdi><wbr>`);
  const tokens = arms[arm].map((token) => tokenHtml(token, arm, { flip: flip?.step ?? Infinity, focus }));
  return html`<div class="kvl-flow-text" role="group" aria-label="${arm}: ${formatCounted(tokens.length, 'token')}">
<p class="kvl-flow-arm kvl-${arm}">${arm}</p>
<p class="kvl-flow-tokens" dir="ltr"><span class="kvl-prompt">${more}${prompt}</span>${tokens}</p>
</div>
`;
}

/** Isolated, so that a token that runs from right to left moves no other; a line may break behind it. */
function tokenHtml(
  { step, text, again }: FlowToken,
  arm: FlowArm,
  { flip, focus }: { flip: number; focus: number },
): Html {
  const look = [
    'kvl-token',
    ...(step === flip ? ['kvl-flip'] : step > flip ? ['kvl-after'] : []),
    ...(again === null ? [] : ['kvl-again']),
  ].join(' ');
  return html`<bdi><span class="${look}" data-step="${step}" data-arm="${arm}" data-again="${again ?? ''}" tabindex="${step === focus && arm === flowArms[0] ? 0 : -1}">${shownToken(text)}</span></bdi><wbr>`;
}

/** Style of the above, of the variables that the figures use. */
export const tokenFlowStyle = [
  '.kvl-token{font-family:ui-monospace,"SF Mono","DejaVu Sans Mono",Menlo,monospace;unicode-bidi:isolate}',
  '.kvl-flow-tokens{line-height:1.75;overflow-wrap:anywhere}',
  '.kvl-prompt,.kvl-after{color:var(--kvl-ink3)}',
  '.kvl-prompt{font-style:italic}',
  '.kvl-flip{border:1.5px solid var(--kvl-ink);border-radius:3px;padding:0 2px;font-weight:700}',
  '.kvl-again{text-decoration:underline;text-underline-offset:3px}',
  '.kvl-flow-arm{font-weight:620;margin:0}',
  ...flowArms.map((arm) => `.kvl-flow-arm.kvl-${arm},.kvl-flow [data-arm=${arm}].kvl-flip{color:var(--kvl-${arm})}`),
  '.kvl-flow-candidates{display:flex;flex-wrap:wrap;gap:8px 32px}.kvl-flow-candidates>*{flex:1 1 280px}',
  '.kvl-candidates{border-collapse:collapse;width:100%}.kvl-candidates th{text-align:right;font-weight:400}',
  '.kvl-candidates td{padding:1px 4px;font-variant-numeric:tabular-nums}.kvl-candidates td:nth-child(2){width:60%}',
  '.kvl-candidates svg{display:block;width:100%;height:14px}.kvl-candidates rect{fill:var(--kvl-ink3)}',
  '.kvl-candidates .kvl-chosen th{font-weight:700}',
  ...flowArms.map((arm) => `[data-candidates=${arm}] .kvl-chosen rect{fill:var(--kvl-${arm})}`),
].join('\n');
