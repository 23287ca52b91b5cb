/**
 * What a run answers, as a page says it first: a head of two lines at most, three sentences, five cards. Every word of it is made
 * from the run's tables; a failed gate of the harness takes their place.
 */
import { gateGroup } from '../../study/outcome/gate-groups.ts';
import type { Comparison } from '../data/comparison.ts';
import type { RunCondition } from '../data/conditions.ts';
import type { RunGate } from '../data/gates.ts';
import { twoByTwoTitle } from '../figures/two-by-two.ts';
import { formatCount, formatCounted, formatValue } from '../terminal/numbers.ts';
import { bits, type Card, carrier, type Findings, type Pooled, right, start, tokens } from './cards.ts';
import { type Html, html } from './html.ts';

export interface Answer {
  /** Null where the run compares no step and no text. */
  verdict: 'yes' | 'almost' | 'no' | 'not-valid' | null;
  head: string;
  lede: Html;
  cards: readonly Card[];
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
