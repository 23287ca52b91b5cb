/** Make a subject ready for its gates: choose the tokens, open the executor, compute shared runs once. */
import { isCacheHook, modelHooks } from '../../graph/hooks.ts';
import { rowElements } from '../../model/activation-rows.ts';
import { Arm, type ArmStep } from '../../model/arms.ts';
import { type Activations, Executor, type ExecutorOptions } from '../../model/executor.ts';
import { argmax } from '../../model/sampling/index.ts';
import type { Captured } from './difference.ts';
import { runInFreshProcess } from './fresh-process.ts';
import type { AuditRecord, GateContext, GateSubject, Scale } from './gate.ts';

/** Honest runs are kept for the next gate up to this many bytes. */
const keptBytes = 256 * 1024 * 1024;
const defaultSteps = 8;

/** A context for one pass over the gates. The caller releases its `executor`. */
export async function prepareContext(
  subject: GateSubject,
  scale: Scale,
  audited: AuditRecord | null = null,
): Promise<GateContext> {
  const { checkpoint, policy, kernels, threads, prompt } = subject;
  if (prompt.tokens.length === 0) throw new Error('gates need a prompt of at least one token');
  const open =
    subject.open ??
    ((overrides?: Partial<ExecutorOptions>) => new Executor({ checkpoint, policy, kernels, threads, ...overrides }));
  const executor = open();
  const hooks = observedHooks(executor);
  const tokens = await forcedTokens(executor, subject);
  const lengths = tokens.slice(prompt.tokens.length).map((_, step) => prompt.tokens.length + step + 1);

  const honestRuns = new Map<number, Promise<Captured>>();
  let bytes = 0;
  const honest = (n: number): Promise<Captured> => {
    const known = honestRuns.get(n);
    if (known) return known;
    const run = Arm.uncached(executor, n, 'recompute').prefill(tokens.slice(0, n), { hooks }).then(snapshot);
    const size = capturedBytes(executor, n);
    if (bytes + size <= keptBytes) {
      honestRuns.set(n, run);
      bytes += size;
    }
    return run;
  };

  let cachedRun: Promise<readonly Captured[]> | undefined;
  const cached = () => {
    cachedRun ??= runCachedArm(executor, tokens, prompt.tokens.length, subject.decodeRows, hooks);
    return cachedRun;
  };
  return {
    ...subject,
    open,
    fresh: subject.fresh ?? runInFreshProcess,
    scale,
    tokens,
    lengths,
    executor,
    hooks,
    hasLogits: executor.options.tape === undefined || executor.options.tape.stage === executor.config.layers,
    together: executor.options.host ? sideBySide : inTurn,
    audited,
    honest,
    cached,
  };
}

function sideBySide<T>(tasks: readonly (() => Promise<T>)[]): Promise<T[]> {
  return Promise.all(tasks.map((task) => task()));
}

async function inTurn<T>(tasks: readonly (() => Promise<T>)[]): Promise<T[]> {
  const results: T[] = [];
  for (const task of tasks) results.push(await task());
  return results;
}

/** Full names of every hook that is not opt-in, in execution order; on a tape those of its stage. */
export function observedHooks({ config, options }: Executor): ReadonlySet<string> {
  const { tape } = options;
  const hooks = modelHooks(config).filter((hook) => !hook.definition.optIn && (!tape || hook.layer === tape.stage));
  return new Set(hooks.map((hook) => hook.name));
}

/**
 * Bytes that every observed hook of n rows takes; on a tape those of one block. From shapes, not from tensors: what is kept
 * decides which passes are made again, and a program must make the same passes at every stage.
 */
function capturedBytes({ config, compute, options }: Executor, n: number): number {
  const byStage = new Map<number, number>();
  for (const hook of modelHooks(config)) {
    if (hook.definition.optIn) continue;
    const bytes = n * rowElements(hook, config, n) * (compute === 'f64' ? 8 : 4);
    byStage.set(hook.layer, (byStage.get(hook.layer) ?? 0) + bytes);
  }
  return options.tape ? (byStage.get(0) ?? 0) : [...byStage.values()].reduce((total, bytes) => total + bytes, 0);
}

/** The prompt and its continuation, prolonged greedily by the uncached arm. */
async function forcedTokens(executor: Executor, subject: GateSubject): Promise<number[]> {
  const { prompt, continuation = [], maxSteps = defaultSteps } = subject;
  const end = Math.min(prompt.tokens.length + maxSteps, executor.config.maxPositions);
  const tokens = [...prompt.tokens, ...continuation].slice(0, end);
  const none: ReadonlySet<string> = new Set();
  while (tokens.length < end) {
    const { logits } = await Arm.uncached(executor, tokens.length, 'recompute').prefill(tokens, { hooks: none });
    tokens.push(argmax(logits));
  }
  return tokens;
}

async function runCachedArm(
  executor: Executor,
  tokens: readonly number[],
  promptLength: number,
  decodeRows: number,
  hooks: ReadonlySet<string>,
): Promise<readonly Captured[]> {
  const arm = Arm.cached(executor, tokens.length, decodeRows);
  const runs = [snapshot(await arm.prefill(tokens.slice(0, promptLength), { hooks }))];
  for (let n = promptLength + 1; n <= tokens.length; n++) {
    runs.push(snapshot(await arm.step(tokens.slice(0, n), { hooks })));
  }
  return runs;
}

/** Copy the views of the cache: later steps write to it. */
function snapshot({ start, n, activations }: ArmStep): Captured {
  const copies: Activations = new Map();
  for (const [name, activation] of activations) {
    copies.set(name, isCacheHook(name) ? { ...activation, data: activation.data.slice() } : activation);
  }
  return { start, n, activations: copies };
}
