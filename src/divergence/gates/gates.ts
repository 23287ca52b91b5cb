/** The gates, as data, in the order they are listed everywhere. */
import { alignment } from './alignment.ts';
import { batchThreads } from './batch-threads.ts';
import { canary } from './canary.ts';
import { finite } from './finite.ts';
import { fullPatch } from './full-patch.ts';
import type { Gate } from './gate.ts';
import { noOp } from './no-op.ts';
import { nullControl } from './null.ts';
import { observer } from './observer.ts';
import { prefix } from './prefix.ts';
import { provenance } from './provenance.ts';
import { repeat } from './repeat.ts';
import { residual } from './residual.ts';

/** Every gate. */
export const gates: readonly Gate[] = [
  repeat,
  alignment,
  canary,
  provenance,
  noOp,
  nullControl,
  fullPatch,
  prefix,
  observer,
  finite,
  residual,
  batchThreads,
];
