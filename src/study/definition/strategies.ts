/** Strategies of a study: by name or as numbers, and how each is named. */
import { InputError } from '../../errors.ts';
import { type Strategy, strategyName } from '../../model/sampling/index.ts';
import type { Coupling } from './condition.ts';
import type { StudyDefinition } from './schema.ts';

type StrategyEntry = StudyDefinition['strategies'][number];

export interface StudyStrategy {
  /** `greedy`, `t0.7-p0.9`, `t1.0-k50-inverse-cdf`, `t1.0-unkeyed`. */
  name: string;
  strategy: Strategy;
  coupling: Coupling;
}

const namePattern = /^t(\d+(?:\.\d+)?)(?:-k(\d{1,9}))?(?:-p(\d+(?:\.\d+)?))?(-inverse-cdf)?(-unkeyed)?$/;

/**
 * A strategy of a study.
 * @param source names the file in errors
 * @throws InputError for a name that is none
 */
export function resolveStudyStrategy(entry: StrategyEntry, seed: number, source: string): StudyStrategy {
  const options = typeof entry === 'string' ? optionsOf(entry, source) : entry;
  if (options === null || options.temperature === 0) {
    return { name: 'greedy', strategy: { kind: 'greedy' }, coupling: 'keyed' };
  }
  const { temperature, topK = null, topP = null, sampler, coupling } = options;
  const strategy: Strategy = { kind: 'sample', temperature, topK, topP, seed, sampler };
  const parts = [strategyName(strategy)];
  if (sampler === 'inverse-cdf') parts.push('inverse-cdf');
  if (coupling === 'independent') parts.push('unkeyed');
  return { name: parts.join('-'), strategy, coupling };
}

function optionsOf(name: string, source: string): Exclude<StrategyEntry, string> | null {
  if (name === 'greedy') return null;
  const [, temperature, topK, topP, inverse, unkeyed] = namePattern.exec(name) ?? [];
  const valid =
    temperature !== undefined &&
    Number.isFinite(Number(temperature)) &&
    (topK === undefined || Number(topK) >= 1) &&
    (topP === undefined || (Number(topP) > 0 && Number(topP) <= 1));
  if (!valid) {
    throw new InputError(
      `${source}: strategies: found ${JSON.stringify(name)}, expected greedy, or t and a temperature, then -k and a top-k, -p and a top-p, -inverse-cdf, -unkeyed`,
      'for example t0.7-p0.9 or t1.0-k50-unkeyed',
    );
  }
  return {
    temperature: Number(temperature),
    ...(topK === undefined ? {} : { topK: Number(topK) }),
    ...(topP === undefined ? {} : { topP: Number(topP) }),
    sampler: inverse === undefined ? 'gumbel' : 'inverse-cdf',
    coupling: unkeyed === undefined ? 'keyed' : 'independent',
  };
}
