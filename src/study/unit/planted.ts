/** Which prompts of a study a fault is planted in: drawn from their ids, so that shards and limits agree. */
import { RandomStream } from '../../numerics/random.ts';

/** True for about `share` of all ids. */
export function isPlanted(prompt: string, share: number): boolean {
  return new RandomStream(0, `planted ${prompt}`).uniform() < share;
}
