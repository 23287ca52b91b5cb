/** Answers: what a text gives, whether it is right, and the prompts of the task that defines both. */
export { type AnswerFormat, extractAnswer, isCorrect } from './extract.ts';
export { lmEvalGsm8k } from './lm-eval-gsm8k.ts';
