/** The commands end to end, as a process; the truth about stories260K is what llama2.c published. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { results } from '../../src/cli/contract.ts';
import { sharedPath } from '../shared.ts';
import { removeCheckpoint, writeTinyCheckpoint } from '../tiny-checkpoint.ts';
import { ensureBuilt, kvlens, temporaryFolder } from './kvlens.ts';

const folder = temporaryFolder();
const tiny = writeTinyCheckpoint();
afterAll(() => removeCheckpoint(tiny));
beforeAll(ensureBuilt);
const stories = sharedPath('data', 'models', 'stories260K');
const cache = { KVLENS_CACHE: join(folder, 'cache') };

/** Exactly one JSON object on stdout. */
async function json(arguments_: string[], env: Record<string, string> = {}): Promise<unknown> {
  const { code, stdout, stderr } = await kvlens([...arguments_, '--json', '--quiet'], { cwd: folder, env });
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return JSON.parse(stdout);
}

describe('models', () => {
  test('prints the contract', async () => {
    const { models } = results.models.parse(await json(['models']));
    for (const { accuracy } of models) expect(accuracy?.share).toBeGreaterThan(0.5);
  });

  test('is a table for people', async () => {
    const { code, stdout } = await kvlens(['models']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^model .* accuracy\n|^no embedded model/);
  });
});

describe('generate', () => {
  test.skipIf(stories === null)(
    "stories260K continues BOS as llama2.c's published run does, in both arms",
    async () => {
      const given = ['generate', String(stories), '--tokens', '1', '--arm', 'both', '--max-new-tokens', '17'];
      const { arms, diverged, firstDivergentStep } = results.generate.parse(await json(given));
      const published = [403, 407, 261, 378, 432, 383, 286, 261, 376, 298, 315, 421, 395, 317, 426, 338, 401];
      expect(arms.cached?.tokens).toEqual(published);
      expect(arms.uncached?.tokens).toEqual(published);
      expect(arms.cached?.text).toMatch(/^Once upon a time, there was a/);
      expect({ diverged, firstDivergentStep }).toEqual({ diverged: false, firstDivergentStep: null });
    },
  );

  test.skipIf(stories === null)('a text is tokenised as the model does, with BOS', async () => {
    const given = ['generate', String(stories), '--prompt', 'Once upon a time', '--max-new-tokens', '1'];
    const { prompt, arms, diverged } = results.generate.parse(await json(given));
    expect(prompt.tokens).toEqual([1, 403, 407, 261, 378]);
    expect(arms).toEqual({ cached: { tokens: [432], text: expect.any(String), stop: 'length' } });
    expect(diverged).toBeNull();
  });

  test('text is null without a tokenizer, and generation ends at the context', async () => {
    const prompt = Array(60).fill(1).join();
    const { arms } = results.generate.parse(await json(['generate', tiny, '--tokens', prompt, '--ignore-eos']));
    expect(arms.cached).toMatchObject({ text: null, stop: 'length' });
    expect(arms.cached?.tokens.length).toBeLessThanOrEqual(5);
  });

  test('the same seed draws the same tokens, another seed others', async () => {
    const draw = async (seed: string) => {
      const given = ['generate', tiny, '--tokens', '1,2', '--max-new-tokens', '12', '--seed', seed, '--ignore-eos'];
      return results.generate.parse(await json(given)).arms.cached?.tokens;
    };
    expect(await draw('1')).toEqual(await draw('1'));
    expect(await draw('2')).not.toEqual(await draw('1'));
  });

  test('an option without effect is told, and --quiet keeps it back', async () => {
    const given = ['generate', tiny, '--tokens', '1', '--max-new-tokens', '1', '--limit', '3'];
    expect((await kvlens(given)).stderr).toBe('note: no effect on generate: --limit\n');
    expect((await kvlens([...given, '--quiet'])).stderr).toBe('');
  });
});

describe('audit', () => {
  test('prints every gate, passes, and says so', async () => {
    const found = results.audit.parse(await json(['audit', tiny], cache));
    expect(found.passed).toBe(true);
    expect(found.gates).toHaveLength(12);
  });

  test('a failed gate exits 1 and still prints the result', async () => {
    // Weights that are finite, and activations that are not.
    const broken = writeTinyCheckpoint({
      edit: (key, values) => {
        if (key.includes('up_proj') || key.includes('down_proj')) values.fill(1e30);
      },
    });
    try {
      const { code, stdout } = await kvlens(['audit', broken, '--precision', 'fp32', '--json', '--quiet'], {
        env: cache,
      });
      const found = results.audit.parse(JSON.parse(stdout));
      expect({ code, passed: found.passed }).toEqual({ code: 1, passed: false });
      expect(found.gates.find(({ name }) => name === 'finite')?.status).toBe('failed');
    } finally {
      removeCheckpoint(broken);
    }
  });
});

describe('export', () => {
  test('writes graphs whose weights stay in the checkpoint', async () => {
    const out = join(folder, 'graphs');
    const found = results.export.parse(await json(['export', tiny, '--out', out]));
    expect(found.files).toContain('graph.json');
    expect(readdirSync(out)).toEqual(expect.arrayContaining(found.files));
    expect(readdirSync(out).some((name) => name.endsWith('.onnx'))).toBe(true);
  });
});

describe('export --expand-kv', () => {
  test('is a model of its own for every command, and its runs say so', async () => {
    const grouped = writeTinyCheckpoint({ attention: 'gqa' });
    try {
      const graphs = join(folder, 'expanded');
      const found = results.export.parse(await json(['export', grouped, '--expand-kv', '--out', graphs]));
      expect(found.expandedKv).toBe(true);
      const run = join(folder, 'run-expanded');
      const prompts = join(folder, 'two.jsonl');
      writeFileSync(prompts, '{"tokens":[1,2,3,4]}\n{"tokens":[5,6]}\n');
      const given = ['diverge', graphs, '--prompts', prompts, '--max-new-tokens', '3', '--ignore-eos', '--out', run];
      // Two workers: threads have to open the expanded model, too.
      const { model } = results.diverge.parse(await json([...given, '--workers', '2'], cache));
      expect(model).toMatch(/ \(expanded KV\)$/);
      const { identity } = JSON.parse(readFileSync(join(run, 'manifest.json'), 'utf8'));
      expect(identity).toMatchObject({ model, config: { heads: 4, kvHeads: 4, storedKvHeads: 2 } });
      const generate = (of: string) => json(['generate', of, '--tokens', '1,2,3', '--arm', 'uncached', '--ignore-eos']);
      expect(await generate(graphs)).toEqual(await generate(grouped));
      const captured = await json(['capture', graphs, '--tokens', '1,2', '--out', join(folder, 'expanded-capture')]);
      expect(results.capture.parse(captured).gates.passed).toBe(true);
    } finally {
      removeCheckpoint(grouped);
    }
  });

  test('of multi-head attention is the plain export, and says in one note that nothing was repeated', async () => {
    const out = join(folder, 'not-expanded');
    const { code, stdout, stderr } = await kvlens(['export', tiny, '--expand-kv', '--out', out, '--json']);
    expect({ code, expandedKv: results.export.parse(JSON.parse(stdout)).expandedKv }).toEqual({
      ...{ code: 0, expandedKv: false },
    });
    expect(stderr).toMatch(/^note: --expand-kv: .* has 4 K\/V heads for 4 heads: nothing to repeat\n$/);
  });
});

describe('diverge', () => {
  const prompts = join(folder, 'prompts.jsonl');
  writeFileSync(prompts, '{"tokens":[1,2,3,4],"id":"a"}\n{"tokens":[5,6],"id":"b"}\n');

  test('prints the contract, and writes a run', async () => {
    const run = join(folder, 'run');
    const given = ['diverge', tiny, '--prompts', prompts, '--max-new-tokens', '6', '--out', run, '--ignore-eos'];
    const found = results.diverge.parse(await json(given, cache));
    expect(found).toMatchObject({ run, prompts: 2, steps: 10, gates: { passed: true, failed: [] } });
    expect(found.flipRate).toBe((found.flips ?? Number.NaN) / 10);
    for (const file of ['manifest.json', 'controls.json', 'steps.arrow', 'layers.arrow', 'prompts.arrow']) {
      expect(existsSync(join(run, file)), file).toBe(true);
    }
    expect(JSON.parse(readFileSync(join(run, 'manifest.json'), 'utf8'))).toHaveProperty('identity');
  });

  test('for people: the verdict is last, and where the run is', async () => {
    const run = join(folder, 'run-text');
    const given = [
      'diverge',
      tiny,
      '--prompts',
      prompts,
      '--max-new-tokens',
      '6',
      '--out',
      run,
      '--quiet',
      '--ignore-eos',
    ];
    const { code, stdout, stderr } = await kvlens(given, { env: cache });
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const lines = stdout.trimEnd().split('\n');
    expect(lines[1]).toBe('  on this CPU: fp16 storage, fp32 accumulation');
    expect(lines.at(-1)).toBe(`  look           ${run}`);
    expect(stdout).toMatch(/^[=≈✗] (EQUAL|BITS DIFFER|TOKENS DIFFER) {2}/m);
  });

  test('--prefill forces the rest of the given tokens', async () => {
    const given = ['diverge', tiny, '--tokens', '1,2,3,4,5,6', '--prefill', '2', '--mode', 'teacher-forced'];
    const found = results.diverge.parse(await json([...given, '--out', join(folder, 'run-prefill')], cache));
    expect(found.steps).toBe(3);
  });

  test('order-matched decoding differs nowhere', async () => {
    const given = [
      'diverge',
      tiny,
      '--tokens',
      '1,2,3',
      '--decode-rows',
      '2',
      '--precision',
      'fp32',
      '--max-new-tokens',
      '8',
    ];
    const found = results.diverge.parse(await json([...given, '--out', join(folder, 'run-null')], cache));
    expect(found).toMatchObject({ verdict: 'equal', differingSteps: 0, firstDivergence: null });
  });

  test('Ctrl-C exits 130 and says so in one line', async () => {
    const run = join(folder, 'run-interrupted');
    const given = [
      'diverge',
      tiny,
      '--prompts',
      prompts,
      '--max-new-tokens',
      '50',
      '--out',
      run,
      '--ignore-eos',
      '--json',
    ];
    const { code, stdout, stderr } = await kvlens(given, {
      env: cache,
      started: (child) => {
        // The folder is made just before the gates run.
        const poll = setInterval(() => {
          if (!existsSync(run)) return;
          clearInterval(poll);
          child.kill('SIGINT');
        }, 20);
      },
    });
    expect(code).toBe(130);
    expect(stderr.match(/^kvlens: interrupted.*$/gm)).toHaveLength(1);
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'interrupted' } });
  });
});

describe('capture', () => {
  test('writes one file per kind of hook', async () => {
    const run = join(folder, 'run-capture');
    const given = ['capture', tiny, '--tokens', '1,2,3', '--hooks', '*.hook_resid_post,logits', '--out', run];
    const found = results.capture.parse(await json(given));
    expect(found.files).toEqual(expect.arrayContaining(['activations/resid_post.arrow', 'activations/logits.arrow']));
    expect(found.hooks).toEqual(['blocks.0.hook_resid_post', 'blocks.1.hook_resid_post', 'logits']);
    // Two layers and the logits: three prompt positions, and one for each further step.
    expect(found.rows).toBe(3 * (3 + 15));
    for (const file of found.files) expect(existsSync(join(run, file)), file).toBe(true);
  });
});

test('a name cannot steer the terminal', async () => {
  const { code, stderr } = await kvlens(['audit', join(folder, 'none\u001b[31mred')]);
  expect(code).toBe(3);
  expect(stderr).not.toContain('\u001b');
  expect(stderr).toContain('none');
});

test('a reader that closes the pipe is no error', async () => {
  const { spawn } = await import('node:child_process');
  const { commandPath } = await import('./kvlens.ts');
  const child = spawn(process.execPath, [commandPath, '--help'], { stdio: ['ignore', 'pipe', 'pipe'] });
  child.stdout.destroy();
  let stderr = '';
  child.stderr.on('data', (text) => {
    stderr += text;
  });
  const code = await new Promise((resolve) => child.on('close', resolve));
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
});
