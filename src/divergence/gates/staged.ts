/**
 * The gates of a model that runs stage by stage: each is begun once, shown the stages it asks for, and concluded at the end.
 *
 * Gates that look at every stage share one executor with the run, so that a stage is loaded once. Those that need further
 * graphs of a stage see the embedding and block 0, on executors of their own; their scope says so.
 */
import { Executor, type ExecutorOptions } from '../../model/executor.ts';
import type { SessionHost } from '../../model/session-host.ts';
import { Tape } from '../../model/tape.ts';
import { firstStages, type GateResult } from '../summary.ts';
import { findAudit } from './audit-cache.ts';
import { prepareContext } from './context.ts';
import type { AuditRecord, Gate, GateContext, GateSubject } from './gate.ts';
import { gates } from './gates.ts';
import { begin, type Measured, resultOf } from './measure.ts';

/** What a gate of scope `first` sees last. */
const lastOfFirst = 0;

export class StagedGates {
  private readonly subject: GateSubject;
  private readonly audited: AuditRecord | null;
  private readonly under = new Map<Gate, Measured>();
  private readonly openers = new Map<Gate, StagedOpener>();

  private readonly host: SessionHost | null;

  private constructor(subject: GateSubject, audited: AuditRecord | null, host: SessionHost | null) {
    this.subject = subject;
    this.audited = audited;
    this.host = host;
  }

  /**
   * @param subject its continuation must be as long as the steps the gates look at: passes may not choose tokens
   * @param host threads for the graphs of gates that look alone
   */
  static async begin(subject: GateSubject, host: SessionHost | null): Promise<StagedGates> {
    const { continuation = [], maxSteps = 8 } = subject;
    const steps = Math.min(maxSteps, continuation.length);
    return new StagedGates({ ...subject, maxSteps: steps }, await findAudit(subject), host);
  }

  /** Show a stage to the gates that use graphs of their own. */
  async observeAlone(stage: number): Promise<void> {
    for (const gate of gates) {
      if (gate.stages === 'first' && stage <= lastOfFirst) await this.showAlone(gate, stage);
      else if (gate.stages === 'none' && stage === -1) await this.showWhole(gate);
    }
  }

  /** Show the others the stage that the tape of the run's executor is at. */
  async observe(executor: Executor): Promise<void> {
    const context = await prepareContext({ ...this.subject, open: () => executor }, 'run', this.audited);
    // Asked for at once, so that the thread that computes them goes on while they are compared.
    const honest = Promise.all(context.lengths.map((n) => context.honest(n)));
    honest.catch(() => undefined);
    for (const gate of gates) if (gate.stages === 'each') await this.show(gate, context);
    await honest;
  }

  /** The results of all gates, in their order. */
  conclude(): GateResult[] {
    return gates.map((gate) => {
      const measured = this.under.get(gate);
      if (!measured) throw new Error(`gate ${gate.name} saw no stage`);
      const result = resultOf(measured);
      const partial = gate.stages === 'first' && result.status !== 'not-applicable';
      return partial ? { ...result, scope: `${result.scope}; ${firstStages}` } : result;
    });
  }

  private async show(gate: Gate, context: GateContext): Promise<void> {
    const known = this.under.get(gate) ?? begin(gate, context);
    this.under.set(gate, known);
    await known.observation?.observe(context);
  }

  /** On executors of its own, one after the other in the same order at every stage. */
  private async showAlone(gate: Gate, stage: number): Promise<void> {
    const opener = this.openers.get(gate) ?? new StagedOpener(this.subject, this.host);
    this.openers.set(gate, opener);
    opener.begin(stage);
    const context = await prepareContext({ ...this.subject, open: opener.open }, 'run', this.audited);
    try {
      await this.show(gate, context);
    } finally {
      await context.executor.release();
    }
  }

  private async showWhole(gate: Gate): Promise<void> {
    const context = await prepareContext(this.subject, 'run', this.audited);
    try {
      await this.show(gate, context);
    } finally {
      await context.executor.release();
    }
  }
}

/** Opens executors with a tape each: the k-th one opened at a stage goes on where the k-th one was at the stage before. */
class StagedOpener {
  private readonly subject: GateSubject;
  private readonly tapes: Tape[] = [];
  private stage = -1;
  private opened = 0;
  private readonly host: SessionHost | null;

  constructor(subject: GateSubject, host: SessionHost | null) {
    this.subject = subject;
    this.host = host;
  }

  begin(stage: number): void {
    this.stage = stage;
    this.opened = 0;
  }

  readonly open = (overrides?: Partial<ExecutorOptions>): Executor => {
    const { checkpoint, policy, kernels, threads } = this.subject;
    const at = this.opened++;
    const tape = this.tapes[at] ?? new Tape(checkpoint.config.layers);
    this.tapes[at] = tape;
    tape.begin(this.stage);
    const threaded = this.host === null ? {} : { host: this.host, lane: at };
    const options = { checkpoint, policy, kernels, threads, ...threaded, ...overrides, tape };
    return this.subject.open?.(options) ?? new Executor(options);
  };
}
