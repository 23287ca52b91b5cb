/** What a thread keeps open for units that share graphs: executors of one group, and references of one model. */
import { openReference } from '../../checkpoint/expand-kv.ts';
import type { Checkpoint } from '../../checkpoint/types.ts';
import { openOracle } from '../../divergence/oracle.ts';
import { type References, referencesOf } from '../../divergence/truth-errors.ts';
import { type Hook, selectHooks } from '../../graph/hooks.ts';
import { kernelPresets } from '../../graph/kernels.ts';
import { policies } from '../../graph/rounding.ts';
import { Executor } from '../../model/executor.ts';
import { openSources } from '../../patching/run/patch-runner.ts';
import type { SavedRuns } from '../../patching/run/saved-runs.ts';
import { type ResolvedSpec, resolveSpec } from '../../patching/specification/resolve.ts';
import type { Group } from '../definition/factors.ts';
import { studySpecs } from './patch-specs.ts';
import type { UnitConfig } from './unit.ts';

/** Hooks whose drift a profiled prompt writes. */
const profileHooks = 'hook_embed,*.hook_resid_post,ln_final.hook_normalized,logits';

/** Units of one group. */
export interface GroupBench {
  group: Group;
  executor: Executor;
  oracle: Executor | null;
  /** The unrounded checkpoint in single and in double precision; null where the group is one of them. */
  references: References;
  specs: readonly { resolved: ResolvedSpec; saved: SavedRuns }[];
  /** One list for all units: sessions are found by it. */
  profileHooks: readonly Hook[];
}

interface ModelBench {
  name: string;
  checkpoint: Checkpoint;
  single: Executor;
  double: Executor;
}

/** One group at a time: units come in the order of their groups. */
export class Workbench {
  private readonly config: UnitConfig;
  private model: ModelBench | null = null;
  private bench: GroupBench | null = null;

  constructor(config: UnitConfig) {
    this.config = config;
  }

  async checkpointOf(model: string): Promise<Checkpoint> {
    return (await this.openModel(model)).checkpoint;
  }

  /** The bench of a group; another one is cleared first. */
  async of(index: number): Promise<GroupBench> {
    if (this.bench?.group.index === index) return this.bench;
    await this.clear();
    const group = this.config.groups[index];
    const { checkpoint, single, double } = await this.openModel(group.model);
    const { policy, kernels } = group;
    const executor = new Executor({ checkpoint, policy, kernels, threads: this.config.settings.threads });
    const specs = [];
    for (const spec of studySpecs(this.config.settings.patching)) {
      const resolved = resolveSpec(spec, checkpoint.config, kernels);
      specs.push({ resolved, saved: await openSources(executor, resolved, []) });
    }
    this.bench = {
      ...{ group, executor, specs, oracle: openOracle(executor) },
      profileHooks: selectHooks(profileHooks, checkpoint.config),
      references: referencesOf(policy, { single, double }),
    };
    return this.bench;
  }

  async close(): Promise<void> {
    await this.clear();
    await this.model?.single.release();
    await this.model?.double.release();
    this.model = null;
  }

  private async clear(): Promise<void> {
    const { bench } = this;
    this.bench = null;
    await bench?.executor.release();
    await bench?.oracle?.release();
  }

  private async openModel(name: string): Promise<ModelBench> {
    if (this.model?.name === name) return this.model;
    await this.close();
    const checkpoint = await openReference(this.config.models[name]);
    const common = { checkpoint, kernels: kernelPresets.ort, threads: this.config.settings.threads };
    this.model = {
      ...{ name, checkpoint },
      single: new Executor({ ...common, policy: policies.fp32 }),
      double: new Executor({ ...common, policy: policies.fp64 }),
    };
    return this.model;
  }
}
