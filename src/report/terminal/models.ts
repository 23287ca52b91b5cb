/** The list of embedded models. */
import { finish } from './gates.ts';
import { padLeft, padRight, type TerminalOptions } from './layout.ts';

/** What the list shows of a model. */
export interface ModelListing {
  name: string;
  architecture: string;
  parameters: number;
  bytes: number;
  /** Greedy accuracy on held-out problems, 0 … 1, and how many; null if not measured. */
  accuracy: { share: number; problems: number } | null;
}

/** One line per model under a header. */
export function renderModels(models: readonly ModelListing[], options: TerminalOptions): string {
  if (models.length === 0) return 'no embedded model is installed';
  const rows = [
    ['model', 'architecture', 'parameters', 'size', 'accuracy'],
    ...models.map((model) => [
      model.name,
      model.architecture,
      `${(model.parameters / 1e6).toFixed(2)} M`,
      `${(model.bytes / 1e6).toFixed(1)} MB`,
      model.accuracy === null ? '–' : `${Math.round(model.accuracy.share * 100)} % of ${model.accuracy.problems}`,
    ]),
  ];
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  const lines = rows.map((row) =>
    row.map((cell, i) => (i < 2 ? padRight(cell, widths[i]) : padLeft(cell, widths[i]))).join('  '),
  );
  return finish(lines, options);
}
