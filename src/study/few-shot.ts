/** Worked examples before a question. */
import { InputError } from '../errors.ts';
import { RandomStream } from '../numerics/random.ts';
import { readLines } from './prompt-lines.ts';
import { parseRecord } from './prompt-record.ts';

export interface FewShotOptions {
  /** Turns a question into a prompt. */
  template: string;
  /** File of worked examples, or null. */
  fewShot: string | null;
  /** Between a question and its answer. Default none. */
  targetDelimiter?: string;
  /** How many examples, never the question itself. Default all of the file, whatever is asked. */
  fewShotCount?: number;
  /** Draw them anew for each prompt, by its id. Default the first ones. */
  fewShotSeed?: number;
}

interface Example {
  question: string;
  answer: string;
}

/** Between two examples, and before the question. */
const exampleDelimiter = '\n\n';

/** The worked examples of a run, read once. */
export class FewShot {
  private readonly options: FewShotOptions;
  private readonly examples: Example[];

  /** @throws InputError for a file without examples, with fewer than asked for, or with a line that is none. */
  constructor(options: FewShotOptions) {
    this.options = options;
    this.examples = options.fewShot === null ? [] : readExamples(options.fewShot);
  }

  /** The prompt of a question: examples, then the question in their template. @param id of the prompt */
  prompt(question: string, id: string): string {
    const { template, targetDelimiter = '' } = this.options;
    const worked = this.chosen(question, id).map(
      (example) => fillTemplate(template, example.question) + targetDelimiter + example.answer + exampleDelimiter,
    );
    return worked.join('') + fillTemplate(template, question);
  }

  private chosen(question: string, id: string): Example[] {
    const { fewShot, fewShotCount, fewShotSeed } = this.options;
    if (fewShot === null || fewShotCount === undefined) return this.examples;
    const others = this.examples.filter((example) => example.question !== question);
    if (others.length < fewShotCount) {
      throw new InputError(
        `${fewShot}: found ${others.length} worked examples beside the question, expected at least ${fewShotCount}`,
      );
    }
    if (fewShotSeed === undefined) return others.slice(0, fewShotCount);
    const order = new RandomStream(fewShotSeed, `few-shot ${id}`).permutation(others.length);
    return order.slice(0, fewShotCount).map((at) => others[at]);
  }
}

function readExamples(file: string): Example[] {
  const examples: Example[] = [];
  for (const { number, text } of readLines(file)) {
    const where = `${file}:${number}`;
    const { question, answer } = parseRecord(text, where);
    if (question === null || answer === null) {
      throw new InputError(`${where}: a worked example needs "question" and "answer"`);
    }
    examples.push({ question, answer });
  }
  if (examples.length === 0)
    throw new InputError(`${file}: found no worked example, expected at least one line of JSON`);
  return examples;
}

/** The question may contain anything, `$&` and `{question}` included. */
function fillTemplate(template: string, question: string): string {
  return template.split('{question}').join(question);
}
