/** Claims × settings: what a study says of each claim over all models. */
import { settingName } from '../../study/outcome/setting.ts';
import { commands, isMissing, type Missing } from './missing.ts';
import { readOutcomes, type VerdictCell } from './outcomes.ts';
import type { RunTables } from './run-tables.ts';

export interface VerdictRow {
  claim: VerdictCell['claim'];
  part: string;
  /** The part that answers the claim. */
  headline: boolean;
  /** By setting; null where the study has none. */
  verdicts: (VerdictCell['verdict'] | null)[];
}

export interface VerdictTableData {
  /** In the order of the study. */
  settings: string[];
  /** By claim, the answering part first. */
  rows: VerdictRow[];
  machine: string;
}

/** @param selection `headlines`: the answering parts alone */
export async function verdictTableData(
  run: RunTables,
  selection: { headlines?: boolean } = {},
): Promise<VerdictTableData | Missing> {
  const outcomes = await readOutcomes(run);
  if (isMissing(outcomes)) return outcomes;
  const { table, machine } = outcomes;
  if (table.length === 0)
    return { missing: 'No verdicts: the study has no condition in half precision.', command: commands.study };
  const settings = [...new Set(table.map(settingName))];
  const rows = new Map<string, VerdictRow>();
  for (const { claim, part, headline, verdict, ...setting } of table) {
    if (selection.headlines && !headline) continue;
    const key = JSON.stringify([claim, part]);
    const row = rows.get(key) ?? { claim, part, headline, verdicts: settings.map(() => null) };
    rows.set(key, row);
    row.verdicts[settings.indexOf(settingName(setting))] = verdict;
  }
  const order = (a: VerdictRow, b: VerdictRow) =>
    a.claim === b.claim ? Number(b.headline) - Number(a.headline) : a.claim < b.claim ? -1 : 1;
  return { settings, rows: [...rows.values()].sort(order), machine };
}
