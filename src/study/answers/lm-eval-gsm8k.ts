/** Question, worked examples and ends of a text as lm-evaluation-harness's task `gsm8k` has them. */

/** Source: as of `extract.ts`; the number of new tokens is the default of the harness's Hugging Face models. */
export const lmEvalGsm8k = {
  template: 'Question: {question}\nAnswer:',
  targetDelimiter: ' ',
  fewShotCount: 5,
  stop: ['Question:', '</s>', '<|im_end|>'],
  maxNewTokens: 256,
} as const;
