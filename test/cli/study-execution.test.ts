/** How a study is fitted into memory. */
import { readdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import { loadedParameters } from '../../src/checkpoint/expand-kv.ts';
import { chooseStudyExecution } from '../../src/cli/study-execution.ts';
import { policies } from '../../src/graph/rounding.ts';
import { estimateMemory, processBytes } from '../../src/model/memory.ts';
import { resolveStudy } from '../../src/study/definition/resolve.ts';
import { parseStudy, type StudyInput } from '../../src/study/definition/schema.ts';
import { ensureBuilt, kvlens, temporaryFolder } from './kvlens.ts';

const study = (changes: Partial<StudyInput> = {}) => {
  const input: StudyInput = { name: 'memory', models: ['mini-llama'], precisions: ['fp16', 'fp32'], ...changes };
  return resolveStudy(parseStudy({ prompts: { limit: 4 }, maxNewTokens: 40, ...input }, 'memory.json'), 'memory.json');
};
const [plain, placebo] = [await study({ placebo: { arms: 0 } }), await study()];
/** The smallest limit, in bytes, under which `holds`; within 1 kB. */
function least(holds: (maxMemory: number) => boolean): number {
  let [below, above] = [0, 64e9];
  expect(holds(above)).toBe(true);
  while (above - below > 1e3) {
    const middle = (below + above) / 2;
    if (holds(middle)) above = middle;
    else below = middle;
  }
  return above;
}
const chosen = (of: typeof plain, maxMemory: number, workers = 4) => {
  try {
    return chooseStudyExecution(of, { workers, maxMemory });
  } catch {
    return null;
  }
};

test('where all fits, every worker runs, and nothing is said', () => {
  expect(chosen(placebo, 64e9)).toEqual({ workers: 4, releasePlacebo: false, note: null });
});

test('each further worker takes as much as the first, and a study that does not fit one is refused', () => {
  const [one, two, three] = [1, 2, 3].map((workers) =>
    least((limit) => (chosen(plain, limit)?.workers ?? 0) >= workers),
  );
  expect((two - processBytes) / (one - processBytes)).toBeCloseTo(2, 3);
  expect((three - processBytes) / (one - processBytes)).toBeCloseTo(3, 3);
  expect(chosen(plain, two)?.note).toMatch(/^memory: about [\d.]+ [MG]B per worker; .* may be used: 2 of 4 workers$/);
  expect(() => chooseStudyExecution(plain, { workers: 1, maxMemory: one - 1e6 })).toThrow(
    /^--max-memory: mini-llama in fp(16|32) takes about .* in a study, .* may be used$/,
  );
});

test('beside a run’s own need a thread holds references in 4 and 8 bytes per parameter, and an oracle in 8', () => {
  const { checkpoint, prompts } = plain.models.get('mini-llama')!;
  const rows = 40 + Math.max(...prompts.map(({ tokens }) => tokens.length));
  const { resident } = estimateMemory(checkpoint, policies.fp16, rows);
  const one = least((limit) => chosen(plain, limit) !== null);
  expect((one - resident) / loadedParameters(checkpoint)).toBeCloseTo(4 + 8 + 8, 1);
});

test('placebo arms are loaded anew before a worker is given up', () => {
  const loaded = least((limit) => chosen(placebo, limit)?.releasePlacebo === false);
  const four = least((limit) => chosen(placebo, limit)?.workers === 4);
  expect(four).toBeLessThan(loaded);
  const tight = chosen(placebo, four);
  expect(tight).toMatchObject({ workers: 4, releasePlacebo: true });
  expect(tight?.note).toMatch(
    /, [\d.]+ [MG]B for the placebo; .*: 4 of 4 workers, placebo arms loaded anew for each prompt$/,
  );
  // Nineteen arms of all blocks and the head; a fourth of a worker's share is the model itself.
  expect(chosen(plain, loaded)).toMatchObject({ workers: 4, releasePlacebo: false });
});

test('a limit of new tokens beyond the context needs no more', async () => {
  const long = await study({ maxNewTokens: 1_000_000 });
  const most = await study({ maxNewTokens: 256 });
  const all = (of: typeof plain) => least((limit) => chosen(of, limit)?.workers === 4);
  expect(all(long)).toBe(all(most));
});

test('more arms need more, and single precision has none', async () => {
  const many = await study({ placebo: { arms: 200 } });
  const all = (of: typeof plain) =>
    least((limit) => chosen(of, limit)?.releasePlacebo === false && chosen(of, limit)?.workers === 4);
  expect(all(many)).toBeGreaterThan(all(placebo));
  const [single, bare] = [
    await study({ precisions: ['fp32'] }),
    await study({ precisions: ['fp32'], placebo: { arms: 0 } }),
  ];
  expect(all(single)).toBe(all(bare));
});

test('the command refuses a limit that a model does not fit, before anything is written', async () => {
  ensureBuilt();
  const folder = temporaryFolder();
  const refused = await kvlens(['study', '--preset', 'quick', '--max-memory', '1M', '--out', 'run'], { cwd: folder });
  expect(refused.code).toBe(3);
  expect(refused.stderr).toMatch(
    /^kvlens: --max-memory: mini-llama in fp16 takes about .*\n {2}hint: kvlens diverge runs layer by layer/,
  );
  expect(readdirSync(folder)).toEqual([]);
});
