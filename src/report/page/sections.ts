/** The page's sections: each is a question, and the figures that answer it. */
import type { FigureName } from '../catalogue.ts';

export interface SectionDefinition {
  id: string;
  question: string;
  /** What the reader looks at, in two sentences. */
  about: string;
  figures: readonly { name: FigureName; width: 'whole' | 'half' }[];
  /** Of studies alone. */
  study?: true;
}

export const sections: readonly SectionDefinition[] = [
  {
    id: 'claims',
    question: 'What does the study say of each claim?',
    about:
      'Rules were fixed before running. “Not identifiable” says that the numbers or the gates do not decide, and is no verdict for either side.',
    figures: [
      { name: 'verdict-table', width: 'whole' },
      { name: 'accuracy', width: 'whole' },
    ],
    study: true,
  },
  {
    id: 'where',
    question: 'Where does it start, and how does it spread?',
    about:
      'Both arms read the same tokens. Hatched cells are equal to the bit; colour counts roundings. The black line is the first operation that differs in each step.',
    figures: [
      { name: 'thumbnails', width: 'whole' },
      { name: 'drift-map', width: 'whole' },
      { name: 'first-operation', width: 'whole' },
      { name: 'inherited-added', width: 'whole' },
      { name: 'cache-map', width: 'whole' },
    ],
  },
  {
    id: 'text',
    question: 'When does it reach the text?',
    about:
      'A step picks another token when the difference exceeds the gap between its two best ones. Elsewhere drift changes no word.',
    figures: [
      { name: 'margin-drift', width: 'half' },
      { name: 'survival', width: 'half' },
      { name: 'token-flow', width: 'whole' },
      { name: 'flip-prediction', width: 'whole' },
      { name: 'temperature', width: 'whole' },
    ],
  },
  {
    id: 'cause',
    question: 'What carries it: the cache or the kernel?',
    about:
      'Two things differ between the arms, so each is switched by itself: the history, which is the K/V rows a step reads, and the kernel, which is how the step is computed. With both replaced the difference must be exactly 0.',
    figures: [
      { name: 'two-by-two', width: 'whole' },
      { name: 'recovery', width: 'whole' },
      { name: 'patch-map', width: 'whole' },
    ],
  },
  {
    id: 'precision',
    question: 'Is it the precision, and is either arm right?',
    about:
      'Drift that rounding makes grows with the unit roundoff, and the KL divergence with its square. The float64 oracle has the same rounded weights, so that an error is what arithmetic adds.',
    figures: [
      { name: 'precision-ladder', width: 'whole' },
      { name: 'oracle', width: 'whole' },
    ],
  },
];
