/** The next number of a storage type, one unit in the last place away. */
import { exponentOf, roundTo } from './half.ts';
import { formats, type StorageType } from './types.ts';

/**
 * The smallest number of `type` above `value`, or the largest below it. Numbers that are not finite stay what they are; the
 * largest finite one is followed by infinity.
 * @param value a number of `type`
 */
export function neighbour(type: StorageType, value: number, direction: 'up' | 'down'): number {
  if (!Number.isFinite(value)) return value;
  if (direction === 'down') return -neighbour(type, -value, 'up');
  const { significandBits, minExponent } = formats[type];
  if (value === 0) return 2 ** (minExponent - significandBits + 1);
  const spacing = 2 ** (Math.max(exponentOf(Math.abs(value)), minExponent) - significandBits + 1);
  // Towards zero the spacing below a power of two is half as large, unless both sides are subnormal.
  const isPower = value < 0 && Math.abs(value) === 2 ** exponentOf(Math.abs(value));
  const halved = isPower && exponentOf(Math.abs(value)) > minExponent;
  return roundTo(type, value + (halved ? spacing / 2 : spacing));
}
