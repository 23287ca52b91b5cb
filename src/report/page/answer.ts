/**
 * What a run answers, as a page says it first: a head of two lines at most, three sentences, five cards. Every word of it is made
 * from the run's tables; a failed gate of the harness takes their place.
 */
import { gateGroup } from '../../study/outcome/gate-groups.ts';
import type { Comparison } from '../data/comparison.ts';
import type { RunCondition } from '../data/conditions.ts';
import type { FirstStep } from '../data/first-operation.ts';
import type { RunGate } from '../data/gates.ts';
import type { FactorCell, TwoByTwoData } from '../data/two-by-two.ts';
import { hookLabel } from '../figures/map-grid.ts';
import { recoveryText, twoByTwoTitle } from '../figures/two-by-two.ts';
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

export interface Answer {
  /** Null where the run compares no step and no text. */
  verdict: 'yes' | 'almost' | 'no' | 'not-valid' | null;
  head: string;
  lede: Html;
  cards: readonly Card[];
}

/** A question, its answer and the evidence; `figure` is where the evidence is drawn. */
export interface Card {
  question: string;
  answer: string;
  evidence: Html;
  figure: string;
}

export function answerOf(findings: Findings): Answer {
  const failed = findings.gates.filter(({ passed, class: kind }) => !passed && kind === 'harness');
  // In a study a gate voids the conditions of its group; what is left counts.
  const valid = findings.comparisons.filter(({ condition }) =>
    failed.every(({ group }) => group !== groupOf(condition)),
  );
  const own = failed.filter(({ group }) => findings.comparisons.some(({ condition }) => groupOf(condition) === group));
  const general = failed.filter(({ group }) => group === undefined);
  if (general.length > 0) return notValid(failed);
  if (valid.length === 0 && own.length > 0) return notValid(own);
  const whole = pool(valid);
  if (whole.steps + whole.texts === 0) return open(findings);
  const verdict = verdictOf(whole);
  return {
    verdict,
    head: headOf(verdict, whole, findings),
    lede: ledeOf(whole, { ...findings, comparisons: valid }, findings.comparisons.length),
    cards: [bits(whole), tokens(whole), start(findings), carrier(findings), right(whole)],
  };
}

/** The gates of a study are measured once for each of these. */
function groupOf({ model, precision, kernels }: RunCondition): string {
  return gateGroup({ model: { name: model }, policy: { name: precision }, kernels: { name: kernels } });
}

function verdictOf({ parted, flips, differing, logits }: Pooled): 'yes' | 'almost' | 'no' {
  return parted + flips > 0 ? 'no' : differing + logits > 0 ? 'almost' : 'yes';
}

type Pooled = Omit<Comparison, 'condition'>;

/** Several conditions as one: counts are summed, means weighted by steps. */
function pool(all: readonly Comparison[]): Pooled {
  const sum = (of: (each: Comparison) => number) => all.reduce((total, each) => total + of(each), 0);
  const steps = sum((each) => each.steps);
  const mean = (of: (each: Comparison) => number | null) =>
    steps === 0 ? null : sum((each) => (of(each) ?? 0) * each.steps) / steps;
  const widest = all.flatMap(({ widestFlip }) => widestFlip ?? []);
  return {
    ...{ steps, prompts: sum((each) => each.prompts), texts: sum((each) => each.texts) },
    ...{ logits: sum((each) => each.logits), flips: sum((each) => each.flips), ties: sum((each) => each.ties) },
    parted: sum((each) => each.parted),
    ...{ compared: sum((each) => each.compared), differing: sum((each) => each.differing) },
    widestFlip: widest.length === 0 ? null : Math.max(...widest),
    l2: mean(({ l2 }) => l2),
    kl: mean(({ kl }) => kl),
    errors:
      all.length > 0 && all.every(({ errors }) => errors !== null)
        ? {
            cached: mean(({ errors }) => errors?.cached ?? 0) ?? 0,
            uncached: mean(({ errors }) => errors?.uncached ?? 0) ?? 0,
          }
        : null,
  };
}

function notValid(failed: readonly RunGate[]): Answer {
  const names = [...new Set(failed.map(({ name }) => name))];
  const [first] = failed;
  return {
    verdict: 'not-valid',
    head: `Not valid. ${names.length === 1 ? `Gate ${names[0]} failed` : `Gates ${names.join(', ')} failed`}: no number below is evidence.`,
    lede: html`${failed.length === 1 ? '' : 'The first: '}<b>measured</b> ${first.measured}; <b>required</b> ${first.required}. The figures stay, greyed, so that the cause can be looked for.`,
    cards: [],
  };
}

/** A run without steps: what its 2×2 says, or what it is. */
function open(findings: Findings): Answer {
  const { twoByTwo, kind, planted } = findings;
  const fault = planted > 0 ? ' A fault was planted in the cached arm.' : '';
  const panel = twoByTwo?.panels[0];
  if (!twoByTwo || !panel) {
    const what = kind === 'patch' ? 'patches' : kind === 'capture' ? 'captures' : 'compares nothing';
    const head = `Not measured. This run ${what}: it does not say whether the arms decode alike.${fault}`;
    return {
      verdict: null,
      head,
      lede: html`<code>kvlens diverge</code> and <code>kvlens study</code> answer that.`,
      cards: [],
    };
  }
  const [{ cells, prompts }] = panel.cells;
  const lede = html`<b>${formatCounted(cells, 'step')}</b> of ${formatCounted(prompts, 'prompt')}, each with either history and either kernel. Whether texts part is not measured here: <code>kvlens diverge</code>.`;
  return {
    verdict: null,
    head: `${twoByTwoTitle(panel, twoByTwo.panels.length > 1)}.${fault}`,
    lede,
    cards: [carrier(findings)],
  };
}

function headOf(verdict: 'yes' | 'almost' | 'no', whole: Pooled, { setting, planted }: Findings): string {
  const under = setting === '' ? '' : ` under ${setting}`;
  const fault =
    planted > 0 ? ` ${planted === 1 ? 'A fault was' : `${planted} faults were`} planted in the cached arm.` : '';
  const steps = formatCounted(whole.steps, 'step');
  if (verdict === 'yes') {
    if (whole.compared === whole.steps) return `Yes. With the cache not one bit differs${under}, in ${steps}.${fault}`;
    const also = whole.compared > 0 ? `, nor any bit in the ${formatCount(whole.compared)} compared at every hook` : '';
    return `Yes. With the cache no logit differs${under}, in ${steps}${also}.${fault}`;
  }
  if (verdict === 'almost') {
    // Logits are compared in every step, hooks perhaps in some.
    const bits = whole.compared === whole.steps || whole.logits === 0;
    const of =
      bits && whole.compared < whole.steps ? `the ${formatCount(whole.compared)} steps compared at every hook` : steps;
    const differ = bits
      ? `Bits differ in ${formatCount(whole.differing)}`
      : `Logits differ in ${formatCount(whole.logits)}`;
    return `Almost. ${differ} of ${of}${under}, and no token changes.${fault}`;
  }
  const parted =
    whole.parted > 0
      ? `${formatCount(whole.parted)} of ${formatCounted(whole.texts, 'text')} ${whole.parted === 1 ? 'comes' : 'come'} out different`
      : `${formatCount(whole.flips)} of ${steps} ${whole.flips === 1 ? 'picks' : 'pick'} another token`;
  return `No. With the cache ${parted}${under}.${fault}`;
}

function ledeOf(whole: Pooled, { gates, comparisons, planted }: Findings, of: number): Html {
  const sentences: Html[] = [];
  const differ = whole.differing + whole.logits;
  if (whole.steps > 0 && differ > 0) {
    const found = [
      ...(whole.compared > 0 ? [bitsThatDiffer(whole)] : []),
      ...(whole.compared < whole.steps ? [logitsThatDiffer(whole)] : []),
    ];
    const flips =
      whole.flips === 0
        ? html`none picks another token`
        : html`<b>${formatCount(whole.flips)}</b> ${whole.flips === 1 ? 'picks' : 'pick'} another token${margins(whole)}`;
    sentences.push(html`${found.map((part) => html`${part}; `)}${flips}.`);
  }
  if (whole.steps > 0 && differ === 0 && whole.compared === whole.steps)
    sentences.push(html`Every compared element of every step is equal, and so are all logits.`);
  const control = gates.filter(({ name }) => name === 'null');
  if (whole.steps > 0 && control.length > 0 && planted === 0 && control.every(({ status }) => status === 'passed')) {
    const what = differ > 0 ? 'the difference is gone' : 'the same holds';
    sentences.push(
      html`Computed with the uncached arm’s kernels and more than one row, cache in use, ${what}: <b>${control[0].measured}</b> (gate null${control.length > 1 ? html`, first of ${control.length} groups` : ''}).`,
    );
  }
  if (comparisons.length < of)
    sentences.push(
      html`${formatCount(of - comparisons.length)} of ${formatCounted(of, 'condition')} ${of - comparisons.length === 1 ? 'is' : 'are'} left out: a gate of the harness failed.`,
    );
  const emulated = [...new Set(comparisons.map(({ condition }) => condition.kernels))].filter((name) => name !== 'ort');
  if (emulated.length > 0)
    sentences.push(
      html`${emulated.map((name, i) => html`${i > 0 ? ', ' : ''}<code>${name}</code>`)} ${emulated.length === 1 ? 'is a kernel' : 'are kernels'} built in the graph, on a CPU.`,
    );
  return html`${sentences.map((sentence, i) => html`${i > 0 ? ' ' : ''}${sentence}`)}`;
}

function bitsThatDiffer({ compared, differing, steps }: Pooled): Html {
  if (compared === steps && differing === steps) return html`<b>Every step</b> differs in some bit`;
  const of =
    compared === steps ? formatCounted(steps, 'step') : `the ${formatCounted(compared, 'step')} compared at every hook`;
  return html`<b>${formatCount(differing)}</b> of ${of} differ in some bit`;
}

function logitsThatDiffer({ logits, steps }: Pooled): Html {
  return html`<b>${formatCount(logits)}</b> of ${formatCounted(steps, 'step')} differ in some logit`;
}

function margins({ flips, ties, widestFlip }: Pooled): string {
  if (ties === flips) return flips === 1 ? ', on an exact tie' : ', all on an exact tie';
  const tied = ties > 0 ? `, ${formatCount(ties)} on an exact tie` : '';
  return `${tied}, the widest at a margin of ${formatValue(widestFlip ?? 0)}`;
}

function bits({ compared, differing, logits, steps, l2, kl }: Pooled): Card {
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

function tokens({ texts, parted, flips, steps }: Pooled): Card {
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

function start({ first, comparisons }: Findings): Card {
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
function carrier({ twoByTwo, gates, planted, comparisons }: Findings): Card {
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

function right({ errors }: Pooled): Card {
  const card = { question: 'Is either arm right?', figure: 'oracle' };
  if (errors === null) return { ...card, answer: 'Not measured', evidence: html`no float64 oracle in this run` };
  const { cached, uncached } = errors;
  const values = html`error to float64: cached ${formatValue(cached)}, uncached ${formatValue(uncached)}`;
  if (cached === 0 && uncached === 0) return { ...card, answer: 'Both, exactly', evidence: values };
  if (cached === 0 || uncached === 0)
    return { ...card, answer: `The ${cached === 0 ? 'cached' : 'uncached'} arm`, evidence: values };
  return { ...card, answer: 'Neither', evidence: html`${values} (×${(cached / uncached).toFixed(2)})` };
}
