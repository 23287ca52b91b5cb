import { expect, test } from 'vitest';
import { errorResult, results } from '../../src/cli/contract.ts';
import { contractMarkdown } from '../../src/cli/contract-document.ts';
import { divergeResult } from '../../src/cli/diverge-result.ts';
import { failureResult, failureText, toFailure } from '../../src/cli/failure.ts';
import { InputError, InterruptedError, RunError, UsageError } from '../../src/errors.ts';
import { gate, ort, splitK } from '../report/summaries.ts';

/** DESIGN.md's list of keys that must exist. */
const promised = {
  generate: ['arms', 'diverged', 'firstDivergentStep'],
  capture: ['run', 'files', 'hooks', 'rows'],
  diverge: ['run', 'prompts', 'steps', 'flips', 'flipRate', 'divergedPrompts', 'firstDivergence', 'gates'],
  audit: ['passed', 'gates'],
  patch: ['run', 'cells'],
} as const;

test('every promised key is in the contract', () => {
  for (const [command, keys] of Object.entries(promised)) {
    const schema = Object.entries(results).find(([name]) => name === command)?.[1];
    expect(Object.keys(schema?.shape ?? {})).toEqual(expect.arrayContaining([...keys]));
  }
});

test('the result of a run is as the contract says, and survives JSON', () => {
  for (const summary of [splitK, ort]) {
    const result = divergeResult(summary, 'runs/x');
    expect(results.diverge.parse(JSON.parse(JSON.stringify(result)))).toEqual(result);
  }
  expect(divergeResult(splitK, 'runs/x')).toMatchObject({
    run: 'runs/x',
    prompts: 40,
    steps: 5960,
    flips: 11,
    flipRate: 11 / 5960,
    divergedPrompts: 10,
    firstDivergence: {
      prompt: 'story-00',
      step: 1,
      hook: 'blocks.0.attn.hook_q',
      operation: 'query projection, block 0',
    },
    gates: { passed: true, failed: [] },
  });
});

test('NaN stays NaN: JSON would turn it into "not measured"', () => {
  const result = divergeResult({ ...ort, kl: Number.NaN, l2: Number.POSITIVE_INFINITY }, 'x');
  expect(result).toMatchObject({ kl: 'NaN', l2: 'Infinity' });
  expect(results.diverge.safeParse(result).success).toBe(true);
});

test('a failed harness gate leaves no number, and is named', () => {
  const failed = gate('canary', { passed: false, status: 'failed' });
  const result = divergeResult({ ...ort, gates: [failed], verdict: 'not-valid' }, 'x');
  expect(results.diverge.safeParse(result).success).toBe(true);
  expect(result).toMatchObject({ flips: null, kl: null, drift: null, firstDivergence: null });
  expect(result.gates).toMatchObject({ passed: false, failed: ['canary'] });
});

test.each([
  [new UsageError('m', 'h'), 2, 'usage'],
  [new InputError('m'), 3, 'input'],
  [new RunError('m'), 1, 'failed'],
  [new InterruptedError(), 130, 'interrupted'],
  [new TypeError('x is not a function'), 1, 'internal'],
  ['thrown text', 1, 'internal'],
])('%s becomes its exit code and the error object', (error, exitCode, code) => {
  const failure = toFailure(error);
  expect(failure).toMatchObject({ exitCode, code });
  expect(errorResult.safeParse(failureResult(failure)).success).toBe(true);
});

test('a bug says so in one line; its stack is shown on request alone', () => {
  const failure = toFailure(new TypeError('a\n  b'));
  expect(failureText(failure, false)).toBe(
    'kvlens: internal error: TypeError: a b\n  hint: this is a bug in kvlens, please report it; KVLENS_DEBUG=1 shows the stack\n',
  );
  expect(failureText(failure, true)).toContain('\n    at ');
});

test("a system's refusal is an input error that names the file", () => {
  const refused = Object.assign(new Error('ENOSPC: …'), { code: 'ENOSPC', path: '/x/steps.arrow' });
  expect(toFailure(refused)).toMatchObject({ exitCode: 3, message: '/x/steps.arrow: no space left' });
});

test('the generated document has a row for every key of every command', () => {
  const text = contractMarkdown();
  for (const keys of Object.values(promised)) for (const key of keys) expect(text).toContain(`| \`${key}\` |`);
  expect(text).toContain('| `arms.cached.tokens` | list of integer |');
  expect(text).toContain('| `firstDivergence.operation` | string |');
  expect(text).toContain('| `kl` | number or null |');
});
