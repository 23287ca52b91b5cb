/** What a run is, for its manifest: equal for identical runs, without paths and times; and where it came from. */
import { createHash } from 'node:crypto';
import { hostname } from 'node:os';
import { hookName } from '../graph/hooks.ts';
import { encodeModel } from '../graph/onnx/codec.ts';
import { Executor } from '../model/executor.ts';
import { runtimeOptions } from '../model/session.ts';
import type { RunDirectory } from '../store/run-directory.ts';
import { thisMachine, versions } from './gates/machine.ts';
import type { RunSubject } from './run-subject.ts';

/** Resolved configuration, versions, processor, session options and digests. */
export async function runIdentity(
  command: string,
  subject: RunSubject,
  settings: Record<string, unknown>,
): Promise<Record<string, unknown>> {
  const { checkpoint, policy, kernels, strategy, prompts } = subject;
  const { maxNewTokens, hooks, decodeRows, threads, ignoreEos, template, faults = [] } = subject;
  const given = prompts.map(({ id, tokens, continuation }) => ({ id, tokens, continuation }));
  return {
    command,
    model: checkpoint.name,
    config: checkpoint.config,
    unknownConfigKeys: checkpoint.unknownConfigKeys,
    policy,
    kernels,
    strategy,
    maxNewTokens,
    hooks,
    decodeRows,
    threads,
    ignoreEos,
    template,
    ...(faults.length === 0 ? {} : { plantedFaults: faults }),
    ...settings,
    ...machineIdentity(threads),
    sha256: {
      checkpoint: await checkpoint.sha256(),
      tokenizer: await checkpoint.tokenizerSha256(),
      graph: graphDigest(subject),
      prompts: createHash('sha256').update(JSON.stringify(given)).digest('hex'),
    },
  };
}

/** Versions, processor and session options: what the bits of a run rest on beside the model. */
export function machineIdentity(threads: number): Record<string, unknown> {
  const session = runtimeOptions({ threads, prepack: true, weightsRoot: '' });
  return {
    versions: { ...versions(), node: process.versions.node },
    machine: thisMachine(),
    session: { level: session.graphOptimizationLevel, mode: session.executionMode, threads },
  };
}

/** sha256 of the graphs as they are built for a run with no hooks: one digest for what computes. */
export function graphDigest({
  checkpoint,
  policy,
  kernels,
  threads,
}: Pick<RunSubject, 'checkpoint' | 'policy' | 'kernels' | 'threads'>): string {
  const executor = new Executor({ checkpoint, policy, kernels, threads });
  const hash = createHash('sha256');
  const { layers } = checkpoint.config;
  for (const role of ['prefill', 'decode'] as const) {
    const add = (stage: Parameters<Executor['graph']>[0], output: string) => {
      const { model } = executor.graph(stage, role, new Set([output]));
      hash.update(encodeModel(model));
    };
    add('embed', hookName('embed'));
    for (let block = 0; block < layers; block++) add({ block }, hookName('resid_post', block));
    add('unembed', hookName('logits'));
  }
  return hash.digest('hex');
}

const started = new Date();

/** Command line, paths, times and host. */
export function runProvenance(
  { checkpoint, run }: Pick<RunSubject, 'checkpoint' | 'run'>,
  settings: Record<string, unknown>,
): Record<string, unknown> {
  return { checkpoint: checkpoint.dir, ...processProvenance(run), ...settings };
}

/** The same of a run of several models, or of none. */
export function processProvenance(run: RunDirectory): Record<string, unknown> {
  return {
    command: process.argv.slice(1),
    run: run.path,
    started: started.toISOString(),
    finished: new Date().toISOString(),
    host: hostname(),
  };
}
