/** What a study patches: the 2×2 of history and kernel, and the residual stream of every layer. */
import { type ArmsSpec, armsSpec, parsePatchSpec } from '../../patching/specification/spec.ts';

/** The specs of a study, by the names that its verdicts look for. */
export function studySpecs({ every }: { every: number }): ArmsSpec[] {
  const steps = { every };
  const spec = (fields: object) => armsSpec(parsePatchSpec({ experiment: 'arms', steps, ...fields }, 'study'));
  return [
    spec({ name: 'two-by-two', history: ['cached', 'recomputed'], kernel: ['decode', 'prefill'] }),
    spec({ name: 'residual', patches: [{ hook: '*.hook_resid_pre,*.hook_resid_post' }] }),
  ];
}
