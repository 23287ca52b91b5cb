/** `kvlens patch` with a spec of two prompts as a process: the contract, the map, workers, Ctrl-C, and what is refused. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { results } from '../../src/cli/contract.ts';
import { displayWidth } from '../../src/report/terminal/layout.ts';
import { removeCheckpoint, writeTinyCheckpoint } from '../tiny-checkpoint.ts';
import { ensureBuilt, kvlens, temporaryFolder } from './kvlens.ts';

const folder = temporaryFolder();
const tiny = writeTinyCheckpoint({ attention: 'gqa', layers: 3, seed: 4 });
afterAll(() => removeCheckpoint(tiny));
beforeAll(ensureBuilt);
const env = { KVLENS_CACHE: join(folder, 'cache') };

/** A spec file. */
function specFile(name: string, fields: object): string {
  const file = join(folder, `${name}.json`);
  const spec = { experiment: 'clean-corrupted', name, grids: ['attn_out'], ...fields };
  writeFileSync(file, JSON.stringify(spec));
  return file;
}

const long = (second: number) => [1, second, ...Array.from({ length: 46 }, (_, i) => 3 + ((i * 31) % 90))];

test('--json prints the contract: a cell for each place, the baselines, the gates', async () => {
  const run = join(folder, 'json');
  const arguments_ = ['patch', 'mini-llama', 'names-swapped', '--out', run, '--json', '--quiet'];
  const { code, stdout, stderr } = await kvlens(arguments_, { env });
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const found = results.patch.parse(JSON.parse(stdout));
  const tokens = JSON.parse(stdout).baselines.differing;
  expect(found.baselines).toMatchObject({ metric: 'logit-diff', differing: tokens });
  expect(Number(found.baselines?.clean)).toBeGreaterThan(0);
  expect(Number(found.baselines?.corrupted)).toBeLessThan(0);
  expect(found).toMatchObject({ spec: 'names-swapped', prompts: 2, gates: { passed: true, failed: [] } });
  expect(found.gates.results.at(-1)?.name).toBe('sweep');
  expect(found.cells.length).toBe(3 * 6 * 60 + 5 * 6 * 4);
  const [first] = found.cells;
  expect(first).toMatchObject({ history: 'recomputed', kernel: 'prefill', patch: 'blocks.0.hook_resid_pre at 0' });
  expect(first).toMatchObject({ recovery: 0, exact: false, unchanged: 1, cleanCorrupted: { metricRecovery: 0 } });
  // Attention in the last block, at the last token, is where the name is read.
  const best = found.cells
    .filter(({ hook }) => hook.endsWith('hook_attn_out'))
    .reduce((top, cell) =>
      Number(cell.cleanCorrupted?.metricRecovery) > Number(top.cleanCorrupted?.metricRecovery) ? cell : top,
    );
  expect(best.patch).toBe('blocks.5.hook_attn_out at 59');
  expect(Number(best.cleanCorrupted?.metricRecovery)).toBeGreaterThan(0.7);
  const figures = readdirSync(join(run, 'figures'));
  expect(figures.sort()).toEqual(
    ['', '-heads'].flatMap((of) => ['dark', 'light'].map((scheme) => `names-swapped${of}-${scheme}.svg`)).sort(),
  );
  expect(readFileSync(join(run, 'figures', 'names-swapped-light.svg'), 'utf8')).toMatch(/^<svg .*<\/svg>\n$/s);
});

test('the terminal shows baselines, a map for each grid with tokens under it, and the answer last', async () => {
  const arguments_ = [
    'patch',
    'mini-gemma2',
    'names-swapped',
    '--out',
    join(folder, 'text'),
    '--quiet',
    '--workers',
    '2',
  ];
  const { code, stdout } = await kvlens(arguments_, { env });
  expect(code).toBe(0);
  const lines = stdout.trimEnd().split('\n');
  for (const line of lines.slice(0, -1)) expect(displayWidth(line), line).toBeLessThanOrEqual(80);
  expect(stdout).toMatch(/^logit\("T"\) − logit\("S"\) {3}clean \S+ {3}corrupted −\S+$/m);
  expect(stdout).toMatch(/^Attention output\n( {2}L\d {2}.*\n){6}/m);
  expect(stdout).toMatch(/^ {6}[ ^]+\n {6} S .*⏎$/m);
  expect(stdout).toMatch(/✓ sweep\n/);
  expect(stdout).toMatch(/^≈ MEASURED {2}most recovers .* outside the residual stream/ms);
  expect(lines.at(-1)).toMatch(/^ {2}look /);
});

test('interrupted by Ctrl-C and resumed, by two workers or one, the files have the bytes of one run', async () => {
  const grids = ['attn_head_by_pos_every', 'attn_head_pattern_dest_src_pos'];
  const spec = specFile('long', { clean: long(60), corrupted: long(61), grids });
  const whole = join(folder, 'whole');
  const given = ['patch', tiny, spec, '--quiet'];
  expect((await kvlens([...given, '--workers', '1', '--out', whole], { env })).code).toBe(0);
  const resumed = join(folder, 'resumed');
  const arguments_ = [...given, '--workers', '2', '--out', resumed];
  const stopped = await kvlens(arguments_, {
    env,
    started: (child) => {
      const poll = setInterval(() => {
        const journal = join(resumed, 'journal.jsonl');
        // More cells than those that change nothing.
        if (!existsSync(journal) || readFileSync(journal, 'utf8').split('\n').length < 5) return;
        clearInterval(poll);
        child.kill('SIGINT');
      }, 2);
    },
  });
  expect(stopped).toMatchObject({
    code: 130,
    stderr: expect.stringMatching(/interrupted after [\d]+ of \d+ cells; they are/),
  });
  const other = await kvlens([...arguments_, '--resume', '--precision', 'fp32'], { env });
  expect(other).toMatchObject({ code: 3, stderr: expect.stringMatching(/another run's: policy/) });
  expect((await kvlens([...arguments_, '--resume'], { env })).code).toBe(0);
  expect(readdirSync(resumed).sort()).toEqual(readdirSync(whole).sort());
  for (const file of readdirSync(resumed)) {
    if (file === 'manifest.json' || file === 'figures') continue;
    expect(readFileSync(join(resumed, file)).equals(readFileSync(join(whole, file))), file).toBe(true);
  }
}, 120_000);

test.each<[string, () => string[], number, RegExp]>([
  [
    'prompts beside those of the spec',
    () => ['mini-llama', 'names-swapped', '--prompt', 'Hello'],
    2,
    /^kvlens: --prompt: the prompts of "names-swapped" are its "clean" and "corrupted", expected no others$/m,
  ],
  [
    'a prompt file and a prefill',
    () => ['mini-llama', 'names-swapped', '--prompts', 'x.jsonl', '--prefill', '3'],
    2,
    /^kvlens: --prompts and --prefill: the prompts of "names-swapped"/m,
  ],
  ['--resume without --out', () => ['mini-llama', 'names-swapped', '--resume'], 2, /--resume: found without --out/],
  [
    'prompts of unlike lengths',
    () => [tiny, specFile('unlike', { clean: [1, 2, 3], corrupted: [1, 2] })],
    3,
    /^kvlens: \S+\.json: unlike: corrupted: found 2 tokens, expected 3, as "clean" has$/m,
  ],
  [
    'an unknown grid',
    () => [tiny, specFile('grid', { clean: [1], corrupted: [2], grids: ['soul'] })],
    3,
    /grid\.json: grids\[0\]: found "soul", expected one of resid_pre, /,
  ],
  [
    'a text that is two tokens',
    () => ['mini-llama', specFile('pair', { clean: 'a', corrupted: 'b', metric: { logitDiff: ['Tomcat', 'S'] } })],
    3,
    /metric\.logitDiff\[0\]: found "Tomcat", expected a text that is one token/,
  ],
])('%s is refused in one line', async (_, given, exit, says) => {
  const { code, stdout, stderr } = await kvlens(['patch', ...given(), '--quiet'], { env, cwd: folder });
  expect({ code, stdout }).toEqual({ code: exit, stdout: '' });
  expect(stderr).toMatch(says);
  expect(stderr).not.toMatch(/ {4}at /);
  expect(existsSync(join(folder, 'kvlens-runs'))).toBe(false);
});

test('options that only decoding uses are said to have no effect', async () => {
  const spec = specFile('same', { clean: [1, 2, 3], corrupted: [1, 2, 3] });
  const arguments_ = [
    'patch',
    tiny,
    spec,
    '--out',
    join(folder, 'same'),
    '--temperature',
    '1',
    '--max-new-tokens',
    '9',
  ];
  const { code, stdout, stderr } = await kvlens(arguments_, { env });
  expect(code).toBe(0);
  expect(stderr).toMatch(/^note: no effect on a clean-corrupted spec: --temperature, --max-new-tokens$/m);
  expect(stdout).toMatch(/^= NOTHING TO RECOVER {2}distance of the logits to the clean run is 0 in both runs$/m);
  expect(stdout).toMatch(/○ sweep/);
});
