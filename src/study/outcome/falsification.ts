/** The FP32 falsification: does single precision remove eight orders of magnitude, and in which metric? */
import { mapped, measuredRatio, verdictDraws } from '../statistics/measured.ts';
import { compare, flipped, pairedSums } from './model-evidence.ts';
import { isHalf, predictedDecades } from './precisions.ts';
import { settingOf } from './setting.ts';
import type { StudyView } from './study-view.ts';
import type { Falsification } from './types.ts';

/** Every model in every setting of half precision that has a control in single precision. */
export function falsifications(view: StudyView): Falsification[] {
  const halves = view.families().filter(({ policy }) => isHalf(policy));
  return halves
    .flatMap((family) => view.models(family))
    .flatMap((model): Falsification[] => {
      const { half, single, control } = compare(view, model, 'figures');
      if (single === null || control === null) return [];
      const [l2, kl] = (['l2Centred', 'kl'] as const).map((metric) =>
        mapped(measuredRatio(pairedSums(half, single, metric), { resamples: verdictDraws }), Math.log10),
      );
      return [
        {
          ...{ model: model.model.name, ...settingOf(model), control: control.policy.name },
          strategies: half.map(({ condition }) => condition.strategyName),
          prompts: pairedSums(half, single, 'kl').length,
          ...{ l2, kl, predicted: predictedDecades(model.policy) },
          flippedHalf: flipped(half).share,
          flippedSingle: flipped(single).share,
        },
      ];
    });
}
