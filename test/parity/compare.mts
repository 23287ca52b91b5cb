/**
 * `npx tsx compare.mts FOLDER [--document FILE]`: kvlens against the expected values in FOLDER, which make_fixtures.py
 * took from the library. Prints `N passed, N failed`; with --document also writes the table.
 */
import { writeFileSync } from 'node:fs';
import { checkFullPrecision, checkHalfPrecision, runsOf } from './claims.ts';
import { type Measured, parityDocument } from './document.ts';
import { expectedIn } from './expected.ts';

const [folder, flag, file] = process.argv.slice(2);
if (folder === undefined || (flag !== undefined && (flag !== '--document' || file === undefined))) {
  console.error('compare.mts: expected FOLDER [--document FILE]');
  process.exit(2);
}

let [passed, failed] = [0, 0];
function claim(text: string, faults: string[]): void {
  if (faults.length === 0) passed += 1;
  else failed += 1;
  console.log(faults.length === 0 ? `  ok    ${text}` : `  FAIL  ${text}: ${faults.slice(0, 5).join('; ')}`);
}

const measured: Measured[] = [];
for (const expected of expectedIn(folder)) {
  const { index } = expected;
  const full = await checkFullPrecision(expected);
  claim(`${index.name}: float64, float32`, full.faults);
  const halves = [];
  for (const run of runsOf(expected)) {
    const half = await checkHalfPrecision(expected, run);
    claim(`${index.name}: ${run}`, half.faults);
    halves.push(half);
  }
  measured.push({ index, full, halves });
}
claim('there is something to compare', measured.length === 0 ? [`${folder} holds no expected values`] : []);
if (file !== undefined && failed === 0) writeFileSync(file, parityDocument(measured));
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
