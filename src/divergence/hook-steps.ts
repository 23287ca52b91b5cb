/**
 * What the hooks of a prompt's teacher-forced steps say: rows of layers.arrow, whether a step differs, the first divergence. On
 * a tape (`model/tape.ts`) a step is seen once per stage, and what it says is collected over the stages.
 */
import { type Hook, hookName, isCacheHook } from '../graph/hooks.ts';
import { activationRecord, rowCount } from '../model/activation-rows.ts';
import type { ArmStep } from '../model/arms.ts';
import { type CaptureSets, captureSetsOf } from './capture-sets.ts';
import { type ArmAtStep, compareStep, type HookComparison, stepDiffers } from './compare.ts';
import { attribute, type LayerAttribution, layerOutputs } from './counterfactual.ts';
import { findOrigins } from './operations.ts';
import { originOf } from './origins.ts';
import type { PromptInput, PromptRunOptions } from './prompt-options.ts';
import type { ArmActivation, LayerRecord, PromptResult } from './rows.ts';
import type { Origin } from './summary.ts';

/** What one step has found so far. */
interface StepFindings {
  differs: boolean;
  /** Whether the residual stream differs where a stage hands it to the next, by hook. */
  handedOn: Map<string, boolean>;
  layers: { record: LayerRecord; asked: boolean }[];
  origins: Origin[];
  nonfinite: PromptResult['nonfinite'];
  activations: ArmActivation[];
}

/** Collects the steps of one prompt. */
export class HookSteps {
  private readonly options: PromptRunOptions;
  private readonly prompt: PromptInput;
  private readonly sets: CaptureSets;
  private readonly steps: StepFindings[] = [];

  constructor(options: PromptRunOptions, prompt: PromptInput) {
    this.options = options;
    this.prompt = prompt;
    this.sets = captureSetsOf(options);
  }

  /** What each pass captures. */
  get capture(): CaptureSets['all'] {
    return this.sets.all;
  }

  /** Compare one step's captured hooks. @param newest its newest input token */
  async add(step: number, newest: number, left: ArmAtStep, right: ArmAtStep): Promise<void> {
    const { options, sets } = this;
    const [uncached, cached] = [left.step, right.step];
    this.steps[step] ??= newFindings();
    const findings = this.steps[step];
    // Every hook, whatever was asked for: whether a step differs must not depend on what is written.
    const { slidingWindows } = options.executor.config;
    // Once an earlier step has an origin, this one is not the first, at no stage.
    const found = this.steps.slice(0, step).some(({ origins }) => origins.length > 0);
    const captured = ({ name }: Hook) => cached.activations.has(name);
    const detailed = (found ? sets.afterOrigin : sets.allHooks).filter(captured);
    const compared = compareStep(detailed, cached, uncached, slidingWindows);
    const differs =
      compared.some((item) => item.statistics.n_differ > 0) ||
      (found && stepDiffers(sets.otherCacheRows.filter(captured), cached, uncached, slidingWindows));
    findings.differs ||= differs;
    if (differs && !found) findings.origins.push(...this.origins(step, compared, cached, uncached));
    for (const { hook, statistics } of compared) {
      if (hook.definition.kind === 'embed' || hook.definition.kind === 'resid_post')
        findings.handedOn.set(hook.name, statistics.n_differ > 0);
    }
    countNonfinite(findings.nonfinite, compared);
    await this.addLayers(step, left, right, compared);
    if (options.saveActivations) this.saveActivations(step, newest, uncached, cached);
  }

  /** Whether some element of some hook differs at a step. */
  differs(step: number): boolean {
    return this.steps[step].differs;
  }

  /** Everything found, in the order of the steps. */
  conclude(): Pick<PromptResult, 'layers' | 'activations' | 'origins' | 'nonfinite'> {
    const { steps } = this;
    const first = steps.find(({ origins }) => origins.length > 0);
    const nonfinite: PromptResult['nonfinite'] = { elements: 0, nan: 0, hook: null };
    for (const step of steps) addNonfinite(nonfinite, step.nonfinite);
    return {
      // What was asked for, and the operations named as the first divergence.
      layers: steps.flatMap((step) =>
        step.layers.filter(({ asked }) => asked || step === first).map(({ record }) => record),
      ),
      activations: steps.flatMap(({ activations }) => activations),
      origins: first?.origins ?? [],
      nonfinite,
    };
  }

  /** Rows of layers.arrow: the hooks that were asked for, and those that may turn out to be the first divergence. */
  private async addLayers(
    step: number,
    uncached: ArmAtStep,
    cached: ArmAtStep,
    compared: readonly HookComparison[],
  ): Promise<void> {
    const { executor, mode, hooks } = this.options;
    const attribution = new Map<string, LayerAttribution>();
    if (step > 0 && mode !== 'free-running') {
      for (const layer of executor.blocks) {
        const outputs = await layerOutputs(executor, layer, uncached, cached);
        attribution.set(hookName('resid_post', layer), attribute(outputs));
      }
    }
    const findings = this.steps[step];
    const wanted = new Set(hooks.map((hook) => hook.name));
    const named = new Set(findings.origins.map((origin) => origin.hook));
    for (const { hook, dtype, statistics } of compared) {
      const asked = wanted.has(hook.name);
      if (!asked && !named.has(hook.name)) continue;
      const parts = attribution.get(hook.name);
      const record: LayerRecord = {
        step,
        position: cached.step.n - 1,
        layer: hook.layer,
        hook: hook.name,
        kind: hook.definition.kind,
        dtype,
        statistics,
        added: parts?.added ?? null,
        viaHistory: parts?.viaHistory ?? null,
        viaResidual: parts?.viaResidual ?? null,
      };
      findings.layers.push({ record, asked });
    }
  }

  private origins(step: number, compared: readonly HookComparison[], cached: ArmStep, uncached: ArmStep): Origin[] {
    const { prompt, steps, sets, options } = this;
    const byName = new Map(compared.map((item) => [item.hook.name, item]));
    const differs = (name: string) => {
      const item = byName.get(name);
      return item ? item.statistics.n_differ > 0 : (steps[step].handedOn.get(name) ?? null);
    };
    return findOrigins(sets.allHooks, options.executor.config, differs).map((hook) =>
      originOf({ prompt, step, compared: byName.get(hook.name)!, cached, uncached, model: options.executor.config }),
    );
  }

  private saveActivations(step: number, token: number, uncached: ArmStep, cached: ArmStep): void {
    for (const hook of this.options.hooks) {
      if (isCacheHook(hook.name)) continue;
      for (const [arm, source] of [['cached', cached] as const, ['uncached', uncached] as const]) {
        const activation = source.activations.get(hook.name);
        if (!activation) continue;
        const place = { step, position: source.n - 1, token };
        const newest = rowCount(hook, activation) - 1;
        this.steps[step].activations.push({ arm, ...activationRecord(hook, activation, newest, place) });
      }
    }
  }
}

function newFindings(): StepFindings {
  return {
    differs: false,
    handedOn: new Map(),
    layers: [],
    origins: [],
    nonfinite: { elements: 0, nan: 0, hook: null },
    activations: [],
  };
}

/** The row of every hook counts once; masked scores are −Infinity on purpose. */
function countNonfinite(total: PromptResult['nonfinite'], compared: readonly HookComparison[]): void {
  for (const { hook, statistics } of compared) {
    if (isCacheHook(hook.name)) continue;
    const elements = hook.definition.kind === 'attn.attn_scores' ? statistics.nan : statistics.nonfinite;
    addNonfinite(total, { elements, nan: statistics.nan, hook: elements > 0 ? hook.name : null });
  }
}

/** Add one count to another; the first hook keeps its name. */
export function addNonfinite(
  total: PromptResult['nonfinite'],
  { elements, nan, hook }: PromptResult['nonfinite'],
): void {
  total.elements += elements;
  total.nan += nan;
  total.hook ??= hook;
}
