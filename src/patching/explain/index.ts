/** Explanation of one step: where its difference comes from, and the rule that says so. */
export { DriftRecord, type ExplainTarget } from './drift-record.ts';
export { type ExplainOptions, explain } from './explain.ts';
export { decidedByMargin, rules, stateWords } from './rules.ts';
export type * from './types.ts';
