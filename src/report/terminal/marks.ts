/** The glyphs that carry a judgement, and the only colour in the output. */
import pc from 'picocolors';

/** Colour functions; identity without colour. */
export interface Marks {
  good: (mark: string) => string;
  warn: (mark: string) => string;
  bad: (mark: string) => string;
  dim: (mark: string) => string;
}

/** Colours for a terminal that has them. */
export function marks(color: boolean): Marks {
  const { green, yellow, red, dim } = pc.createColors(color);
  return { good: green, warn: yellow, bad: red, dim };
}
