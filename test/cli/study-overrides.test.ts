/** Every option of `kvlens study` that stands in for a setting of the study changes that setting, and no other. */
import { Command } from 'commander';
import { expect, test } from 'vitest';
import { studyCommand } from '../../src/cli/commands/study.ts';
import { overrideStudy } from '../../src/cli/study-overrides.ts';
import { policies } from '../../src/graph/rounding.ts';
import { parseStudy } from '../../src/study/definition/schema.ts';

const study = parseStudy(
  {
    ...{ name: 'of-a-file', models: ['mini-llama'], precisions: ['fp32', 'bf16'], kernels: ['folded'], seed: 5 },
    ...{
      strategies: ['greedy', 't1.0-k50'],
      patching: { strategies: ['t1.0-k50'] },
      placebo: { precisions: ['bf16'] },
    },
    prompts: { limit: 7, template: 'Q: {question}' },
  },
  'study.json',
);
function overridden(...options: string[]) {
  const command = new Command('study');
  studyCommand.configure(command);
  command.parse(options, { from: 'user' });
  return overrideStudy(study, command);
}

test('nothing given, nothing changed', () => {
  expect(overridden()).toEqual(study);
  expect(overridden('--out', 'run', '--workers', '3', '--quiet')).toEqual(study);
});

test.each<[string[], object]>([
  [['--model', 'mini-gemma2', 'elsewhere'], { models: ['mini-gemma2', 'elsewhere'] }],
  [['--kernels', 'split-k:8:storage'], { kernels: ['split-k:8:storage'] }],
  [['--seed', '9'], { seed: 9 }],
  [['--decode-rows', '2'], { decodeRows: 2 }],
  [['--threads', '2'], { threads: 2 }],
  [['--ignore-eos'], { ignoreEos: true }],
  [['--max-new-tokens', '40'], { maxNewTokens: 40 }],
  [['--limit', '3'], { prompts: { ...study.prompts, limit: 3 } }],
  [['--prompts', 'mine.jsonl'], { prompts: { ...study.prompts, file: 'mine.jsonl' } }],
  [['--template', 'A {question}'], { prompts: { ...study.prompts, template: 'A {question}' } }],
  [['--few-shot', 'few.jsonl'], { prompts: { ...study.prompts, fewShot: { file: 'few.jsonl' } } }],
])('%j', (options, changes) => {
  expect(overridden(...options)).toEqual({ ...study, ...changes });
});

test('a precision replaces those of the study, and what the placebo says of them', () => {
  const { precisions: _, ...placebo } = study.placebo;
  expect(overridden('--precision', 'fp16')).toEqual({ ...study, precisions: [policies.fp16], placebo });
});

test('a strategy replaces those of the study, and the patched ones', () => {
  const { strategies: _, ...patching } = study.patching;
  expect(overridden('--temperature', '0.7', '--top-p', '0.9')).toEqual({
    ...study,
    strategies: [{ temperature: 0.7, topP: 0.9, sampler: 'gumbel', coupling: 'keyed' }],
    patching,
  });
  expect(overridden('--temperature', '0').strategies).toEqual(['greedy']);
  expect(overridden('--temperature', '1', '--top-k', '5', '--sampler', 'inverse-cdf').strategies).toEqual([
    { temperature: 1, topK: 5, sampler: 'inverse-cdf', coupling: 'keyed' },
  ]);
});
