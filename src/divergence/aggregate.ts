/** Fold the prompts of a run, in order, into its summary. Memory grows with the number of steps, not of prompts. */
import { type StorageType, unitRoundoff } from '../numerics/types.ts';
import type { LayerRecord, PromptResult, StepRecord } from './rows.ts';
import type { DivergenceSummary, DriftRow, FlipRow, GateResult, OracleErrors, Origin, Verdict } from './summary.ts';

/** Bins of the per-layer chart. */
export const driftBins = 30;
const keptFlips = 4;

/** What the summary says that no prompt knows. */
export interface RunFacts {
  model: string;
  precision: string;
  kernels: string;
  matchedKernels: string | null;
  emulated: boolean;
  strategy: string;
  decodeRows: number;
  unit: StorageType;
  layers: number;
  /** Faults planted in the cached arm, in words. */
  planted?: readonly string[];
  /** Text of a token, null without a tokenizer. */
  tokenText: (token: number) => string | null;
}

interface DriftSums {
  squared: number[];
  count: number[];
  max: number;
  equal: number;
  addedSquared: number;
  addedCount: number;
}

/** Collects prompts and gives the summary at the end. */
export class Aggregate {
  private readonly facts: RunFacts;
  private readonly drift = new Map<string, DriftSums>();
  private readonly flips: FlipRow[] = [];
  private prompts = 0;
  private steps = 0;
  private longestSteps = 0;
  private differingSteps = 0;
  private flipCount = 0;
  private tieFlips = 0;
  private divergedPrompts = 0;
  private readonly firstFlipSteps: number[] = [];
  private readonly sums = { kl: 0, tv: 0, l2: 0, cached: 0, uncached: 0, oracle: 0 };
  private origins: Origin[] = [];
  /** Non-finite elements met in compared rows, NaN among them, and the first hook that held one. */
  readonly nonfinite: { elements: number; nan: number; hook: string | null } = { elements: 0, nan: 0, hook: null };
  private readonly spotChecks = { steps: 0, failed: 0 };

  constructor(facts: RunFacts) {
    this.facts = facts;
    for (const label of ['embed', ...Array.from({ length: facts.layers }, (_, i) => `L${i}`), 'final', 'logits']) {
      this.drift.set(label, { squared: [], count: [], max: 0, equal: 0, addedSquared: 0, addedCount: 0 });
    }
  }

  /** Flips so far, for the progress line. */
  get flipsSoFar(): number {
    return this.flipCount;
  }

  /** Add one prompt; call in the order of the prompts. */
  add(result: PromptResult): void {
    this.prompts += 1;
    this.spotChecks.steps += result.spotChecks.steps;
    this.spotChecks.failed += result.spotChecks.failed;
    if (this.origins.length === 0) this.origins = result.origins;
    this.nonfinite.elements += result.nonfinite.elements;
    this.nonfinite.nan += result.nonfinite.nan;
    this.nonfinite.hook ??= result.nonfinite.hook;
    const forced = result.steps.filter((row) => row.protocol === 'teacher-forced');
    const counted = (forced.length > 0 ? forced : result.steps).filter((row) => row.flip !== null);
    const firstFlip = counted.find((row) => row.flip);
    if (firstFlip) {
      this.divergedPrompts += 1;
      this.firstFlipSteps.push(firstFlip.step);
    }
    for (const row of counted) if (row.step > 0) this.addStep(row, result);
    this.longestSteps = Math.max(this.longestSteps, counted.length - 1);
    for (const row of result.layers) {
      if (row.step > 0) this.addLayer(row);
    }
  }

  /** The summary of everything added, with the gates' verdict. */
  summary(gates: GateResult[]): DivergenceSummary {
    const { layers, tokenText: _, planted = [], ...facts } = this.facts;
    const mean = (sum: number) => (this.steps === 0 ? 0 : sum / this.steps);
    const { oracle, cached, uncached } = this.sums;
    const errors: OracleErrors | null = oracle === 0 ? null : { cached: cached / oracle, uncached: uncached / oracle };
    return {
      ...facts,
      planted: [...planted],
      prompts: this.prompts,
      steps: this.steps,
      longestSteps: this.longestSteps,
      differingSteps: this.differingSteps,
      drift: [...this.drift].flatMap(([label, sums]) => this.driftRow(label, sums)),
      flips: this.flipCount,
      tieFlips: this.tieFlips,
      divergedPrompts: this.divergedPrompts,
      firstFlipSteps: this.firstFlipSteps.toSorted((a, b) => a - b),
      kl: mean(this.sums.kl),
      tv: mean(this.sums.tv),
      l2: mean(this.sums.l2),
      oracle: errors,
      widestFlips: this.flips,
      firstDivergence: this.origins[0] ?? null,
      origins: this.origins,
      gates,
      verdict: this.verdict(gates),
      spotChecks: this.spotChecks,
    };
  }

  private verdict(gates: GateResult[]): Verdict {
    if (gates.some((gate) => gate.class === 'harness' && !gate.passed)) return 'not-valid';
    if (this.divergedPrompts > 0) return 'tokens-differ';
    return this.differingSteps > 0 || this.origins.length > 0 ? 'bits-differ' : 'equal';
  }

  private addStep(row: StepRecord, result: PromptResult): void {
    const { logits } = row;
    this.steps += 1;
    if (row.differs) this.differingSteps += 1;
    this.sums.kl += logits.kl;
    this.sums.tv += logits.tv;
    this.sums.l2 += logits.l2Centred;
    if (row.errorCached !== null && row.errorUncached !== null) {
      this.sums.oracle += 1;
      this.sums.cached += row.errorCached;
      this.sums.uncached += row.errorUncached;
    }
    if (!row.flip) return;
    this.flipCount += 1;
    if (logits.cached.tie || logits.uncached.tie) this.tieFlips += 1;
    const side = (token: number, { margin, tie }: { margin: number; tie: boolean }) => ({
      token,
      text: this.facts.tokenText(token),
      margin,
      tie,
    });
    this.flips.push({
      promptIndex: result.index,
      prompt: result.prompt,
      step: row.step,
      uncached: side(row.tokenUncached, logits.uncached),
      cached: side(row.tokenCached, logits.cached),
    });
    const width = (flip: FlipRow) => Math.max(flip.uncached.margin, flip.cached.margin);
    this.flips.sort((a, b) => width(b) - width(a) || a.promptIndex - b.promptIndex || a.step - b.step);
    this.flips.length = Math.min(this.flips.length, keptFlips);
  }

  private addLayer(row: LayerRecord): void {
    const label = labelOf(row, this.facts.layers);
    const sums = label === null ? undefined : this.drift.get(label);
    if (!sums) return;
    const { rel_l2: drift } = row.statistics;
    sums.squared[row.step] = (sums.squared[row.step] ?? 0) + drift * drift;
    sums.count[row.step] = (sums.count[row.step] ?? 0) + 1;
    sums.max = Math.max(sums.max, drift);
    if (row.statistics.n_differ === 0) sums.equal += 1;
    if (row.added === null) return;
    sums.addedSquared += row.added * row.added;
    sums.addedCount += 1;
  }

  private driftRow(label: string, sums: DriftSums): DriftRow[] {
    const u = unitRoundoff(this.facts.unit);
    const squared: number[] = Array(driftBins).fill(0);
    const count: number[] = Array(driftBins).fill(0);
    for (let step = 1; step < sums.count.length; step++) {
      const bin = Math.min(driftBins - 1, Math.floor(((step - 1) * driftBins) / Math.max(1, this.longestSteps)));
      squared[bin] += sums.squared[step] ?? 0;
      count[bin] += sums.count[step] ?? 0;
    }
    const total = count.reduce((a, b) => a + b, 0);
    if (total === 0) return [];
    const rms = (square: number, n: number) => Math.sqrt(square / n) / u;
    return [
      {
        label,
        bins: squared.map((square, bin) => (count[bin] === 0 ? null : rms(square, count[bin]))),
        rms: rms(
          squared.reduce((a, b) => a + b, 0),
          total,
        ),
        max: sums.max / u,
        added: sums.addedCount === 0 ? null : rms(sums.addedSquared, sums.addedCount),
        equalShare: sums.equal / total,
      },
    ];
  }
}

/** Which line of the chart a hook belongs to: the residual stream after each layer, its ends, and the logits. */
function labelOf({ kind, layer }: LayerRecord, layers: number): string | null {
  if (kind === 'embed') return 'embed';
  if (kind === 'resid_post') return `L${layer}`;
  if (kind === 'ln_final.normalized' && layer === layers) return 'final';
  return kind === 'logits' ? 'logits' : null;
}
