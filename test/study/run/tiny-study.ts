/** A study that takes seconds: a checkpoint of random weights, a few prompts as token ids, two strategies. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { rowValues } from '../../../src/store/row-values.ts';
import { RunDirectory } from '../../../src/store/run-directory.ts';
import { type ResolvedStudy, resolveStudy } from '../../../src/study/definition/resolve.ts';
import { parseStudy, type StudyInput } from '../../../src/study/definition/schema.ts';
import type { StudyResult } from '../../../src/study/run/publish.ts';
import { runStudy } from '../../../src/study/run/study-run.ts';
import type { Shard } from '../../../src/study/run/work-units.ts';
import type { PromptUnit } from '../../../src/study/unit/unit.ts';
import { removeCheckpoint, writeTinyCheckpoint } from '../../tiny-checkpoint.ts';

/** A folder that is gone after the tests of a file. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'kvlens-study-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** The study as it is written in a file, with `changes`; its decode kernel sums in another order, so that the arms differ. */
export function tinyStudy({ limit = 5, ...changes }: Partial<StudyInput> & { limit?: number } = {}): StudyInput {
  const model = writeTinyCheckpoint({ modelType: 'mistral', attention: 'gqa', seed: 4 });
  afterAll(() => removeCheckpoint(model));
  const file = join(temporaryFolder(), 'prompts.jsonl');
  const prompts = Array.from({ length: limit }, (_, i) =>
    JSON.stringify({ id: `p${i}`, tokens: [1, 3 + i, 40 + i, 9] }),
  );
  writeFileSync(file, `${prompts.join('\n')}\n`);
  return {
    ...{
      name: 'tiny',
      models: [model],
      strategies: ['greedy', 't1.0-k50'],
      precisions: ['fp16'],
      kernels: ['split-k:4:storage'],
    },
    ...{ prompts: { file }, maxNewTokens: 12, ignoreEos: true },
    ...{ profile: { prompts: 1 }, patching: { prompts: 1, every: 4 }, placebo: { arms: 2 } },
    ...changes,
  };
}

export function resolved(input: StudyInput): Promise<ResolvedStudy> {
  return resolveStudy(parseStudy(input, 'tiny.json'), 'tiny.json');
}

interface RunOptions {
  shard?: Shard | null;
  resume?: boolean;
  signal?: AbortSignal;
  releasePlacebo?: boolean;
  onUnit?: (done: number) => void;
}

/** Run a study, or a shard of it, in this process. */
export async function run(
  study: ResolvedStudy,
  out: string,
  { shard = null, resume = false, signal, releasePlacebo = false, onUnit }: RunOptions = {},
): Promise<StudyResult> {
  return runStudy({
    ...{
      study,
      shard,
      workers: 1,
      releasePlacebo,
      run: RunDirectory.create({ command: 'study', model: 'tiny', out, resume }),
    },
    ...(signal === undefined ? {} : { signal }),
    onProgress: ({ stage, done }) => {
      if (stage === 'units') onUnit?.(done);
    },
  });
}

/** Files of a run by name; of the manifest, what is equal for equal runs. */
export function contents(folder: string): Record<string, string> {
  const files = readdirSync(folder).sort();
  return Object.fromEntries(
    files.map((name) => {
      const bytes = readFileSync(join(folder, name));
      return [name, name === 'manifest.json' ? identityOf(bytes.toString()) : bytes.toString('base64')];
    }),
  );
}

/** Names of the files that differ, or that one folder alone has. */
export function unlike(left: string, right: string): string[] {
  const [a, b] = [contents(left), contents(right)];
  return [...new Set([...Object.keys(a), ...Object.keys(b)])].filter((name) => a[name] !== b[name]);
}

function identityOf(manifest: string): string {
  const { schemaVersion, identity }: Record<string, unknown> = JSON.parse(manifest);
  return JSON.stringify({ schemaVersion, identity });
}

/** A unit as a study makes it, with made-up numbers: 11 steps that count, two texts that are the same. */
export function madeUpUnit(unit: number, { condition = 0, index = unit, flips = 0 } = {}): PromptUnit {
  const steps = 11;
  const tokens = Array.from({ length: steps + 1 }, (_, step) => step);
  const answer = { tokens, text: 'a', answer: null, correct: null, stop: 'limit' as const };
  const arms = ['cached', 'uncached'] as const;
  return {
    ...{ kind: 'prompt', unit, checks: null, explained: null },
    rows: {
      ...{ candidates: [], layers: [], patches: [], placebo: [] },
      steps: tokens.map((step) => stepRow(step)),
      answers: arms.map((arm) => rowValues('answers', { arm, ...answer })),
      temperatures: [[1, steps, 0.5, Number.NaN]],
    },
    summary: {
      ...{ condition, index, prompt: `p${index}`, promptTokens: 4 },
      sums: {
        ...{ steps, differing: 3, ties: 0, l2Centred: 0.1 + 0.2, kl: 5e-324, js: 0, tv: -0 },
        ...{ tvProcessed: null, tvProcessedUpper: null, errorCached: null, errorUncached: null },
        ...{ single: null, double: null },
      },
      flips: Array.from({ length: flips }, (_, step) => ({
        step: step + 1,
        margin: null,
        tie: false,
        boundary: false,
      })),
      margins: Array.from({ length: steps }, () => Number.POSITIVE_INFINITY),
      shifts: Array.from({ length: steps }, () => -0),
      answers: arms.map((arm) => ({ arm, ...answer })),
      ...{ divergedAt: null, orderMatched: null, layers: null, placebo: null, cells: null },
      temperatures: [{ temperature: 1, tv: 0.5, upper: Number.NaN }],
      uncached: { checked: 1, failed: 0, recomputed: false },
      nonfinite: { elements: 0, nan: 0, hook: null },
      planted: false,
    },
  };
}

function stepRow(step: number): unknown[] {
  return rowValues('steps', {
    ...{ protocol: 'teacher-forced', step, position: 3 + step, token_cached: step, token_uncached: step },
    ...{ flip: false, differs: null, tie_cached: false, tie_uncached: false, diverged_before: false },
    ...{ logits_n_differ: 0, logits_max_abs: 0, logits_rel_l2: 0, logits_l2_centred: 0, kl: 5e-324, js: 0, tv: -0 },
    ...{ tv_processed: null, margin_cached: 1, margin_uncached: 1, top_shift: 0, margin_choice: null, boundary: null },
    ...{ error_cached: null, error_uncached: null, error_cosine: null },
    ...{ drift_fp32_cached: null, drift_fp32_uncached: null, drift_fp64_cached: null, drift_fp64_uncached: null },
  });
}
