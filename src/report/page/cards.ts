/** The five cards: a question each, its answer in a few words, and the evidence that is drawn below. */
import type { Comparison } from '../data/comparison.ts';
import type { FirstStep } from '../data/first-operation.ts';
import type { RunGate } from '../data/gates.ts';
import type { FactorCell, TwoByTwoData } from '../data/two-by-two.ts';
import { hookLabel } from '../figures/map-grid.ts';
import { recoveryText } from '../figures/two-by-two.ts';
import { formatCount, formatCounted, formatShare, formatValue } from '../terminal/numbers.ts';
import { stepRate, textRate } from '../terminal/rates.ts';
import { type Html, html } from './html.ts';

/** What the answer is made of. */
export interface Findings {
  /** The command that made the run. */
  kind: string;
  /** The settings' names where the run has several: the answer is of the first. */
  setting: string;
  /** Of the first setting. */
  comparisons: readonly Comparison[];
  gates: readonly RunGate[];
  /** Faults that were planted in the cached arm. */
  planted: number;
  /** The first step that differs, of the first condition; null where layers were not captured. */
  first: FirstStep | null;
  twoByTwo: TwoByTwoData | null;
}

/** A question, its answer and the evidence; `figure` is where the evidence is drawn. */
export interface Card {
  question: string;
  answer: string;
  evidence: Html;
  figure: string;
}

/** Comparisons of several conditions as one. */
export type Pooled = Omit<Comparison, 'condition'>;

export function bits({ compared, differing, logits, steps, l2, kl }: Pooled): Card {
  const [differ, of] = compared > 0 ? [differing, compared] : [logits, steps];
  const share = differ === of ? 'No, never' : `Not in ${formatShare(differ / Math.max(1, of))}`;
  const answer = differing + logits === 0 ? 'Yes, always' : differ === 0 ? 'Not the logits' : share;
  const means = l2 === null || kl === null ? '' : html`<br>mean L2 of logits ${formatValue(l2)}; KL ${formatValue(kl)}`;
  const bitsOf = compared === steps ? 'steps differ' : 'steps compared at every hook differ';
  const found = [
    ...(compared > 0 ? [html`${formatCount(differing)} / ${formatCount(compared)} ${bitsOf}`] : []),
    ...(compared < steps ? [html`${formatCount(logits)} / ${formatCount(steps)} differ in a logit`] : []),
  ];
  return {
    ...{ question: 'Same bits?', answer: steps === 0 ? 'Not measured' : answer, figure: 'drift-map' },
    evidence:
      steps === 0
        ? html`no step of given tokens`
        : html`${found.map((part, i) => html`${i > 0 ? html`<br>` : ''}${part}`)}${means}`,
  };
}

export function tokens({ texts, parted, flips, steps }: Pooled): Card {
  const answer =
    texts + steps === 0
      ? 'Not measured'
      : parted > 0
        ? `${formatCount(parted)} of ${formatCounted(texts, 'text')} not`
        : flips > 0
          ? 'Not all'
          : 'Yes';
  const ofSteps =
    steps === 0 ? '' : html`<br>${formatCount(flips)} / ${formatCount(steps)} steps, ${stepRate(flips, steps)}`;
  return {
    ...{ question: 'Same tokens?', answer, figure: 'survival' },
    evidence: html`${texts === 0 ? 'no text' : html`texts ${formatCount(parted)}/${formatCount(texts)} ${textRate(parted, texts)}`}${ofSteps}`,
  };
}

/** Whose evidence it is, where the answer is of several conditions. */
function whose(condition: { model: string; strategy: string }, comparisons: readonly Comparison[]): string {
  return comparisons.length > 1 ? `${condition.model}, ${condition.strategy}: ` : '';
}

export function start({ first, comparisons }: Findings): Card {
  const card = { question: 'Where does it start?', figure: 'first-operation' };
  if (first === null) return { ...card, answer: 'Not captured', evidence: html`layers.arrow has no rows` };
  const { map, step } = first;
  if (step === null || first.first === null)
    return {
      ...card,
      answer: 'Nowhere',
      evidence: html`${formatCounted(map.hooks.length, 'hook')}, ${formatCounted(map.steps.length, 'step')}: all equal`,
    };
  const operation = first.operations[first.first];
  const before =
    first.first === 0
      ? 'nothing before it is captured'
      : `the ${formatCounted(first.first, 'operation')} captured before it ${first.first === 1 ? 'is' : 'are'} equal`;
  return {
    ...{ ...card, answer: `${hookLabel(operation)}${first.first === 0 ? ' or before' : ''}` },
    evidence: html`${whose(map.condition, comparisons)}<code>${operation.hook}</code>, prompt ${map.promptIndex ?? map.prompt}, step ${step}: ${formatCount(operation.differ)} of ${formatCounted(operation.elements, 'element')}; ${before}`,
  };
}

/**
 * Of the 2×2: what is left when a factor is replaced. A factor carries it alone if replacing it removes half or more and replacing
 * the other less than half, with both 95 % intervals on their side.
 */
export function carrier({ twoByTwo, gates, planted, comparisons }: Findings): Card {
  const card = { question: 'What carries it?', figure: 'two-by-two' };
  const panels = twoByTwo?.panels ?? [];
  const moved = panels.find(({ cells }) => cells.some(({ distance }) => distance?.value !== 0));
  const panel = moved ?? panels[0];
  if (!panel) {
    const control = gates.find(({ name }) => name === 'null');
    const command = html`<code>kvlens patch MODEL two-by-two</code>`;
    const gone = control?.status === 'passed' && planted === 0;
    const evidence = gone
      ? html`in the uncached arm’s order ${control.measured}; history or kernel: ${command}`
      : command;
    return { ...card, answer: 'Not measured', evidence };
  }
  const at = comparisons.find(({ condition }) => condition.condition === panel.condition);
  const of = at ? whose(at.condition, comparisons) : '';
  const cell = (history: FactorCell['history'], kernel: FactorCell['kernel']) =>
    panel.cells.find((each) => each.history === history && each.kernel === kernel);
  const [base, history, kernel, neither] = [
    ...[cell('cached', 'decode'), cell('recomputed', 'decode'), cell('cached', 'prefill')],
    cell('recomputed', 'prefill'),
  ];
  if (!base || !history || !kernel || !neither || neither.exact < neither.cells)
    return { ...card, answer: 'Not identified', evidence: html`${of}with both replaced a difference is left` };
  const exact = html`both replaced: exactly 0 (${formatCount(neither.exact)} / ${formatCount(neither.cells)})`;
  if (!base.distance || !history.distance || !kernel.distance)
    return { ...card, answer: 'Not a number', evidence: html`${of}distances are NaN or infinite` };
  if (base.distance.value === 0)
    return {
      ...card,
      answer: 'Nothing to carry',
      evidence: html`${of}logits equal in ${formatCount(base.exact)} / ${formatCount(base.cells)} patched steps`,
    };
  const removed = html`recomputed history removes ${recoveryText(history)}, the prefill kernel ${recoveryText(kernel)}`;
  return { ...card, answer: carrierOf(history, kernel), evidence: html`${of}${removed};<br>${exact}` };
}

/** Which side of a half each factor's recovery is on. */
function carrierOf(history: FactorCell, kernel: FactorCell): string {
  const side = ({ recovery }: FactorCell) => {
    if (!recovery || recovery.lower === null || recovery.upper === null) return null;
    return recovery.lower >= 0.5 ? 'most' : recovery.upper < 0.5 ? 'less' : null;
  };
  const [byHistory, byKernel] = [side(history), side(kernel)];
  if (byHistory === null || byKernel === null) return 'Not settled';
  if (byHistory === 'most' && byKernel === 'most') return 'Both, together';
  if (byHistory === 'less' && byKernel === 'less') return 'Either suffices';
  return byHistory === 'most' ? 'The history' : 'The kernel';
}

export function right({ errors }: Pooled): Card {
  const card = { question: 'Is either arm right?', figure: 'oracle' };
  if (errors === null) return { ...card, answer: 'Not measured', evidence: html`no float64 oracle in this run` };
  const { cached, uncached } = errors;
  const values = html`error to float64: cached ${formatValue(cached)}, uncached ${formatValue(uncached)}`;
  if (cached === 0 && uncached === 0) return { ...card, answer: 'Both, exactly', evidence: values };
  if (cached === 0 || uncached === 0)
    return { ...card, answer: `The ${cached === 0 ? 'cached' : 'uncached'} arm`, evidence: values };
  return { ...card, answer: 'Neither', evidence: html`${values} (×${(cached / uncached).toFixed(2)})` };
}
