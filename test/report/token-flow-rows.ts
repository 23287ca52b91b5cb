/** Made-up texts of two arms as the tables of a run. */
import type { RunTables } from '../../src/report/data/run-tables.ts';
import { type GivenRow, tablesOfRows } from './tables-of-rows.ts';

export interface Texts {
  uncached: readonly string[];
  cached: readonly string[];
}

export interface FlowOptions {
  condition?: GivenRow;
  prompt?: string;
  /** Of the row of the flip. */
  flip?: GivenRow;
  /** Candidates of every step and arm; default those of a greedy arm. Null: no candidates.arrow. */
  candidates?: ((arm: 'uncached' | 'cached', step: number, text: string) => [string, number][]) | null;
  /** Ids without texts. */
  tokenizer?: boolean;
  promptText?: readonly string[];
}

const greedy = (_: string, __: number, text: string): [string, number][] => [
  [text, 0.5],
  ['and', 0.25],
];

/** Rows as `kvlens diverge` writes them: both protocols, steps up to the shorter text, candidates of each arm to its end. */
export function flowRows(texts: Texts, options: FlowOptions = {}) {
  const { condition = {}, prompt = 'p', flip = {}, candidates = greedy, tokenizer = true } = options;
  const { promptText = ['Tom', ' eats', '?', '\n'] } = options;
  const vocabulary = new Map<string, number>();
  const id = (text: string) => {
    if (!vocabulary.has(text)) vocabulary.set(text, 10 + vocabulary.size);
    return vocabulary.get(text)!;
  };
  const common = Math.min(texts.uncached.length, texts.cached.length);
  const parts = texts.uncached.findIndex((text, i) => i < common && text !== texts.cached[i]);
  const key = { condition: 'c', prompt };
  const stepRow = (protocol: string, step: number): GivenRow => {
    const own = protocol === 'free-running' ? texts.cached[step] : texts.uncached[step];
    const cached = step === parts ? texts.cached[step] : own;
    return {
      ...{ ...key, protocol, step, token_uncached: id(texts.uncached[step]), token_cached: id(cached) },
      ...{ flip: protocol === 'free-running' && parts >= 0 && step > parts ? null : step === parts, margin_choice: 1 },
      ...(step === parts ? flip : {}),
    };
  };
  const steps = [
    ...texts.uncached.map((_, step) => stepRow('teacher-forced', step)),
    ...Array.from({ length: common }, (_, step) => stepRow('free-running', step)),
  ];
  const rows = (['uncached', 'cached'] as const).flatMap((arm) =>
    texts[arm].map((text, step) => {
      const found = candidates?.(arm, step, text) ?? [];
      const [tokens, probabilities] = [found.map(([each]) => id(each)), found.map(([, share]) => share)];
      return { ...key, arm, step, token: id(text), tokens, probabilities };
    }),
  );
  const prompts = [
    { prompt, index: 99, tokens: [1], model: 'another' },
    { prompt, index: 6, tokens: promptText.map(id), model: 'mini' },
  ];
  const encoder = new TextEncoder();
  const vocab = [...vocabulary].map(([text, own]) => ({
    id: own,
    model: 'mini',
    bytes: encoder.encode(text),
    string: text,
  }));
  return {
    id,
    tables: {
      conditions: [
        { condition: 'c', model: 'mini', precision: 'bf16', kernels: 'ort', strategy: 'greedy', ...condition },
      ],
      ...{ prompts, steps, vocab: tokenizer ? vocab : vocab.map(({ id, model }) => ({ id, model })) },
      ...(candidates === null ? {} : { candidates: rows }),
    },
  };
}

export function flowRun(texts: Texts, options: FlowOptions = {}): RunTables {
  return tablesOfRows(flowRows(texts, options).tables);
}

export const words = (text: string): string[] => text.match(/ ?[^ ]+/g) ?? [];

/** The texts part at ` red`, and end alike, one of them a token later. */
export const parting: Texts = {
  uncached: words('She has a red ball and she likes it .'),
  cached: words('She has a big old ball and she likes it . End'),
};
