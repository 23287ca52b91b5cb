/** A small run over prompts of a model and its explanation, as `diverge --explain` makes them. */
import { embeddedModels } from '../../../src/checkpoint/embedded.ts';
import { openCheckpoint } from '../../../src/checkpoint/open.ts';
import { type PromptInput, type PromptRunOptions, runPrompt } from '../../../src/divergence/prompt-run.ts';
import type { GateResult } from '../../../src/divergence/summary.ts';
import { resolveKernels } from '../../../src/graph/kernels.ts';
import { resolvePolicy } from '../../../src/graph/rounding.ts';
import { Executor } from '../../../src/model/executor.ts';
import { type Fault, parseFaults } from '../../../src/model/faults.ts';
import { DriftRecord, type ExplainOptions, type Explanation, explain } from '../../../src/patching/explain/index.ts';
import { readPromptFile } from '../../../src/study/prompts.ts';

export interface Subject {
  executor: Executor;
  gates: GateResult[];
  prompts: PromptInput[];
}

/** What a run's gates say where they hold: that they do, for the embedded models, is tested with the gates. */
export const gatesThatHeld: GateResult[] = ['repeat', 'null', 'prefix'].map((name) => ({
  ...{ name, class: name === 'repeat' ? 'harness' : 'identification', passed: true, status: 'passed' },
  ...{ measured: '0 of 1 elements differ', required: '0 elements differ', scope: 'a test' },
}));

/** Lines of an embedded model's prompt file. */
export async function embeddedSubject(
  name: string,
  precision: string,
  lines: readonly number[],
  kernels = 'ort',
): Promise<Subject> {
  const model = embeddedModels().find((each) => each.name === name);
  if (!model?.prompts) throw new Error(`${name} is not embedded`);
  const checkpoint = await openCheckpoint(model.dir, { name });
  const { config, tokenizer } = checkpoint;
  const target = { tokenizer, vocabSize: config.vocabSize, maxPositions: config.maxPositions };
  const limit = Math.max(...lines) + 1;
  const all = readPromptFile(model.prompts, { template: '{question}\n', fewShot: null, limit }, target);
  const prompts = lines.map((line) => ({ ...all[line], continuation: null }));
  return subjectOf({ dir: model.dir, name, precision, kernels, prompts });
}

/** A model in a folder, on given prompts. */
export async function subjectOf(options: {
  dir: string;
  name?: string;
  precision: string;
  kernels: string;
  prompts: PromptInput[];
}): Promise<Subject> {
  const { dir, name, precision, prompts } = options;
  const checkpoint = await openCheckpoint(dir, name === undefined ? {} : { name });
  const [policy, kernels] = [resolvePolicy(precision), resolveKernels(options.kernels)];
  const executor = new Executor({ checkpoint, policy, kernels, threads: 1 });
  return { executor, gates: gatesThatHeld, prompts };
}

export interface RunOptions {
  faults?: readonly unknown[];
  steps?: number;
  decodeRows?: number;
  folder?: ExplainOptions['folder'];
  gates?: readonly GateResult[];
  strategy?: PromptRunOptions['strategy'];
}

/** Run every prompt with the faults planted, then explain. */
export async function explainRun(
  { executor, gates, prompts }: Subject,
  { faults: raw = [], steps = 12, decodeRows = 1, folder = null, strategy = { kind: 'greedy' }, ...other }: RunOptions,
): Promise<Explanation> {
  const faults: Fault[] = raw.length === 0 ? [] : parseFaults(raw, 'test', executor);
  const record = new DriftRecord();
  for (const prompt of prompts) {
    const result = await runPrompt(
      {
        ...{ executor, oracle: null, strategy, hooks: [], mode: 'teacher-forced', decodeRows, faults },
        ...{ maxNewTokens: steps, ignoreEos: true, uncachedPlan: 'stand-in', saveActivations: false },
      },
      prompt,
    );
    record.add(result);
  }
  return explain({ executor, prompts, strategy, decodeRows, faults, gates: other.gates ?? gates, record, folder });
}
