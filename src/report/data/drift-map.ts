/** What the map of layers and steps is made of: one prompt under one condition, or the same prompt under several. */
import { beside, focusOf, type RunCondition, readConditions } from './conditions.ts';
import { type LayerMap, readLayerMaps } from './layer-map.ts';
import { isMissing, type Missing } from './missing.ts';
import { layerOwners, type PromptCounts, promptCounts } from './owners.ts';
import type { RunTables } from './run-tables.ts';

export interface MapSelection {
  /** Default: the first. */
  condition?: string;
  /** Its id. Default: the one whose steps differ most: most with other logits, then most with any other bit. */
  prompt?: string;
}

/** Writes rows of every hook. */
export const layersCommand = "kvlens diverge MODEL --hooks '*' --out FOLDER";

/**
 * The map of one prompt.
 * @throws InputError if a table is not one of this version's
 */
export async function driftMapData(run: RunTables, selection: MapSelection = {}): Promise<LayerMap | Missing> {
  const found = await chooseMap(run, selection);
  if (isMissing(found)) return found;
  const [map] = await readLayerMaps(run, [found]);
  return map ?? noRows(found.condition, found.prompt);
}

export interface ThumbnailSelection extends MapSelection {
  /** Which conditions; default: all of a small run, else those of the same model and strategy. */
  conditions?: readonly string[];
}

/** At most so many maps stand side by side. */
export const mostThumbnails = 9;

/** Maps of one prompt under several conditions, the chosen one first; of another model, its own prompt that differs most. */
export async function thumbnailData(run: RunTables, selection: ThumbnailSelection = {}): Promise<LayerMap[] | Missing> {
  const found = await chooseMap(run, selection);
  if (isMissing(found)) return found;
  const conditions = await readConditions(run);
  if (isMissing(conditions)) return conditions;
  const options = { most: mostThumbnails, ...(selection.conditions ? { asked: selection.conditions } : {}) };
  const chosen = beside(conditions, found.condition, options);
  const known = await promptsOf(run, new Set(chosen.map(({ condition }) => condition)));
  const choices = chosen.flatMap((condition) => {
    const prompts = known.get(condition.condition) ?? new Map<string, PromptCounts>();
    const prompt = prompts.has(found.prompt) ? found.prompt : mostDiffering(prompts);
    return prompt === null ? [] : [{ condition, prompt }];
  });
  const maps = (await readLayerMaps(run, choices)).filter((map) => map !== null);
  return maps.length > 0 ? maps : noRows(found.condition, found.prompt);
}

/** The condition and the prompt asked for, or the ones that a map shows by itself. */
export async function chooseMap(
  run: RunTables,
  { condition: asked, prompt }: MapSelection,
): Promise<{ condition: RunCondition; prompt: string } | Missing> {
  if (!run.has('layers')) return { missing: 'No layers.arrow.', command: layersCommand };
  const conditions = await readConditions(run);
  if (isMissing(conditions)) return conditions;
  const condition = focusOf(conditions, asked);
  if (isMissing(condition)) return condition;
  if (prompt !== undefined) return { condition, prompt };
  const chosen = mostDiffering((await promptsOf(run, new Set([condition.condition]))).get(condition.condition));
  return chosen === null ? noRows(condition) : { condition, prompt: chosen };
}

/** Prompts that have rows of decode steps in layers.arrow, by condition, and how many of their steps differ. */
async function promptsOf(
  run: RunTables,
  conditions: ReadonlySet<string>,
): Promise<Map<string, Map<string, PromptCounts>>> {
  const [owners, counts] = [await layerOwners(run), await promptCounts(run)];
  return new Map(
    [...conditions].map((name) => {
      const own = counts.get(name);
      const prompts = [...(owners.get(name)?.keys() ?? [])];
      return [
        name,
        new Map(prompts.map((prompt) => [prompt, own?.get(prompt) ?? { differ: 0, logits: 0, batches: [] }])),
      ];
    }),
  );
}

/** Most steps whose logits differ, then most in which anything does; the first of equals; null for none. */
function mostDiffering(prompts: ReadonlyMap<string, PromptCounts> = new Map()): string | null {
  const more = (a: PromptCounts, b: PromptCounts) =>
    a.logits > b.logits || (a.logits === b.logits && a.differ > b.differ);
  let best: { prompt: string; counts: PromptCounts } | null = null;
  for (const [prompt, counts] of prompts) if (best === null || more(counts, best.counts)) best = { prompt, counts };
  return best === null ? null : best.prompt;
}

function noRows({ condition }: RunCondition, prompt?: string): Missing {
  const whose = prompt === undefined ? condition : `prompt ${prompt} under ${condition}`;
  return { missing: `layers.arrow has no decode step of ${whose}.`, command: layersCommand };
}
