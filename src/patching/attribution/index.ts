/** Which operations, roundings and layers make the drift. */
export {
  type AmplificationOptions,
  type AmplificationRun,
  type LayerStep,
  measureAmplification,
} from './amplification.ts';
export {
  addGames,
  attributeClasses,
  type ClassAttribution,
  type ClassGame,
  type ClassShare,
  everySubset,
  type GameHistory,
  gameGate,
  oneAtATime,
  orderDependentClasses,
  type PlayOptions,
  playClasses,
} from './class-game.ts';
export { type ClassSet, everyClass, mixedKernel, onlyClass } from './class-kernels.ts';
export { type DriftPrediction, type LayerGain, layerGains, predictDrift } from './predicted-drift.ts';
export {
  addPlaces,
  attributePlaces,
  narrowPlaces,
  onlyRounded,
  type PlaceAttribution,
  type PlaceShare,
} from './rounding-places.ts';
