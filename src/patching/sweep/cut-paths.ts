/** What holds of a clean/corrupted cell whatever the model is. */
import type { Cell } from './cells.ts';

/**
 * True if every path from a differing token to the last row's logits passes through the cell, so that the clean run's logits
 * follow whatever the model is. Before block 0 the rows of differing tokens differ; after a block every later row may, and
 * K/V rows were read from all of them. Paths leave the residual stream only in between, so only it can be cut.
 */
export function cutsEveryPath(
  { hook, at }: Cell,
  differing: readonly number[],
  length: number,
  layers: number,
): boolean {
  const { kind } = hook.definition;
  if (!['resid_pre', 'resid_mid', 'resid_post'].includes(kind) || at.d_model !== undefined) return false;
  if (differing.length === 0 || at.pos === undefined) return true;
  // Behind the last block only the row that is read counts.
  const isLast = hook.layer === layers - 1 && kind !== 'resid_pre';
  if (isLast) return at.pos === length - 1;
  if (hook.layer === 0 && kind === 'resid_pre') return differing.every((position) => position === at.pos);
  return at.pos === length - 1 && Math.min(...differing) === length - 1;
}
