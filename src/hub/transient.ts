/** Failures that may go away by themselves, and trying again. */
import { setTimeout as pause } from 'node:timers/promises';
import { RunError } from '../errors.ts';

/** A dropped or silent connection, a busy hub. */
export class TransientError extends RunError {
  /** Milliseconds the hub asks to wait. */
  readonly wait: number;

  constructor(message: string, hint: string, wait = 0) {
    super(message, hint);
    this.wait = wait;
  }
}

/** How often and how fast something is tried again. */
export interface Patience {
  /** Tries in a row that bring nothing new. */
  tries: number;
  /** Before the second try; doubles with every further one. */
  pauseMilliseconds: number;
}
export const defaultPatience: Patience = { tries: 5, pauseMilliseconds: 1000 };

/**
 * Run `attempt` until it succeeds, fails for good, or has failed `tries` times in a row without `progress` growing beyond
 * what it ever was: a server that always breaks at the same place is given up.
 */
export async function persist<T>(
  attempt: () => Promise<T>,
  { tries, pauseMilliseconds }: Patience,
  { progress = () => 0, signal }: { progress?: () => number; signal?: AbortSignal | undefined } = {},
): Promise<T> {
  let best = progress();
  for (let failures = 1; ; failures++) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof TransientError)) throw error;
      if (progress() > best) failures = 1;
      best = Math.max(best, progress());
      if (failures >= tries) throw error;
      const wait = Math.max(error.wait, pauseMilliseconds * 2 ** (failures - 1));
      // Ctrl-C ends the pause; the next attempt says so.
      await pause(wait, undefined, signal ? { signal } : {}).catch(() => {});
    }
  }
}
