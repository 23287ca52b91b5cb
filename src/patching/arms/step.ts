/**
 * One step on a history of one's choice, under either kernel.
 *
 * - `decode`: the newest rows run alone (one, or the cached arm's `decodeRows`), reading the history before them.
 * - `prefill`: all n rows run and at the read of every layer K and V of rows 0 … n − 2 are overwritten with the history,
 *   so that row n − 1 reads the history through the prefill's kernel. Two rows, n − 2 and n − 1, compute the same where a
 *   matmul's sums do not depend on the number of rows; row n − 2 is then overwritten at the read as well. That is only
 *   used after a probe, and a sample of its steps is run in full.
 */
import { bitEqual } from '../../divergence/counterfactual.ts';
import { Arm, type ArmStep, type ResumeAt } from '../../model/arms.ts';
import type { Capture, Executor, KernelRole, Patch, Rows } from '../../model/executor.ts';
import type { KVCache } from '../../model/kv-cache.ts';
import { overlayPatches } from '../../model/overlay-patches.ts';
import { readPatches } from '../../model/read-patches.ts';
import { keyedUniform } from '../../model/sampling/choose.ts';
import type { CachedArmFactory } from './trajectory.ts';

/** A step of n tokens. */
export interface StepRequest {
  tokens: readonly number[];
  /** Rows 0 … n − 2; left as it is. */
  history: KVCache;
  kernel: KernelRole;
  /** Rows the arm that goes on from here will need. */
  capacity: number;
  /** Full names of hooks to capture. */
  hooks?: ReadonlySet<string>;
  /** Patches by hook, for the rows that run. */
  patches?: (rows: Rows) => readonly Patch[];
  /** Begin at a block (kernel `decode`); rows of the blocks before it are copied from `rows`. */
  resume?: ResumeAt & { rows: KVCache };
}

/** What a step gave. */
export interface StepResult extends ArmStep {
  /** A cached arm that holds rows 0 … n − 1 – the history, and the rows this step made – ready for the next step. */
  arm: Arm;
}

/** A step of two rows was not what all rows give: what was measured with two rows must be measured again. */
export class TwoRowsFailed extends Error {}

export interface StepRunnerOptions {
  /** Rows each decode step runs. */
  decodeRows: number;
  /** Makes arms for decode steps; default `Arm.cached`. */
  cachedArm?: CachedArmFactory;
  /** Tokens of the prompt: where faults of `cachedArm` count steps from. */
  promptLength?: number;
}

const noHooks: ReadonlySet<string> = new Set();
/** Share of two-row steps that are run in full as well. */
const sampledShare = 1 / 16;

/** Runs steps of one prompt. */
export class StepRunner {
  readonly executor: Executor;
  /** How `prefill` runs: all rows, or two once `probe` has shown that they are enough. */
  prefillRows: 'all' | 'two' = 'all';
  /** Steps of two rows that were run in full as well. */
  checks = 0;
  private readonly newArm: CachedArmFactory;
  private readonly promptLength: number;
  private readonly key: string;

  /** @param promptId keys the sample that is run in full */
  constructor(executor: Executor, promptId: string, { decodeRows, cachedArm, promptLength = 0 }: StepRunnerOptions) {
    this.executor = executor;
    this.key = promptId;
    this.promptLength = promptLength;
    this.newArm = cachedArm ?? ((capacity) => Arm.cached(executor, capacity, decodeRows));
  }

  /** Run one step. @throws TwoRowsFailed */
  async run(request: StepRequest): Promise<StepResult> {
    if (request.kernel === 'decode') return this.decode(request);
    if (this.prefillRows === 'all') return this.prefill(request, 'all');
    const found = await this.prefill(request, 'two');
    const draw = keyedUniform(0, { prompt: this.key, step: request.tokens.length })(0xffffffff);
    if (draw < sampledShare && !(await this.repeats(request, found))) {
      throw new TwoRowsFailed(`step of ${request.tokens.length} tokens: two rows differ from all rows`);
    }
    return found;
  }

  /** Use two rows from now on, if they give the bits of all rows on this step. */
  async probe(request: StepRequest): Promise<boolean> {
    this.prefillRows = (await this.repeats(request, await this.prefill(request, 'two'))) ? 'two' : 'all';
    return this.prefillRows === 'two';
  }

  /** A cached arm whose next step has n tokens, on a history of one's choice. */
  armOn(history: KVCache, n: number, capacity: number): Arm {
    const arm = this.newArm(Math.max(capacity, n), { promptLength: this.promptLength, rows: n - 1 });
    for (const layer of this.executor.blocks) putRows(history, arm.cache, layer, { start: 0, count: n - 1 });
    return arm;
  }

  private async repeats(request: StepRequest, two: StepResult): Promise<boolean> {
    this.checks += 1;
    const all = await this.prefill(request, 'all');
    const n = request.tokens.length;
    const sameRows = this.executor.blocks.every((layer) => {
      const [a, b] = [all.arm.cache.view(layer, n), two.arm.cache.view(layer, n)];
      return bitEqual(a.keys, b.keys) && bitEqual(a.values, b.values);
    });
    return sameRows && bitEqual(all.logits, two.logits) && bitEqual(all.residual, two.residual);
  }

  private async decode({ tokens, history, capacity, hooks, patches, resume }: StepRequest): Promise<StepResult> {
    const n = tokens.length;
    const arm = this.armOn(history, n, capacity);
    const rows = arm.rowsOf(n);
    if (resume) {
      for (let layer = 0; layer < resume.layer; layer++) putRows(resume.rows, arm.cache, layer, rows);
    }
    const step = await arm.step(tokens, captureOf(hooks, patches?.(rows)), resume);
    arm.prepare(n + 1);
    return { ...step, arm };
  }

  private async prefill(request: StepRequest, run: 'all' | 'two'): Promise<StepResult> {
    const { tokens, history, capacity, hooks, patches } = request;
    const n = tokens.length;
    const arm = Arm.uncached(this.executor, n, run === 'all' ? 'recompute' : 'stand-in');
    const rows = arm.rowsOf(n);
    arm.cache.copyFrom(history, rows.start);
    // Rows before the first that runs are read as they are; the others must not be what this pass makes of them.
    const overwritten = { start: rows.start, count: n - 1 - rows.start };
    const reads = readPatches(this.executor, overwritten, n, (layer) => history.view(layer, n - 1));
    const step = await arm.step(tokens, captureOf(hooks, [...reads, ...(patches?.(rows) ?? [])]));
    const next = this.armOn(history, n, capacity);
    for (const layer of this.executor.blocks) putRows(arm.cache, next.cache, layer, { start: n - 1, count: 1 });
    return { ...step, arm: next };
  }
}

/** Run a prompt's measurement with two rows where a probe allows it; from the start with all rows if a sample fails. */
export async function withTwoRows<T>(
  runner: StepRunner,
  probe: StepRequest | null,
  measure: () => Promise<T>,
): Promise<T> {
  if (probe) await runner.probe(probe);
  try {
    return await measure();
  } catch (error) {
    if (!(error instanceof TwoRowsFailed)) throw error;
    runner.prefillRows = 'all';
    return measure();
  }
}

function captureOf(hooks: ReadonlySet<string> = noHooks, patches: readonly Patch[] = []): Capture {
  return patches.length === 0 ? { hooks } : { hooks, patches: overlayPatches(patches) };
}

/** Put rows into a cache as they are: a faulty cache of the caller's changes what steps write, not what is put there. */
function putRows(from: KVCache, to: KVCache, layer: number, { start, count }: Rows): void {
  const source = from.view(layer, start + count);
  const target = to.view(layer, start + count);
  target.keys.set(source.keys.subarray(start * from.rowSize), start * from.rowSize);
  target.values.set(source.values.subarray(start * from.rowSize), start * from.rowSize);
}
