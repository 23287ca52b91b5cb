import { expect, test } from 'vitest';
import { rateInterval } from '../../src/numerics/rate-interval.ts';
import { displayWidth, visible, wrap } from '../../src/report/terminal/layout.ts';
import {
  formatCount,
  formatDrift,
  formatPercent,
  formatShare,
  formatValue,
} from '../../src/report/terminal/numbers.ts';

test.each([
  [0, '0'],
  [1e-12, '< 1e-9'],
  [-1e-12, '> −1e-9'],
  [3.4e-6, '3.4e-6'],
  [0.0078, '7.8e-3'],
  [0.0162, '0.016'],
  [0.08, '0.080'],
  [0.2, '0.20'],
  [0.996, '1.0'],
  [5, '5.0'],
  [17.4, '17'],
  [1294, '1,300'],
  [12_940, '1.3e4'],
  [-0.25, '−0.25'],
  [Number.NaN, 'NaN'],
  [Number.POSITIVE_INFINITY, '∞'],
])('the value %d prints as %s: two significant digits, 0 only for exactly 0', (value, expected) => {
  expect(formatValue(value)).toBe(expected);
});

test('drift cells below 1 have two decimals, and small ones do not become 0.00', () => {
  expect([0.09, 0.34, 0.004, 2.34, 0].map(formatDrift)).toEqual(['0.09', '0.34', '4.0e-3', '2.3', '0']);
});

test('counts are in full and shares are exact only at the ends', () => {
  expect(formatCount(5960)).toBe('5,960');
  expect([0, 0.001, 0.2, 0.999, 1].map(formatShare)).toEqual(['0 %', '< 1 %', '20 %', '> 99 %', '100 %']);
});

test('percent has the decimals its number of trials can tell apart', () => {
  expect(formatPercent(11 / 5960, 5960)).toBe('0.18');
  expect(formatPercent(0.25, 40)).toBe('25');
  expect(formatPercent(0.255, 1000)).toBe('25.5');
});

test("Wilson's interval, against published values", () => {
  // 10 of 40 and 0 of 40 from the design; 81 of 263 from R's prop.test(correct = FALSE).
  expect(rateInterval(10, 40).low).toBeCloseTo(0.1419, 4);
  expect(rateInterval(10, 40).high).toBeCloseTo(0.4019, 4);
  expect(rateInterval(0, 40)).toEqual({ low: 0, high: expect.closeTo(0.0876, 4) });
  expect(rateInterval(81, 263).low).toBeCloseTo(0.2553, 4);
  expect(rateInterval(81, 263).high).toBeCloseTo(0.3662, 4);
});

test('tokens show their white space and are cut to their column', () => {
  expect(visible(' play')).toBe('␣play');
  expect(visible('▁play')).toBe('␣play');
  expect(visible('\n')).toBe('⏎');
  expect(visible('\u0007')).toBe('\\x07');
  expect(visible('internationalisation', 9)).toBe('internat…');
  expect(displayWidth('日本')).toBe(4);
});

test('wrapping keeps words and indents what follows', () => {
  expect(wrap('one two three', 8, { indent: '  ' })).toEqual(['one two', '  three']);
});
