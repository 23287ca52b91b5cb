/** Choosing the next token. */
export { argmax, chooseToken, type Decision, type DrawKey, decide } from './choose.ts';
export {
  resolveStrategy,
  type SamplingStrategy,
  type Strategy,
  type StrategyOptions,
  strategyName,
} from './strategy.ts';
export { divided, processedProbabilities, softmax } from './warpers.ts';
