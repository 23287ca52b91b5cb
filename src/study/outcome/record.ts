/** What is kept of a unit once its condition is complete: sums per prompt, no list that grows with the steps. */
import { largestDrift } from '../unit/own-placebo.ts';
import type { Answer, AnswerArm, FlipSummary, StopReason, UnitSummary } from '../unit/unit-summary.ts';

/** Flips of one prompt, teacher-forced. */
export interface FlipCounts {
  all: number;
  /** Exact ties; and, ties excepted, decided by the cut of top-k or top-p. */
  ties: number;
  boundary: number;
  /** Null where the arms choose the same tokens. */
  first: FlipSummary | null;
}

/** How a prompt's texts compare. */
export type TextEnd = 'diverged' | 'equal-to-end' | 'equal-at-limit';

type Kept = Omit<UnitSummary, 'flips' | 'margins' | 'shifts' | 'answers' | 'placebo'>;

export interface PromptRecord extends Kept {
  flips: FlipCounts;
  text: TextEnd;
  /** The step at which the texts part, the one that ended them, or the last one that was watched. */
  lastStep: number;
  /** Null where the arm's answer was not kept or has no gold answer. */
  correct: Readonly<Record<AnswerArm, boolean | null>>;
  placebo: {
    correct: readonly (boolean | null)[];
    texts: number;
    diverged: number;
    /** The widest drift; null without one. */
    largest: number | null;
  } | null;
}

/** The record of a unit. */
export function recordOf(unit: UnitSummary): PromptRecord {
  const { flips, margins: _, shifts: __, answers, placebo, ...kept } = unit;
  const judged = (arm: AnswerArm) => answers.find((answer) => answer.arm === arm)?.correct ?? null;
  return {
    ...kept,
    flips: countFlips(flips),
    ...textEnd(unit),
    correct: {
      cached: judged('cached'),
      uncached: judged('uncached'),
      'order-matched': judged('order-matched'),
    },
    placebo: placebo && {
      correct: placebo.correct,
      texts: placebo.divergedAt.length,
      diverged: placebo.divergedAt.filter((step) => step !== null).length,
      largest: largestDrift(placebo),
    },
  };
}

function countFlips(flips: readonly FlipSummary[]): FlipCounts {
  const first = flips.reduce<FlipSummary | null>(
    (least, flip) => (least && least.step <= flip.step ? least : flip),
    null,
  );
  return {
    all: flips.length,
    ties: flips.filter(({ tie }) => tie).length,
    boundary: flips.filter(({ tie, boundary }) => boundary && !tie).length,
    first,
  };
}

const ends: ReadonlySet<StopReason> = new Set(['end', 'stop-sequence']);

/** Equal texts end for the same reason in both arms; one whose end was not kept counts as not having been watched to it. */
export function textEnd({
  divergedAt,
  answers,
  sums,
}: Pick<UnitSummary, 'divergedAt'> & {
  answers: readonly Pick<Answer, 'arm' | 'tokens' | 'stop'>[];
  sums: { steps: number };
}): Pick<PromptRecord, 'text' | 'lastStep'> {
  if (divergedAt !== null) return { text: 'diverged', lastStep: divergedAt };
  const answer = answers.find(({ arm }) => arm === 'uncached') ?? answers.find(({ arm }) => arm === 'cached');
  const lastStep = answer ? Math.max(0, answer.tokens.length - 1) : sums.steps;
  return { text: answer && ends.has(answer.stop) ? 'equal-to-end' : 'equal-at-limit', lastStep };
}
