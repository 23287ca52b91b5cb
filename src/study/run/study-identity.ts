/** What a study is, for its manifest and its journal: equal for identical studies, without paths and times. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { ModelConfig } from '../../checkpoint/types.ts';
import { graphDigest, machineIdentity } from '../../divergence/identity.ts';
import type { Factors } from '../definition/factors.ts';
import type { ResolvedStudy } from '../definition/resolve.ts';
import type { UnitSettings } from '../unit/unit.ts';

/** What a merge reads of it. */
export interface StudyIdentity extends Record<string, unknown> {
  command: 'study';
  name: string;
  factors: Factors;
  /** Prompts of each model: how many. */
  prompts: Record<string, number>;
  settings: UnitSettings;
  template: string;
}

/** The settings that every unit shares. */
export function unitSettings({ definition, patched }: Pick<ResolvedStudy, 'definition' | 'patched'>): UnitSettings {
  const { answers, arms, maxNewTokens, ignoreEos, decodeRows, threads, temperatures } = definition;
  const { profile, patching, placebo, plant = null } = definition;
  return {
    ...{ answers, arms, maxNewTokens, ignoreEos, decodeRows, threads, temperatures },
    ...{ profile, patching: { ...patching, strategies: patched }, placebo, plant },
  };
}

/** Resolved configuration, versions, processor and digests. */
export async function studyIdentity(study: ResolvedStudy): Promise<StudyIdentity> {
  const { definition, factors, models, groups } = study;
  const { limit, template, delimiter, fewShot } = definition.prompts;
  const checkpoints: Record<string, unknown> = {};
  for (const [name, { checkpoint, prompts }] of models) {
    checkpoints[name] = {
      checkpoint: await checkpoint.sha256(),
      tokenizer: await checkpoint.tokenizerSha256(),
      prompts: sha256(
        JSON.stringify(prompts.map(({ id, tokens, continuation, gold }) => ({ id, tokens, continuation, gold }))),
      ),
    };
  }
  const graphs = groups.map(({ name, model, policy, kernels }) => {
    const { checkpoint } = models.get(model)!;
    return [name, graphDigest({ checkpoint, policy, kernels, threads: definition.threads })];
  });
  return {
    command: 'study',
    name: definition.name,
    factors,
    prompts: Object.fromEntries([...models].map(([name, { prompts }]) => [name, prompts.length])),
    ...{ limit, template, delimiter },
    fewShot:
      fewShot === undefined
        ? null
        : {
            sha256: sha256(readFileSync(fewShot.file, 'utf8')),
            count: fewShot.count ?? null,
            seed: fewShot.seed ?? null,
          },
    settings: unitSettings(study),
    ...machineIdentity(definition.threads),
    sha256: { models: checkpoints, graphs: Object.fromEntries(graphs) },
  };
}

/** The configuration of a model of a study. */
export function configOf({ factors }: StudyIdentity, model: string): ModelConfig {
  const found = factors.models.find(({ name }) => name === model);
  if (!found) throw new Error(`${model} is no model of the study`);
  return found.config;
}

function sha256(text: string): string {
  return createHash('sha256').update(text, 'utf8').digest('hex');
}
