/** Tokens as axis labels. */
import type { Model } from '../../model/model.ts';

/** A token as one sees it, with blanks and line ends made visible; its id where there is no tokenizer. */
export function tokenLabel({ checkpoint: { tokenizer } }: Pick<Model, 'checkpoint'>, id: number): string {
  const bytes = tokenizer?.bytes(id);
  if (!bytes) return tokenizer?.token(id) ?? String(id);
  return new TextDecoder().decode(bytes).replaceAll(' ', '␣').replaceAll('\n', '⏎').replaceAll('\t', '⇥');
}
