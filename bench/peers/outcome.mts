/** What paired measurements say, and how it is shown. */
import { median } from '../statistics.mts';

/** One comparison, measured. */
export interface Outcome {
  model: string;
  case: string;
  peer: string;
  threads: number;
  /** Seconds of every timed run, in pairs: kvlens's, and the peer's right after it. */
  kvlens: number[];
  other: number[];
  /** What one run is divided into for show: decode steps; 1 elsewhere. */
  parts: number;
  target: number | null;
  /** Largest relative difference of the two results. */
  difference: number;
  /** Tensors and bytes that each keeps. */
  kept: { kvlens: Kept; other: Kept };
  versions: Record<string, string>;
  notes: string[];
}

type Kept = { tensors: number; bytes: number } | null;

export interface Ratio {
  median: number;
  least: number;
  most: number;
}

/** The peer's time over kvlens's, so that more than 1 is kvlens's lead: the median of the paired ratios, and the extremes. */
export function ratioOf({ kvlens, other }: Pick<Outcome, 'kvlens' | 'other'>): Ratio {
  if (kvlens.length !== other.length || kvlens.length === 0)
    throw new Error(`found ${kvlens.length} and ${other.length} times, expected pairs`);
  const ratios = other.map((seconds, i) => seconds / kvlens[i]);
  return { median: median(ratios), least: Math.min(...ratios), most: Math.max(...ratios) };
}

/** Whether the median ratio reaches the target; null without one. */
export function isMet(outcome: Pick<Outcome, 'kvlens' | 'other' | 'target'>): boolean | null {
  return outcome.target === null ? null : ratioOf(outcome).median >= outcome.target;
}

const digits = (x: number) => x.toFixed(x >= 100 ? 0 : x >= 10 ? 1 : 2);
const duration = (seconds: number) => (seconds >= 1 ? `${digits(seconds)} s` : `${digits(seconds * 1000)} ms`);
const megabytes = (kept: Kept) => (kept === null ? '–' : (kept.bytes / 1e6).toFixed(1));

/** A Markdown table, a row per comparison; `ratio` is the other's time over kvlens's. */
export function table(outcomes: readonly Outcome[]): string {
  const rows = outcomes.map((outcome) => {
    const { median: middle, least, most } = ratioOf(outcome);
    const met = isMet(outcome);
    const cells = [
      ...[outcome.model, outcome.case, outcome.peer, String(outcome.threads)],
      duration(median(outcome.kvlens) / outcome.parts),
      duration(median(outcome.other) / outcome.parts),
      `**${digits(middle)}**`,
      `${digits(least)}–${digits(most)} (${outcome.kvlens.length})`,
      `${megabytes(outcome.kept.kvlens)} / ${megabytes(outcome.kept.other)}`,
      met === null ? '' : `≥ ${outcome.target}: ${met ? 'met' : 'missed'}`,
    ];
    return `| ${cells.join(' | ')} |`;
  });
  const head = [
    ...['model', 'case', 'against', 'threads', 'kvlens', 'the other', 'ratio', 'spread (pairs)'],
    ...['MB kept, kvlens / other', 'target'],
  ];
  return [`| ${head.join(' | ')} |`, `|${' --- |'.repeat(head.length)}`, ...rows].join('\n');
}
