/** The gates of a run: a chip at the top of the page, and the table of what each measured and required. */
import { gateClaims } from '../../divergence/gates/claims.ts';
import type { RunGate } from '../data/gates.ts';
import { formatCount } from '../terminal/numbers.ts';
import { type Html, html } from './html.ts';

const marks = {
  passed: html`<span class="ok">✓ held</span>`,
  failed: html`<span class="bad">✗ failed</span>`,
  'not-applicable': html`<span class="open">○ not run</span>`,
};

/** Of the gates that runs have, and of the checks that patching and studies add to them. */
const claims: Readonly<Record<string, string>> = {
  ...gateClaims,
  'patch-self': 'a step patched with its own values changes no bit',
  'patch-full': 'in every cell history and kernel both replaced give the recomputed step',
  'no-class': 'with no class of operations on the decode kernel nothing differs',
  'all-places': 'with every rounding place in the policy’s type the policy’s own drift comes out',
  'layer-replay': 'a layer run by itself gives the bits it gave in the whole',
  placebo: 'placebo arms that come from one forward equal their honest recomputation',
};

export function gatesChip(gates: readonly RunGate[]): Html {
  const failed = gates.filter(({ status }) => status === 'failed').length;
  const held = gates.filter(({ status }) => status === 'passed').length;
  const other = gates.length - failed - held;
  if (gates.length === 0) return html`<span class="open">○ no gates in this run</span>`;
  const rest = other > 0 ? `, ${formatCount(other)} not run` : '';
  return failed > 0
    ? html`<a href="#gates" class="bad">✗ ${formatCount(failed)} of ${formatCount(gates.length)} gates failed</a>`
    : html`<a href="#gates" class="ok">✓ ${formatCount(held)} of ${formatCount(gates.length)} gates held${rest}</a>`;
}

/** The table; of a study a table for each group, folded where all held. */
export function gatesSection(gates: readonly RunGate[], number: number): Html {
  const groups = new Map<string, RunGate[]>();
  for (const gate of gates) groups.set(gate.group ?? '', [...(groups.get(gate.group ?? '') ?? []), gate]);
  const tables = [...groups].map(([group, own], i) => {
    if (group === '') return table(own);
    const failed = own.filter(({ status }) => status === 'failed').length;
    const held = own.filter(({ status }) => status === 'passed').length;
    const content = html`<summary><code>${group}</code> ${failed > 0 ? html`<span class="bad">✗ ${failed} failed</span>` : html`<span class="ok">✓ ${held} held</span>`}</summary>${table(own)}`;
    return failed > 0 || i === 0 ? html`<details open>${content}</details>` : html`<details>${content}</details>`;
  });
  return html`<section id="gates" aria-labelledby="gates-title"><h2 id="gates-title"><span class="number">${number}</span>May these numbers be believed?</h2>
<p class="about">A claim counts only if the gates that guard it held. A gate that did not run blocks the claims it guards.</p>
${gates.length === 0 ? html`<p class="missing">No controls.json in this run.</p>` : tables}</section>
`;
}

function table(gates: readonly RunGate[]): Html {
  return html`<div class="scroll"><table><thead><tr><th scope="col">gate</th><th scope="col">what it proves</th><th scope="col">measured</th><th scope="col">required</th><th scope="col">result</th></tr></thead><tbody>${gates.map(
    ({ name, measured, required, scope, status }) =>
      html`<tr><th scope="row">${name}</th><td>${claims[name] ?? ''}</td><td title="${scope}">${measured}</td><td>${required}</td><td>${marks[status]}</td></tr>
`,
  )}</tbody></table></div>`;
}
