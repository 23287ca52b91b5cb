/**
 * A minimal reproduction: the operation where it starts, cut out of its stage's graph, with the numbers it read and the bits it
 * gave, and a script that needs onnxruntime-node alone.
 *
 * - A difference between kernels: the rows of the decode step, and two rows under the prefill's kernel, of the same numbers.
 * - A fault in the state: the operation on the rows, mask or position that the step read, and on those it should have read.
 *
 * Every case is run by itself before it is written, and must give the bits that it gave inside the whole run.
 */
import { bitEqual } from '../../divergence/counterfactual.ts';
import { describeOperation } from '../../divergence/operations.ts';
import { embedWeights, externalBytes } from '../../graph/cut.ts';
import { findHook } from '../../graph/hooks.ts';
import { newestRow } from '../../model/activation-rows.ts';
import { Arm } from '../../model/arms.ts';
import type { Executor } from '../../model/executor.ts';
import { type OperationCase, operationCase, operationHooks, runAlone } from './operation-case.ts';
import type { Replay, StateEvent } from './replay.ts';
import { writeReproduction } from './reproduction-files.ts';
import { stateCases } from './state-cases.ts';
import type { ExplainedStep, ExplainVerdict, Reproduction } from './types.ts';

/** Weights and tensors of a reproduction may take this many bytes. */
const largestBytes = 64 * 2 ** 20;

export interface ReproduceOptions {
  executor: Executor;
  replay: Replay;
  event: StateEvent | null;
  /** Prompt and forced tokens. */
  tokens: readonly number[];
  step: Omit<ExplainedStep, 'reproduction'>;
  verdict: ExplainVerdict;
  /** Where to write; null: nowhere. */
  folder: string | null;
}

/** Write the reproduction of a verdict, if its operation can be cut out and gives its bits by itself. */
export async function reproduce(options: ReproduceOptions): Promise<Reproduction> {
  const { executor, folder, verdict } = options;
  const none = (what: string): Reproduction => ({ folder: null, what });
  if (folder === null) return none('no folder was given');
  const cases = await casesOf(options);
  if (typeof cases === 'string') return none(cases);
  const [{ hook }] = cases;
  const bytes = cases.reduce((total, each) => total + caseBytes(each), 0);
  if (bytes > largestBytes) {
    const [found, most] = [bytes, largestBytes].map((size) => Math.ceil(size / 2 ** 20));
    return none(`${hook.name} takes ${found} MiB with its weights, at most ${most} are written`);
  }
  const { weightsRoot } = executor.options.checkpoint;
  const embedded = cases.map((each) => ({ ...each, graph: embedWeights(each.graph, weightsRoot) }));
  for (const each of embedded) {
    if (!bitEqual(await runAlone(executor, each), each.expected.data))
      return none(`${hook.name}, ${each.name}: by itself it gives other bits than inside its stage`);
  }
  const [a, b] = embedded.map((each) => newestRow(hook, each.expected));
  let differ = 0;
  for (let i = 0; i < a.length; i++) if (!Object.is(a[i], b[i])) differ += 1;
  if (differ === 0) return none(`${hook.name}: its newest row has the same bits in both cases`);
  const operation = describeOperation(hook, executor.config);
  writeReproduction(folder, { executor, operation, verdict, cases: embedded, differ, elements: a.length });
  return { folder, what: `${operation}: ${embedded.map(({ name }) => name).join(' against ')}` };
}

/** Two cases of one operation, or why there are none. */
async function casesOf(options: ReproduceOptions): Promise<OperationCase[] | string> {
  const { executor, event, step, verdict } = options;
  if (event !== null && step.state !== null) return stateCases(executor, event, step.state);
  if (verdict.cause === 'state-bug') return 'the fault was not located in a single step';
  return kernelCases(options);
}

/** The first differing operation of the trajectory, under either kernel: every number it reads is the same in both arms. */
async function kernelCases({ executor, replay, tokens, step }: ReproduceOptions): Promise<OperationCase[] | string> {
  const hook = step.firstOrigin && findHook(step.firstOrigin.hook, executor.config);
  if (!step.firstOrigin || !hook) return 'no operation was found in which the difference starts';
  const { kept: cached } = replay;
  const { n, start } = cached;
  const ran = n - start;
  const two = Math.max(2, ran);
  const arm = Arm.uncached(executor, n, 'recompute');
  const hooks = new Set(operationHooks(executor, hook));
  const { activations } = await arm.prefill(tokens.slice(0, n), { hooks });
  const rows = (count: number) => (count === 1 ? '1 row' : `${count} rows`);
  const made = [
    operationCase(executor, {
      ...{ hook, role: 'decode', name: `${rows(ran)} (decode)`, rows: { start, count: ran } },
      activations: cached.activations,
    }),
    operationCase(executor, {
      ...{ hook, role: 'prefill', name: `${rows(two)} (prefill)`, rows: { start: n - two, count: two }, activations },
    }),
  ];
  const refused = made.find((each) => typeof each === 'string');
  return refused ?? made.filter((each) => typeof each !== 'string');
}

function caseBytes({ graph, feeds, expected }: OperationCase): number {
  const inputs = Object.values(feeds).reduce((total, tensor) => total + tensor.size * 4, 0);
  return externalBytes(graph) + inputs + expected.data.byteLength;
}
