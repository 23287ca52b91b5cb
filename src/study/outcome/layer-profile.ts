/** What each layer's kernel adds by itself, and how it is spread over the layers. */
import { bootstrap } from '../../numerics/bootstrap.ts';
import { quantile } from '../../numerics/quantile.ts';
import { verdictDraws, withInterval } from '../statistics/measured.ts';
import { settingOf } from './setting.ts';
import { byPrompt, type ModelRecords } from './study-view.ts';
import type { LayerProfile, Measured } from './types.ts';

/** Σ of added error and steps of one prompt, by layer. */
interface PromptLayers {
  added: number[];
  steps: number[];
}

/** The profile of a model's blocks over its profiled prompts, all strategies; null where nothing was measured. */
export function layerProfile(model: ModelRecords): LayerProfile | null {
  const layers = new Set<number>();
  for (const { prompts } of model.records) {
    for (const prompt of prompts) {
      for (const { layer, added } of prompt.layers ?? []) if (added !== null) layers.add(layer);
    }
  }
  const blocks = [...layers].sort((a, b) => a - b);
  if (blocks.length === 0) return null;
  const zeros = () => blocks.map(() => 0);
  const sums = byPrompt(
    model.records,
    (): PromptLayers => ({ added: zeros(), steps: zeros() }),
    (total, { layers: own }) => {
      for (const { layer, added, steps } of own ?? []) {
        const at = blocks.indexOf(layer);
        if (added === null || at < 0) continue;
        total.added[at] += added;
        total.steps[at] += steps;
      }
    },
  );
  const prompts = [...sums.values()].filter(({ steps }) => steps.some((count) => count > 0));
  if (prompts.length === 0) return null;
  const { name, family } = model.model;
  return {
    ...{ model: name, family, ...settingOf(model), prompts: prompts.length },
    added: means(prompts, null, blocks.length).map((mean, i) => ({
      layer: blocks[i],
      mean: Number.isFinite(mean) ? mean : null,
    })),
    sharpness: spread(prompts, blocks.length, sharpness),
    unevenness: spread(prompts, blocks.length, unevenness),
  };
}

/** S = a_0 / median of a_l, l ≥ 1; null where that median is 0 or there is one layer. */
export function sharpness([first, ...rest]: readonly number[]): number | null {
  return over(first, rest);
}

/** U = max a / median a; null where the median is 0. */
export function unevenness(added: readonly number[]): number | null {
  return over(Math.max(...added), added);
}

function over(top: number, layers: readonly number[]): number | null {
  const median = layers.length === 0 ? 0 : quantile(layers, 0.5);
  return median > 0 && Number.isFinite(top / median) ? top / median : null;
}

/** a_l: Σ added / Σ steps of the prompts drawn, or of all. */
function means(prompts: readonly PromptLayers[], drawn: Uint32Array | null, layers: number): number[] {
  const added = new Float64Array(layers);
  const steps = new Float64Array(layers);
  const count = drawn?.length ?? prompts.length;
  for (let i = 0; i < count; i++) {
    const own = prompts[drawn ? drawn[i] : i];
    for (let layer = 0; layer < layers; layer++) {
      added[layer] += own.added[layer];
      steps[layer] += own.steps[layer];
    }
  }
  return Array.from(added, (sum, layer) => (steps[layer] > 0 ? sum / steps[layer] : 0));
}

/** A statistic of the profile, by prompt. A draw in which it is not defined leaves no interval: it could be anything. */
function spread(
  prompts: readonly PromptLayers[],
  layers: number,
  statistic: (added: readonly number[]) => number | null,
): Measured | null {
  const value = statistic(means(prompts, null, layers));
  if (value === null) return null;
  let undefinedDraws = 0;
  const drawn = (units: Uint32Array) => {
    const found = statistic(means(prompts, units, layers));
    if (found === null) undefinedDraws += 1;
    return found;
  };
  const interval = bootstrap(prompts.length, drawn, { resamples: verdictDraws });
  return withInterval(value, undefinedDraws > 0 ? null : interval);
}
