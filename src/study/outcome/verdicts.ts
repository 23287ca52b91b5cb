/** All verdicts of a study: every setting of half precision, by condition, by model and over all. */
import { judgeC1 } from '../claims/c1.ts';
import { judgeC2 } from '../claims/c2.ts';
import { judgeC3 } from '../claims/c3.ts';
import { judgeC4 } from '../claims/c4.ts';
import { judgeC5 } from '../claims/c5.ts';
import { conjunction, type Finding, type Verdict } from '../claims/claim.ts';
import { c3Evidence, c4Evidence, c5Evidence } from './model-evidence.ts';
import { isHalf } from './precisions.ts';
import { settingOf } from './setting.ts';
import { type Family, type StudyView, scopeOf } from './study-view.ts';
import { c1Evidence, c2Evidence } from './text-evidence.ts';
import type { StudyVerdict, TableCell } from './types.ts';

/** The part of each claim that answers it. */
const headlines: Readonly<Record<Verdict['claim'], string>> = {
  C1: 'overall',
  C2: 'direction',
  C3: 'sole cause',
  C4: 'pattern',
  C5: 'c',
};

/** Verdicts in the order of claims within families, and families in the order of the study. */
export function studyVerdicts(view: StudyView): StudyVerdict[] {
  return view
    .families()
    .filter(({ policy }) => isHalf(policy))
    .flatMap((family) => familyVerdicts(view, family));
}

function familyVerdicts(view: StudyView, family: Family): StudyVerdict[] {
  const place = (verdict: Verdict, about: Partial<Pick<StudyVerdict, 'model' | 'condition'>> = {}): StudyVerdict => {
    const overall = about.model === undefined && about.condition === undefined;
    return {
      ...{ ...verdict, ...settingOf(family) },
      ...{ model: about.model ?? null, condition: about.condition ?? null },
      headline: overall && verdict.part === headlines[verdict.claim],
    };
  };
  const conditions = new Map(family.records.map(({ condition }) => [`condition ${condition.name}`, condition]));
  const texts = judgeC1(c1Evidence(view, family)).map((verdict) => {
    const condition = conditions.get(verdict.part);
    return place(verdict, condition && { model: condition.model.name, condition: condition.name });
  });
  const answers = judgeC2(c2Evidence(view, family)).map((verdict) => place(verdict));
  const models = view.models(family);
  const causes = models.map((model) => ({ model: model.model.name, verdicts: judgeC3(c3Evidence(view, model)) }));
  const caches = models.map((model) => ({ model: model.model.name, verdicts: judgeC5(c5Evidence(model)) }));
  const layers = judgeC4(c4Evidence(view, family)).map((verdict) => {
    const model = models.find(({ model: { name } }) => verdict.part.endsWith(`: ${name}`));
    return place(verdict, model && { model: model.model.name });
  });
  const both = (found: typeof causes) => [
    ...found.flatMap(({ model, verdicts }) => verdicts.map((verdict) => place(verdict, { model }))),
    ...overModels(found, family).map((verdict) => place(verdict)),
  ];
  return [...texts, ...answers, ...both(causes), ...layers, ...both(caches)];
}

/** A part over all models: contradicted if it is in one, supported only if it is in all. */
function overModels(found: readonly { model: string; verdicts: Verdict[] }[], family: Family): Verdict[] {
  const first = found[0]?.verdicts ?? [];
  return first.map(({ claim, part, rule }, i) => {
    const findings = found.map(({ model, verdicts }) => [model, verdicts[i].verdict] as const);
    const voided = [...new Set(family.voided.map(({ model }) => model.name))].filter(
      (name) => !findings.some(([model]) => model === name),
    );
    const open = voided.map((): Finding => 'not identifiable');
    return {
      ...{ claim, part, verdict: conjunction([...findings.map(([, finding]) => finding), ...open]) },
      rule: `${rule}; over models: contradicted if it is in one, supported only if it is in all`,
      inputs: Object.fromEntries(findings),
      scope: scopeOf(family),
    };
  });
}

/** Claims × settings: what is said over all models. */
export function verdictTable(verdicts: readonly StudyVerdict[]): TableCell[] {
  return verdicts
    .filter(({ model, condition }) => model === null && condition === null)
    .map(({ claim, part, verdict, headline, precision, kernels, padding, coupling }) => ({
      ...{ claim, part, verdict, headline, precision, kernels, padding, coupling },
    }));
}
