/**
 * Progress on stderr for what takes longer than two seconds: units done, rate, estimate. One refreshing line on a
 * terminal, a line every few seconds otherwise.
 */
import { displayWidth } from '../report/terminal/layout.ts';
import { formatBytes, formatCount } from '../report/terminal/numbers.ts';
import type { Io } from './io.ts';

/** How far a command is. */
export interface ProgressState {
  /** What is going on, for example `stories260K`. */
  label: string;
  done: number;
  /** Null while it is not known. */
  total: number | null;
  /** Plural noun of what is counted; bytes are shown as MB or GB. */
  unit: string;
  /** What was done before this began: no part of the rate. */
  from?: number;
  /** Said at the end of the line, for example `3 flips`. */
  note?: string;
}

/** Nothing is shown before. */
const quietMilliseconds = 2000;
const refreshMilliseconds = 100;
const lineMilliseconds = 5000;

/** Shows the states it is told, not too often. */
export class Progress {
  private readonly io: Io;
  private readonly quiet: boolean;
  private readonly now: () => number;
  private readonly started: number;
  private shown = Number.NEGATIVE_INFINITY;
  private onLine = false;
  /** Rates count from the first state of a label. */
  private phase = { label: '', since: 0 };

  constructor(io: Io, quiet: boolean, now: () => number = () => performance.now()) {
    this.io = io;
    this.quiet = quiet;
    this.now = now;
    this.started = now();
  }

  /** Say how far the command is. */
  update(state: ProgressState): void {
    if (state.label !== this.phase.label) this.phase = { label: state.label, since: this.now() };
    this.show(progressLine(state, (this.now() - this.phase.since) / 1000));
  }

  private show(line: string): void {
    const elapsed = this.now() - this.started;
    const interval = this.io.progressColumns === null ? lineMilliseconds : refreshMilliseconds;
    if (this.quiet || elapsed < quietMilliseconds || elapsed - this.shown < interval) return;
    this.shown = elapsed;
    if (this.io.progressColumns === null) {
      this.io.err(`${line}\n`);
      return;
    }
    this.io.err(`\r\x1b[K${clip(line, this.io.progressColumns - 1)}`);
    this.onLine = true;
  }

  /** Say every so often that something without units is still going on; returns what ends that. */
  waiting(label: string): () => void {
    const started = this.now();
    const timer = setInterval(() => this.show(`${label}  ${duration((this.now() - started) / 1000)}`), 1000);
    return () => {
      clearInterval(timer);
      this.end();
    };
  }

  /** Remove the line, so that what follows starts on a clean one. */
  end(): void {
    if (this.onLine) this.io.err('\r\x1b[K');
    this.onLine = false;
  }
}

/** `stories260K  12/40 prompts (30 %)  3.1/s  9 s left  2 flips` */
export function progressLine(state: ProgressState, seconds: number): string {
  const { label, done, total, unit, from = 0, note } = state;
  const parts = [label];
  const share = total !== null && total > 0 ? ` (${Math.floor((100 * done) / total)} %)` : '';
  const isBytes = unit === 'bytes';
  const amount = (count: number) => (isBytes ? formatBytes(count) : formatCount(count));
  const counted = total === null ? amount(done) : `${amount(done)}/${amount(total)}`;
  parts.push(`${counted}${isBytes ? '' : ` ${unit}`}${share}`);
  // The first unit says little about the rate.
  const rate = seconds >= 0.5 ? (done - from) / seconds : 0;
  if (rate > 0) parts.push(isBytes ? `${formatBytes(rate)}/s` : perSecond(rate));
  if (rate > 0 && total !== null && done < total) parts.push(`${duration((total - done) / rate)} left`);
  if (note !== undefined) parts.push(note);
  return parts.join('  ');
}

/** `3.1/s`, `120/s`; slower than one a second: `14 s each`. */
function perSecond(rate: number): string {
  return rate >= 1 ? `${Number(rate.toPrecision(2))}/s` : `${duration(1 / rate)} each`;
}

/** `9 s`, `4 min`, `1 h 05 min` */
export function duration(seconds: number): string {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  const minutes = Math.ceil(seconds / 60);
  return minutes < 90 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, '0')} min`;
}

function clip(text: string, columns: number): string {
  let clipped = text;
  while (displayWidth(clipped) > columns) clipped = clipped.slice(0, -1);
  return clipped;
}
