/** Where the numbers come from: the sentence that is never hidden, and the record at the end of the page. */
import type { Provenance } from '../data/provenance.ts';
import { formatCount, formatCounted } from '../terminal/numbers.ts';
import { type Html, html } from './html.ts';
import type { Report } from './report.ts';
import { specimen } from './specimen.ts';

/** Hardware, emulation, n, the meaning of brackets. */
export function scopeOf({ answered, conditions, prompts, provenance }: Report): Html {
  const [first] = answered;
  const emulated = answered.some(({ kernels }) => kernels !== 'ort' && kernels !== 'ort-unpacked');
  const models = [...new Set(answered.map(({ model }) => model))];
  const strategies = [...new Set(answered.map(({ strategy }) => strategy))];
  const of =
    first === undefined
      ? ''
      : `${models.join(', ')}, ${strategies.join(', ')}: up to ${formatCounted(prompts, 'prompt')} each. `;
  const more =
    conditions.length > answered.length
      ? `The answer is of ${answered.length} of ${formatCounted(conditions.length, 'condition')}. `
      : '';
  const planted =
    provenance.planted > 0
      ? html`<b>A fault was planted in the cached arm: this is a test of the instrument.</b> `
      : '';
  return html`${planted}${of}${more}Measured <b>on a CPU</b>: half precision is storage with per-operation rounding and fp32 accumulation${emulated ? '; GPU-like kernels are emulated in the graph' : ''}. These are not a GPU’s native figures. Brackets are 95 % intervals. Drift is relative L2 in u, one rounding of the storage type.`;
}

export function provenanceSection({ command, facts, rows }: Provenance, number: number): Html {
  const entry = (name: string, value: string) => html`<dt>${name}</dt><dd><bdi>${value}</bdi></dd>
`;
  return html`<section id="provenance" aria-labelledby="provenance-title"><h2 id="provenance-title"><span class="number">${number}</span>Provenance</h2>
<pre class="command">${steady(command)}</pre>
<dl class="facts">${facts.map(({ name, value }) => entry(name, value))}${rows.map(({ file, rows: count }) => entry(file, `${Number.isFinite(Number(count)) ? formatCount(Number(count)) : count} rows`))}</dl>
${specimen()}</section>
`;
}

/** A command as it was typed; what would turn the direction of reading, or show nothing, is written out. */
function steady(command: string): string {
  return [...command]
    .map((character) =>
      character === '\n' || !/[\p{Control}\p{Format}]/u.test(character) ? character : codeOf(character),
    )
    .join('');
}

function codeOf(character: string): string {
  return `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`;
}
