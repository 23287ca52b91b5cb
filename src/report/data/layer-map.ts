/**
 * Rows of layers.arrow of one prompt under one condition, as a map: hooks in execution order by decode steps. Only the chosen
 * prompts' rows are kept, whatever the size of the file.
 */
import { hookDefinitions } from '../../graph/hooks.ts';
import type { StorageType } from '../../numerics/types.ts';
import { Columns } from './columns.ts';
import type { RunCondition } from './conditions.ts';
import { layerOwners, promptCounts } from './owners.ts';
import type { RunTables } from './run-tables.ts';
import { tokenTexts } from './token-texts.ts';

/** Columns of layers.arrow that a map keeps. */
export const mapColumns = ['rel_l2', 'max_abs', 'max_ulp', 'n_differ', 'n_elements'] as const;
export type MapColumn = (typeof mapColumns)[number];

/** What a cell holds. NaN and infinities are never averaged, and an exact 0 is no small number. */
export const cellStates = { notCaptured: 0, zero: 1, finite: 2, infinite: 3, nan: 4 } as const;

export interface MapHook {
  /** Full name. */
  hook: string;
  kind: string;
  /** −1 embedding, n final norm and logits. */
  layer: number;
}

export interface MapStep {
  step: number;
  position: number;
  /** What the uncached arm chooses after it; null without a tokenizer, or where steps.arrow has no such step. */
  next: string | null;
  /** The arms choose different tokens. */
  flip: { uncached: string; cached: string } | null;
  /** Some element of some compared hook differs, captured here or not; null where no hook was compared in this step. */
  differs: boolean | null;
}

export interface LayerMap {
  condition: RunCondition;
  prompt: string;
  /** The prompt's place in the run, where it is known. */
  promptIndex: number | null;
  /** The type the residual stream is rounded to, whose unit roundoff is 1 u. */
  unit: StorageType;
  /** Some hooks or layers were taken out: what is first among the others is not first. */
  cut?: true;
  /** In execution order. */
  hooks: readonly MapHook[];
  /** Decode steps, ascending, from 1. */
  steps: readonly MapStep[];
  /** Of `cellStates`, by hook, then step. */
  states: Uint8Array;
  /** By hook, then step; NaN where the cell is not captured. */
  values: Readonly<Record<MapColumn, Float64Array>>;
}

/** Which prompt of each condition. */
export interface MapChoice {
  condition: RunCondition;
  prompt: string;
}

interface Collected {
  hooks: Map<string, MapHook & { unit: StorageType | null }>;
  cells: { hook: string; step: number; state: number; values: number[] }[];
  positions: Map<number, number>;
  chosen: Map<number, { uncached: number; cached: number; flip: boolean; differs: boolean | null }>;
}

/** By condition and prompt. */
type Collection = Map<string, Map<string, Collected>>;

const order = new Map(hookDefinitions.map(({ kind }, i) => [kind, i]));
/** Kinds whose type is that of the residual stream, the later ones preferred. */
const residualKinds = ['logits', 'embed', 'resid_pre', 'resid_mid', 'resid_post'];

/** Maps that were read last, by run: figures of one prompt ask for the same. */
const recent = new WeakMap<RunTables, Map<string, LayerMap | null>>();
const mostRecent = 24;

/** The maps of these prompts, in their order; null for one without rows. */
export async function readLayerMaps(run: RunTables, choices: readonly MapChoice[]): Promise<(LayerMap | null)[]> {
  const known = recent.get(run) ?? new Map<string, LayerMap | null>();
  recent.set(run, known);
  const unread = choices.filter((choice) => !known.has(keyOf(choice)));
  const read = await readMaps(run, unread);
  for (const [i, choice] of unread.entries()) known.set(keyOf(choice), read[i]);
  const found = choices.map((choice) => known.get(keyOf(choice)) ?? null);
  for (const key of [...known.keys()].slice(0, Math.max(0, known.size - mostRecent))) known.delete(key);
  return found;
}

function keyOf({ condition, prompt }: MapChoice): string {
  return JSON.stringify([condition.condition, prompt]);
}

async function readMaps(run: RunTables, choices: readonly MapChoice[]): Promise<(LayerMap | null)[]> {
  if (choices.length === 0) return [];
  const collected: Collection = new Map();
  const batches = { layers: new Set<number>(), steps: new Set<number>() };
  const [owners, counts] = [await layerOwners(run), await promptCounts(run)];
  for (const { condition, prompt } of choices) {
    const prompts = collected.get(condition.condition) ?? new Map<string, Collected>();
    prompts.set(prompt, { hooks: new Map(), cells: [], positions: new Map(), chosen: new Map() });
    collected.set(condition.condition, prompts);
    for (const batch of owners.get(condition.condition)?.get(prompt) ?? []) batches.layers.add(batch);
    for (const batch of counts.get(condition.condition)?.get(prompt)?.batches ?? []) batches.steps.add(batch);
  }
  await collectLayers(run, collected, batches.layers);
  await collectSteps(run, collected, batches.steps);
  const indices = await promptIndices(run);
  const maps: (LayerMap | null)[] = [];
  for (const choice of choices) {
    const found = collected.get(choice.condition.condition)?.get(choice.prompt);
    const texts = await tokenTexts(run, choice.condition.model, tokensOf(found));
    maps.push(found && found.cells.length > 0 ? mapOf(choice, found, texts, indices) : null);
  }
  return maps;
}

async function collectLayers(run: RunTables, collected: Collection, batches: ReadonlySet<number>): Promise<void> {
  for await (const batch of run.batches('layers', (index) => batches.has(index))) {
    const columns = new Columns('layers', batch);
    const [condition, prompt, hook, kind, dtype] = (['condition', 'prompt', 'hook', 'kind', 'dtype'] as const).map(
      (name) => columns.texts(name),
    );
    const [step, position, layer] = (['step', 'position', 'layer'] as const).map((name) => columns.required(name));
    const [nan, nonfinite] = [columns.required('nan'), columns.required('nonfinite')];
    const head = columns.numbers('head');
    const values = mapColumns.map((name) => columns.required(name));
    for (let row = 0; row < batch.numRows; row++) {
      const found = collected.get(condition(row))?.get(prompt(row));
      // Step 0 is the prefill, which both arms run.
      if (!found || step(row) < 1 || head(row) !== null) continue;
      const name = hook(row);
      if (!found.hooks.has(name)) {
        found.hooks.set(name, { hook: name, kind: kind(row), layer: layer(row), unit: storageType(dtype(row)) });
      }
      const own = values.map((of) => of(row));
      const state = stateOf(kind(row), { nan: nan(row), nonfinite: nonfinite(row), relL2: own[0], differ: own[3] });
      found.cells.push({ hook: name, step: step(row), state, values: own });
      found.positions.set(step(row), position(row));
    }
  }
}

/** What the numbers of a row say. Masked scores are −Infinity on purpose. */
function stateOf(
  kind: string,
  { nan, nonfinite, relL2, differ }: { nan: number; nonfinite: number; relL2: number; differ: number },
): number {
  if (nan > 0) return cellStates.nan;
  const infinite = kind === 'attn.attn_scores' ? 0 : nonfinite;
  if (infinite > 0 || !Number.isFinite(relL2)) return cellStates.infinite;
  return differ === 0 ? cellStates.zero : cellStates.finite;
}

async function collectSteps(run: RunTables, collected: Collection, batches: ReadonlySet<number>): Promise<void> {
  for await (const batch of run.batches('steps', (index) => batches.has(index))) {
    const columns = new Columns('steps', batch);
    const [condition, prompt, protocol] = (['condition', 'prompt', 'protocol'] as const).map((name) =>
      columns.texts(name),
    );
    const [step, position] = [columns.required('step'), columns.required('position')];
    const [uncached, cached] = [columns.required('token_uncached'), columns.required('token_cached')];
    const [flip, differs] = [columns.booleans('flip'), columns.booleans('differs')];
    for (let row = 0; row < batch.numRows; row++) {
      if (step(row) < 1 || protocol(row) !== 'teacher-forced') continue;
      const found = collected.get(condition(row))?.get(prompt(row));
      if (!found) continue;
      found.positions.set(step(row), position(row));
      found.chosen.set(step(row), {
        ...{ uncached: uncached(row), cached: cached(row), flip: flip(row) === true, differs: differs(row) },
      });
    }
  }
}

function tokensOf(found: Collected | undefined): Set<number> {
  const chosen = [...(found?.chosen.values() ?? [])];
  return new Set(chosen.flatMap(({ uncached, cached }) => [uncached, cached]));
}

/** Places of the prompts by id; models may share them. */
async function promptIndices(run: RunTables): Promise<Map<string, number>> {
  const found = new Map<string, number>();
  for await (const batch of run.batches('prompts')) {
    const columns = new Columns('prompts', batch);
    const [prompt, index] = [columns.texts('prompt'), columns.required('index')];
    for (let row = 0; row < batch.numRows; row++) found.set(prompt(row), index(row));
  }
  return found;
}

function mapOf(
  { condition, prompt }: MapChoice,
  { hooks, cells, positions, chosen }: Collected,
  texts: ReadonlyMap<number, string>,
  indices: ReadonlyMap<string, number>,
): LayerMap {
  const rows = [...hooks.values()].sort((a, b) => a.layer - b.layer || place(a.kind) - place(b.kind));
  const numbers = [...positions.keys()].sort((a, b) => a - b);
  const [rowOf, columnOf] = [
    new Map(rows.map(({ hook }, i) => [hook, i])),
    new Map(numbers.map((step, i) => [step, i])),
  ];
  const states = new Uint8Array(rows.length * numbers.length);
  const blank = () => new Float64Array(states.length).fill(Number.NaN);
  const values = { rel_l2: blank(), max_abs: blank(), max_ulp: blank(), n_differ: blank(), n_elements: blank() };
  for (const cell of cells) {
    const at = (rowOf.get(cell.hook) ?? 0) * numbers.length + (columnOf.get(cell.step) ?? 0);
    states[at] = cell.state;
    mapColumns.forEach((name, i) => {
      values[name][at] = cell.values[i];
    });
  }
  const name = (token: number) => texts.get(token) ?? `#${token}`;
  const steps = numbers.map((step): MapStep => {
    const choice = chosen.get(step);
    const flip = choice?.flip ? { uncached: name(choice.uncached), cached: name(choice.cached) } : null;
    const next = (choice && texts.get(choice.uncached)) ?? null;
    return { step, position: positions.get(step) ?? 0, next, flip, differs: choice?.differs ?? null };
  });
  const unit = [...residualKinds].reverse().map((kind) => rows.find((row) => row.kind === kind)?.unit);
  const promptIndex = indices.get(prompt) ?? null;
  return {
    ...{ condition, prompt, promptIndex, steps, states, values },
    unit: unit.find((type) => type) ?? rows.find((row) => row.unit)?.unit ?? 'f32',
    hooks: rows.map(({ hook, kind, layer }) => ({ hook, kind, layer })),
  };
}

/** Place of a kind in a forward pass; kinds of a later version stand last. */
export function place(kind: string): number {
  return order.get(kind) ?? order.size;
}

export function storageType(name: string): StorageType | null {
  return (['f16', 'bf16', 'f32', 'f64'] as const).find((type) => type === name) ?? null;
}
