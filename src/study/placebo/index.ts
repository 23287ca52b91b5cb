/** The accuracy placebo of a study: what rounding alone does to texts and answers. */
export type { PlaceboPlan, PlaceboPrompt } from './permuted-arm.ts';
export {
  checkPlacebo,
  type PlaceboArms,
  type PlaceboArmsRequest,
  type PlaceboCheck,
  placeboArms,
} from './placebo-arms.ts';
export { placeboBytes } from './placebo-bytes.ts';
export { type PlaceboClassesOptions, placeboClasses } from './placebo-classes.ts';
export { placeboSeeds } from './placebo-seeds.ts';
