/** What conditions that are judged together share: how they compute, and what makes texts differ beside the cache. */
import type { Condition, Coupling } from '../definition/condition.ts';

export interface Setting {
  precision: string;
  kernels: string;
  /** Rows of left padding of the cached arm. */
  padding: number;
  coupling: Coupling;
}

/** By the names that outcomes use. */
export function settingOf(condition: Pick<Condition, 'policy' | 'kernels' | 'padding' | 'coupling'>): Setting {
  const { policy, kernels, padding, coupling } = condition;
  return { precision: policy.name, kernels: kernels.name, padding, coupling };
}

/** `fp16 · ort`, with `· pad 7` and `· unkeyed` where the arms differ in more than the cache. Unique to the setting. */
export function settingName({
  precision,
  kernels,
  padding,
  coupling,
}: Omit<Setting, 'coupling'> & { coupling: string }): string {
  const more = [...(padding > 0 ? [`pad ${padding}`] : []), ...(coupling === 'independent' ? ['unkeyed'] : [])];
  return [precision, kernels, ...more].join(' · ');
}
