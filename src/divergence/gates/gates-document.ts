/** The gates as a Markdown table, from their one definition. */
import { gates } from './index.ts';

/** Name, class, claim and the faults that fail each gate. */
export function gatesMarkdown(): string {
  const rows = gates.map((gate) => `| ${gate.name} | ${gate.class} | ${gate.claim} | ${gate.failing.join('; ')} |`);
  return ['| gate | class | claim | fails, for example, on |', '|---|---|---|---|', ...rows, ''].join('\n');
}
