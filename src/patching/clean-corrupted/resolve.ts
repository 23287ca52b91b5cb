/** From a clean/corrupted spec to what one model runs: prompts, grids and the metric, checked. */
import type { Checkpoint } from '../../checkpoint/types.ts';
import { InputError, UsageError } from '../../errors.ts';
import { hasKind, hookName } from '../../graph/hooks.ts';
import { type KernelPreset, patchRefusal } from '../../graph/kernels.ts';
import { type Prompt, promptOf } from '../../study/prompts.ts';
import type { CleanCorruptedSpec, TokenOfSpec } from '../specification/clean-corrupted.ts';
import type { CleanCorruptedSubject } from '../sweep/clean-corrupted.ts';
import type { PatchTarget } from '../sweep/grid.ts';
import { klDivergence, logitDiff, logitDistance } from '../sweep/metrics.ts';
import { targetsOf } from '../sweep/targets.ts';

/** A spec made ready for a model. */
export interface ResolvedCleanCorrupted {
  spec: CleanCorruptedSpec;
  clean: Prompt;
  corrupted: Prompt;
  grids: PatchTarget[];
  metric: NonNullable<CleanCorruptedSubject['metric']>;
  /** The tokens of `logitDiff`; null for another metric. */
  pair: { answer: number; wrong: number } | null;
}

/** @throws InputError naming the field, for what does not fit the model; UsageError for what the kernel cannot patch */
export function resolveCleanCorrupted(
  spec: CleanCorruptedSpec,
  checkpoint: Checkpoint,
  kernels: KernelPreset,
): ResolvedCleanCorrupted {
  const { tokenizer, config } = checkpoint;
  const target = { tokenizer, vocabSize: config.vocabSize, maxPositions: config.maxPositions };
  const [clean, corrupted] = (['clean', 'corrupted'] as const).map((name, index) =>
    promptOf(spec[name], { id: name, index }, target, `${spec.name}: ${name}`),
  );
  if (clean.tokens.length !== corrupted.tokens.length) {
    throw new InputError(
      `${spec.name}: corrupted: found ${corrupted.tokens.length} tokens, expected ${clean.tokens.length}, as "clean" has`,
      'choose prompts that differ token by token',
    );
  }
  const grids = targetsOf(spec.grids);
  for (const { kind } of grids) checkKind(kind, spec, checkpoint, kernels);
  const pair = typeof spec.metric === 'string' ? null : tokensOf(spec.metric.logitDiff, spec, checkpoint);
  return { spec, clean, corrupted, grids, pair, metric: metricOf(spec, pair) };
}

function checkKind(kind: string, { name }: CleanCorruptedSpec, { config }: Checkpoint, kernels: KernelPreset): void {
  if (!hasKind(config, kind)) throw new UsageError(`${name}: grids: this model has no hook of kind "${kind}"`);
  const refusal = patchRefusal(kernels.prefill, hookName(kind, 0));
  if (refusal !== null) throw new UsageError(`${name}: grids: ${refusal}`);
}

function metricOf({ metric }: CleanCorruptedSpec, pair: ResolvedCleanCorrupted['pair']) {
  if (pair !== null) return () => logitDiff(pair.answer, pair.wrong);
  return metric === 'klDivergence' ? klDivergence : logitDistance;
}

function tokensOf([answer, wrong]: readonly [TokenOfSpec, TokenOfSpec], spec: CleanCorruptedSpec, of: Checkpoint) {
  const pair = {
    answer: tokenOf(answer, `${spec.name}: metric.logitDiff[0]`, of),
    wrong: tokenOf(wrong, `${spec.name}: metric.logitDiff[1]`, of),
  };
  if (pair.answer !== pair.wrong) return pair;
  throw new InputError(`${spec.name}: metric.logitDiff: found token ${pair.answer} twice, expected two tokens`);
}

/** An id, or the only token that stands for exactly this text. @throws InputError */
function tokenOf(token: TokenOfSpec, field: string, { tokenizer, config }: Checkpoint): number {
  const { vocabSize } = config;
  if (typeof token === 'number') {
    if (token < vocabSize) return token;
    throw new InputError(`${field}: found token id ${token}, expected 0 … ${vocabSize - 1}`);
  }
  const found = `${field}: found ${JSON.stringify(token)}`;
  if (!tokenizer) throw new InputError(`${found}, but the model has no tokenizer.json`, 'give a token id');
  const wanted = Buffer.from(token, 'utf8');
  const all = Array.from({ length: vocabSize }, (_, id) => id).filter((id) => {
    const bytes = tokenizer.bytes(id);
    return bytes !== null && wanted.equals(bytes);
  });
  // A vocabulary with byte fall-back has a second token for every single byte.
  const words = all.filter((id) => !/^<0x[0-9A-F]{2}>$/.test(tokenizer.token(id) ?? ''));
  const ids = words.length > 0 ? words : all;
  if (ids.length === 1) return ids[0];
  if (ids.length > 1) throw new InputError(`${found}, which several tokens stand for: ${ids.join(', ')}`, 'give an id');
  throw new InputError(
    `${found}, expected a text that is one token: it is ${pieces(token, tokenizer.encode(token), tokenizer)}`,
  );
}

/** `"T" (52), "om" (310)` */
function pieces(text: string, ids: readonly number[], tokenizer: NonNullable<Checkpoint['tokenizer']>): string {
  const shown = ids.flatMap((id) => {
    const bytes = tokenizer.bytes(id);
    return bytes === null ? [] : [`${JSON.stringify(new TextDecoder().decode(bytes))} (${id})`];
  });
  return shown.length === 0 ? `none of ${JSON.stringify(text)}` : shown.join(', ');
}
