import type { StudyResult } from '../study/run/publish.ts';
export function studyResult(found: StudyResult, run: string): any {
  const failed = [...new Set(found.gates.filter((g) => !g.passed).map((g) => `${g.group}:${g.name}`))];
  return {
    run,
    name: found.name,
    units: found.units,
    conditions: found.outcome?.conditions ?? [],
    verdicts: found.outcome?.verdicts ?? [],
    gates: { passed: failed.length === 0, failed },
  };
}
