/** Which arm is right: the distance of each arm's logits to the float64 oracle, prompt by prompt. */
import type { Measured } from '../../study/outcome/types.ts';
import { measuredRatio } from '../../study/statistics/measured.ts';
import { Columns } from './columns.ts';
import { beside, focusOf, readConditions, sharedName, shortNames } from './conditions.ts';
import { commands, isMissing, type Missing } from './missing.ts';
import type { RunTables } from './run-tables.ts';

export interface OraclePrompt {
  prompt: string;
  steps: number;
  /** Mean L2 of mean-centred logits to the oracle. */
  cached: number;
  uncached: number;
}

export interface OraclePanel {
  condition: string;
  name: string;
  precision: string;
  prompts: OraclePrompt[];
  /** Prompts in which an error is NaN or infinite: they are no part of the ratio, and the ratio is null. */
  notFinite: number;
  /** Σ cached / Σ uncached, bootstrapped by prompt; null where the uncached arm has no error. */
  ratio: Measured | null;
}

export interface OracleData {
  /** The focus first. */
  panels: OraclePanel[];
  shared: string;
}

const mostPanels = 6;

export async function oracleData(
  run: RunTables,
  selection: { condition?: string; conditions?: readonly string[] } = {},
): Promise<OracleData | Missing> {
  const all = await readConditions(run);
  if (isMissing(all)) return all;
  if (!run.has('steps')) return { missing: 'No steps.arrow.', command: commands.steps };
  const focus = focusOf(all, selection.condition);
  if (isMissing(focus)) return focus;
  const chosen = beside(all, focus, { asked: selection.conditions, most: mostPanels });
  const sums = await errorsByPrompt(run, new Set(chosen.map(({ condition }) => condition)));
  const names = shortNames(chosen);
  const panels = chosen.flatMap(({ condition, precision }) => {
    const own = sums.get(condition);
    return own
      ? [{ condition, name: names.get(condition) ?? condition, precision, ...panelOf([...own.values()]) }]
      : [];
  });
  if (panels[0]?.condition !== focus.condition)
    return { missing: `No error to the float64 oracle of ${focus.condition}.`, command: commands.steps };
  return { panels, shared: sharedName(chosen) };
}

type Sums = OraclePrompt;

function panelOf(found: readonly Sums[]): Pick<OraclePanel, 'prompts' | 'notFinite' | 'ratio'> {
  const finite = found.filter(({ cached, uncached }) => Number.isFinite(cached) && Number.isFinite(uncached));
  return {
    prompts: finite.map(({ prompt, steps, cached, uncached }) => ({
      ...{ prompt, steps, cached: cached / steps, uncached: uncached / steps },
    })),
    notFinite: found.length - finite.length,
    ratio: measuredRatio(found.map(({ cached, uncached }) => ({ top: cached, bottom: uncached }))),
  };
}

/** Sums over the teacher-forced steps after step 0 that have both errors. */
async function errorsByPrompt(
  run: RunTables,
  conditions: ReadonlySet<string>,
): Promise<Map<string, Map<string, Sums>>> {
  const found = new Map<string, Map<string, Sums>>();
  for await (const batch of run.batches('steps')) {
    const columns = new Columns('steps', batch);
    const [ofCondition, prompt, protocol] = ['condition', 'prompt', 'protocol'].map((name) => columns.texts(name));
    const step = columns.required('step');
    const [cached, uncached] = ['error_cached', 'error_uncached'].map((name) => columns.numbers(name));
    for (let row = 0; row < batch.numRows; row++) {
      const condition = ofCondition(row);
      if (!conditions.has(condition) || protocol(row) !== 'teacher-forced' || step(row) === 0) continue;
      const [a, b] = [cached(row), uncached(row)];
      if (a === null || b === null) continue;
      const prompts = found.get(condition) ?? new Map<string, Sums>();
      found.set(condition, prompts);
      const sums = prompts.get(prompt(row)) ?? { prompt: prompt(row), steps: 0, cached: 0, uncached: 0 };
      prompts.set(prompt(row), sums);
      sums.steps += 1;
      sums.cached += a;
      sums.uncached += b;
    }
  }
  return found;
}
