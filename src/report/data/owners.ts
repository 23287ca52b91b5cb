/** Whose rows a run's tables hold, and where: read once for each run that is open, since such files may be large. */
import { Columns } from './columns.ts';
import type { RunTables } from './run-tables.ts';

/** Batches of layers.arrow with rows of decode steps of a prompt, by condition, then prompt; in the order of the file. */
export type LayerOwners = ReadonlyMap<string, ReadonlyMap<string, readonly number[]>>;

/** What of a prompt's decode steps differs. */
export interface PromptCounts {
  /** Decode steps in which some element of some hook differs. */
  differ: number;
  /** Decode steps in which a logit differs. */
  logits: number;
  /** Batches of steps.arrow with these steps, in the order of the file. */
  batches: readonly number[];
}

const owners = new WeakMap<RunTables, Promise<LayerOwners>>();
const counts = new WeakMap<RunTables, Promise<ReadonlyMap<string, ReadonlyMap<string, PromptCounts>>>>();

/** Once per run; what fails is tried again. */
function once<Value>(known: WeakMap<RunTables, Promise<Value>>, run: RunTables, read: () => Promise<Value>) {
  const found = known.get(run);
  if (found) return found;
  const reading = read();
  known.set(run, reading);
  reading.catch(() => known.delete(run));
  return reading;
}

/** @throws InputError if layers.arrow is not one of this version's */
export function layerOwners(run: RunTables): Promise<LayerOwners> {
  return once(owners, run, async () => {
    const found = new Map<string, Map<string, number[]>>();
    let index = 0;
    for await (const batch of run.batches('layers')) {
      const columns = new Columns('layers', batch);
      const [condition, prompt, step] = [columns.texts('condition'), columns.texts('prompt'), columns.required('step')];
      for (let row = 0; row < batch.numRows; row++) {
        // Step 0 is the prefill, which both arms run.
        if (step(row) < 1) continue;
        const prompts = found.get(condition(row)) ?? new Map<string, number[]>();
        found.set(condition(row), prompts);
        const batches = prompts.get(prompt(row)) ?? [];
        prompts.set(prompt(row), batches);
        if (batches.at(-1) !== index) batches.push(index);
      }
      index += 1;
    }
    return found;
  });
}

/** Counts of teacher-forced decode steps, by condition, then prompt. @throws InputError if steps.arrow is not one of this version's */
export function promptCounts(run: RunTables): Promise<ReadonlyMap<string, ReadonlyMap<string, PromptCounts>>> {
  return once(counts, run, async () => {
    const found = new Map<string, Map<string, PromptCounts & { batches: number[] }>>();
    let index = 0;
    for await (const batch of run.batches('steps')) {
      const columns = new Columns('steps', batch);
      const [condition, prompt, protocol] = (['condition', 'prompt', 'protocol'] as const).map((name) =>
        columns.texts(name),
      );
      const [step, logits] = [columns.required('step'), columns.required('logits_n_differ')];
      const differs = columns.booleans('differs');
      for (let row = 0; row < batch.numRows; row++) {
        if (step(row) < 1 || protocol(row) !== 'teacher-forced') continue;
        const prompts = found.get(condition(row)) ?? new Map<string, PromptCounts & { batches: number[] }>();
        found.set(condition(row), prompts);
        const own = prompts.get(prompt(row)) ?? { differ: 0, logits: 0, batches: [] };
        prompts.set(prompt(row), own);
        if (differs(row)) own.differ += 1;
        if (logits(row) > 0) own.logits += 1;
        if (own.batches.at(-1) !== index) own.batches.push(index);
      }
      index += 1;
    }
    return found;
  });
}
