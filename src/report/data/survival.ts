/** When texts part: the share still identical by step, where the end of a text competes and the length limit censors. */

import { waitEnds } from '../../study/outcome/divergence.ts';
import { textEnd } from '../../study/outcome/record.ts';
import { cumulativeIncidence, type Wait } from '../../study/statistics/incidence.ts';
import { incidenceIntervals } from '../../study/statistics/incidence-intervals.ts';
import { divergedAt } from '../../study/unit/diverged-at.ts';
import { type Answer, answerArms } from '../../study/unit/unit-summary.ts';
import { Columns } from './columns.ts';
import { beside, focusOf, readConditions, sharedName, shortNames } from './conditions.ts';
import { readManifest } from './manifest.ts';
import { commands, isMissing, type Missing } from './missing.ts';
import type { RunTables } from './run-tables.ts';

export interface SurvivalCurve {
  condition: string;
  /** What tells it from the other curves. */
  name: string;
  precision: string;
  texts: number;
  diverged: number;
  /** Identical to the end of both texts; identical when the limit of new tokens or the context ended them. */
  equalToEnd: number;
  equalAtLimit: number;
  /** Share still identical after a step at which a text parted or ended: 1 − cumulative incidence (Aalen–Johansen). */
  steps: { step: number; identical: number }[];
  /** The last step that was watched. */
  last: number;
}

export interface SurvivalData {
  /** The focus first. */
  curves: SurvivalCurve[];
  /** What the curves share: model and strategy. */
  shared: string;
  /** 95 % by prompt, of the focus; none with fewer than two texts. */
  band: { step: number; lower: number; upper: number }[];
}

/** More lines than this are not told apart. */
const mostCurves = 8;
/** Steps at which the band is computed, at most. */
const bandSteps = 60;

/**
 * Read the texts of a focused condition and of those beside it.
 * @param selection `conditions`: those to draw; default those of the focus's model and strategy, or all of a small run
 */
export async function survivalData(
  run: RunTables,
  selection: { condition?: string; conditions?: readonly string[] } = {},
): Promise<SurvivalData | Missing> {
  const all = await readConditions(run);
  if (isMissing(all)) return all;
  const focus = focusOf(all, selection.condition);
  if (isMissing(focus)) return focus;
  const chosen = beside(all, focus, { asked: selection.conditions, most: mostCurves });
  const names = new Set(chosen.map(({ condition }) => condition));
  if (!run.has('answers') && !run.has('steps')) return { missing: 'No steps.arrow.', command: commands.steps };
  const waits = run.has('answers') ? await waitsOfAnswers(run, names) : await waitsOfSteps(run, names);
  const short = shortNames(chosen);
  const curves = chosen.flatMap(({ condition, precision }) => {
    const own = waits.get(condition) ?? [];
    return own.length === 0 ? [] : [{ condition, name: short.get(condition) ?? condition, precision, ...curveOf(own) }];
  });
  if (curves[0]?.condition !== focus.condition)
    return { missing: `No text of ${focus.condition}.`, command: commands.steps };
  return { curves, shared: sharedName(chosen), band: bandOf(waits.get(focus.condition) ?? []) };
}

function curveOf(waits: readonly Wait[]): Omit<SurvivalCurve, 'condition' | 'name' | 'precision'> {
  const count = (end: Wait['end']) => waits.filter((wait) => wait.end === end).length;
  return {
    texts: waits.length,
    ...{ diverged: count('event'), equalToEnd: count('competing'), equalAtLimit: count('censored') },
    steps: cumulativeIncidence(waits).map(({ step, event }) => ({ step, identical: 1 - event })),
    last: waits.reduce((most, { step }) => Math.max(most, step), 0),
  };
}

function bandOf(waits: readonly Wait[]): SurvivalData['band'] {
  if (waits.length < 2) return [];
  const last = waits.reduce((most, { step }) => Math.max(most, step), 0);
  const events = [...new Set([0, ...waits.filter(({ end }) => end === 'event').map(({ step }) => step), last])];
  const steps = events.sort((a, b) => a - b);
  const every = Math.max(1, Math.ceil(steps.length / bandSteps));
  const shown = steps.filter((_, i) => i % every === 0 || i === steps.length - 1);
  return incidenceIntervals(waits, shown).at.flatMap(({ step, event: { lower, upper } }) =>
    lower === null || upper === null ? [] : [{ step, lower: 1 - upper, upper: 1 - lower }],
  );
}

type Waits = Map<string, Wait[]>;

/** Of texts that the arms wrote by themselves. */
async function waitsOfAnswers(run: RunTables, conditions: ReadonlySet<string>): Promise<Waits> {
  const waits: Waits = new Map();
  // A prompt's answers follow each other: few are pending at a time.
  const pending = new Map<string, Pick<Answer, 'arm' | 'tokens' | 'stop'>>();
  for await (const batch of run.batches('answers')) {
    const columns = new Columns('answers', batch);
    const [ofCondition, prompt, arm, stop] = ['condition', 'prompt', 'arm', 'stop'].map((name) => columns.texts(name));
    const tokens = columns.lists('tokens');
    for (let row = 0; row < batch.numRows; row++) {
      const condition = ofCondition(row);
      const own = answerArms.find((name) => name === arm(row));
      if (!conditions.has(condition) || own === undefined || own === 'order-matched') continue;
      const answer = { arm: own, tokens: tokens(row), stop: stopOf(stop(row)) };
      const key = JSON.stringify([condition, prompt(row)]);
      const other = pending.get(key);
      if (other === undefined) {
        pending.set(key, answer);
        continue;
      }
      pending.delete(key);
      const [cached, uncached] = own === 'cached' ? [answer, other] : [other, answer];
      const found = textEnd({
        divergedAt: divergedAt(cached.tokens, uncached.tokens),
        ...{ answers: [cached, uncached], sums: { steps: 0 } },
      });
      addTo(waits, condition, { step: found.lastStep, end: waitEnds[found.text] });
    }
  }
  return waits;
}

function stopOf(written: string): Answer['stop'] {
  return (['end', 'stop-sequence', 'context'] as const).find((stop) => stop === written) ?? 'limit';
}

/**
 * Of teacher-forced steps: the first flip is where texts that run free part, and after it they would read other tokens. A text
 * whose last token is an end token ended.
 */
async function waitsOfSteps(run: RunTables, conditions: ReadonlySet<string>): Promise<Waits> {
  const { endTokens } = await readManifest(run);
  const texts = new Map<string, { condition: string; flip: number | null; last: number; token: number }>();
  for await (const batch of run.batches('steps')) {
    const columns = new Columns('steps', batch);
    const [ofCondition, prompt, protocol] = ['condition', 'prompt', 'protocol'].map((name) => columns.texts(name));
    const [step, token] = ['step', 'token_uncached'].map((name) => columns.required(name));
    const flip = columns.booleans('flip');
    for (let row = 0; row < batch.numRows; row++) {
      const condition = ofCondition(row);
      if (!conditions.has(condition) || protocol(row) !== 'teacher-forced') continue;
      const key = JSON.stringify([condition, prompt(row)]);
      const text = texts.get(key) ?? { condition, flip: null, last: -1, token: -1 };
      texts.set(key, text);
      if (flip(row) && (text.flip === null || step(row) < text.flip)) text.flip = step(row);
      if (step(row) > text.last) Object.assign(text, { last: step(row), token: token(row) });
    }
  }
  const waits: Waits = new Map();
  for (const { condition, flip, last, token } of texts.values()) {
    const end = flip !== null ? 'event' : endTokens.includes(token) ? 'competing' : 'censored';
    addTo(waits, condition, { step: flip ?? last, end });
  }
  return waits;
}

function addTo(waits: Waits, condition: string, wait: Wait): void {
  const own = waits.get(condition);
  if (own) own.push(wait);
  else waits.set(condition, [wait]);
}
