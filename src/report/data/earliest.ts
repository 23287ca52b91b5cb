/** Where a run differs first: by step, then in the order of the conditions and of the prompts. */
import { Columns } from './columns.ts';
import type { RunCondition } from './conditions.ts';
import { type FirstStep, firstStepOf } from './first-operation.ts';
import { readLayerMaps } from './layer-map.ts';
import { layerOwners } from './owners.ts';
import type { RunTables } from './run-tables.ts';

/**
 * The first step that differs among these conditions, operation by operation; of the first prompt where none does, null without
 * rows of layers. Reads layers.arrow once.
 */
export async function earliestStep(run: RunTables, conditions: readonly RunCondition[]): Promise<FirstStep | null> {
  const owners = await layerOwners(run);
  const places = new Map(conditions.map((condition, i) => [condition.condition, { condition, i }]));
  const prompts = new Map(
    conditions.map(({ condition }) => [condition, [...(owners.get(condition)?.keys() ?? [])]] as const),
  );
  let best: { step: number; condition: number; prompt: number } | null = null;
  for await (const batch of run.batches('layers')) {
    const columns = new Columns('layers', batch);
    const [ofCondition, ofPrompt] = [columns.texts('condition'), columns.texts('prompt')];
    const [step, differ] = [columns.required('step'), columns.required('n_differ')];
    for (let row = 0; row < batch.numRows; row++) {
      if (step(row) < 1 || differ(row) === 0 || (best !== null && step(row) > best.step)) continue;
      const condition = places.get(ofCondition(row))?.i;
      if (condition === undefined) continue;
      const prompt = (prompts.get(ofCondition(row)) ?? []).indexOf(ofPrompt(row));
      const found = { step: step(row), condition, prompt };
      if (best === null || before(found, best)) best = found;
    }
  }
  const [condition] = best === null ? conditions : [conditions[best.condition]];
  const prompt = condition && prompts.get(condition.condition)?.[best?.prompt ?? 0];
  if (condition === undefined || prompt === undefined) return null;
  const [map] = await readLayerMaps(run, [{ condition, prompt }]);
  return map ? firstStepOf(map) : null;
}

type Place = { step: number; condition: number; prompt: number };

function before(a: Place, b: Place): boolean {
  return a.step - b.step < 0 || (a.step === b.step && (a.condition - b.condition || a.prompt - b.prompt) < 0);
}
