/** A run as its report: what the page says, before it is HTML. The same for a folder and for files that a reader drops onto the page. */

import { settingName } from '../../study/outcome/setting.ts';
import { drawFigure, type FigureName, type FigureRequest } from '../catalogue.ts';
import { type Comparison, comparisons } from '../data/comparison.ts';
import type { RunCondition } from '../data/conditions.ts';
import { earliestStep } from '../data/earliest.ts';
import { type RunGate, readGates } from '../data/gates.ts';
import { isMissing, type Missing } from '../data/missing.ts';
import { type Provenance, readProvenance } from '../data/provenance.ts';
import type { RunTables } from '../data/run-tables.ts';
import { tokenFlowData } from '../data/token-flow.ts';
import { twoByTwoData } from '../data/two-by-two.ts';
import type { Figure } from '../figures/frame.ts';
import { type Answer, answerOf } from './answer.ts';
import type { Html } from './html.ts';
import { type SectionDefinition, sections } from './sections.ts';
import { tokenFlowHtml } from './token-flow.ts';

/** What of the run is in focus; by default the first condition, and the prompt whose logits differ in most steps. */
export type Focus = Pick<FigureRequest, 'condition' | 'prompt' | 'rows' | 'measure' | 'rowMedian' | 'part'>;

export interface Report {
  name: string;
  provenance: Provenance;
  answer: Answer;
  /** Conditions of the setting that is answered for, and how many the run has. */
  answered: readonly RunCondition[];
  conditions: readonly RunCondition[];
  prompts: number;
  sections: readonly DrawnSection[];
  gates: readonly RunGate[];
}

export interface DrawnSection {
  definition: SectionDefinition;
  figures: readonly DrawnFigure[];
}

export interface DrawnFigure {
  name: FigureName;
  width: 'whole' | 'half';
  /** Null where there is content instead. */
  figure: Figure | Missing | null;
  content: Html | null;
}

/** Figures on the page, in CSS pixels. */
export const figureWidths = { whole: 1120, half: 538 } as const;

/** Draw one figure as the page shows it: texts are text on a page, whatever they are in a file. */
export async function pageFigure(
  run: RunTables,
  name: FigureName,
  width: 'whole' | 'half',
  focus: Focus,
): Promise<DrawnFigure> {
  const own = { name, width, content: null };
  if (name !== 'token-flow')
    return { ...own, figure: await drawFigure(run, name, { ...focus, width: figureWidths[width], framed: false }) };
  const data = await tokenFlowData(run, focus);
  return isMissing(data) ? { ...own, figure: data } : { ...own, figure: null, content: tokenFlowHtml(data) };
}

/**
 * Read a run and draw its report. A table that does not fit is an error; one that is missing is said where it would be drawn.
 * @param progress called before each figure with its place and their number
 * @throws InputError if a file is not one of this version's
 */
export async function reportOf(
  run: RunTables,
  focus: Focus = {},
  progress: (done: number, of: number) => void = () => {},
): Promise<Report> {
  const [provenance, gates, compared] = [await readProvenance(run), await readGates(run), await comparisons(run)];
  const all = isMissing(compared) ? [] : compared;
  const answered = settingOfFocus(all, focus.condition);
  const first = await earliestStep(
    run,
    answered.map(({ condition }) => condition),
  );
  const shown = sections.filter(({ study }) => !study || provenance.kind === 'study');
  const count = shown.reduce((sum, { figures }) => sum + figures.length, 0);
  let done = 0;
  const drawn: DrawnSection[] = [];
  for (const definition of shown) {
    const figures: DrawnFigure[] = [];
    for (const { name, width } of definition.figures) {
      progress(done++, count);
      // One condition has nothing beside it.
      if (name === 'thumbnails' && all.length === 1) continue;
      // What breaks first is shown where it does, unless a prompt is asked for.
      const start = name === 'first-operation' && focus.prompt === undefined && first !== null;
      const own = start ? { ...focus, condition: first.map.condition.condition, prompt: first.map.prompt } : focus;
      figures.push(await pageFigure(run, name, width, own));
    }
    drawn.push({ definition, figures });
  }
  const twoByTwo = await twoByTwoData(run, focus);
  const conditions = all.map(({ condition }) => condition);
  const own = answered.map(({ condition }) => condition);
  const answer = answerOf({
    kind: provenance.kind,
    setting: conditions.length > own.length ? settingName(own[0]) : '',
    ...{ comparisons: answered, gates, planted: provenance.planted },
    first,
    twoByTwo: isMissing(twoByTwo) ? null : twoByTwo,
  });
  const prompts = Math.max(0, ...all.map((each) => Math.max(each.prompts, each.texts)));
  return { name: run.name, provenance, answer, answered: own, conditions, prompts, sections: drawn, gates };
}

/** The conditions that share the setting of the one in focus, it first. */
function settingOfFocus(all: readonly Comparison[], asked: string | undefined): Comparison[] {
  const focus = all.find(({ condition }) => condition.condition === asked) ?? all[0];
  if (focus === undefined) return [];
  const shared = all.filter(({ condition }) => settingName(condition) === settingName(focus.condition));
  return [focus, ...shared.filter((each) => each !== focus)];
}
