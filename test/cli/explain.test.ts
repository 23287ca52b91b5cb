/** `diverge --explain` as a user runs it: the screen after the summary, the object in `--json`, the files in the run. */
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { results } from '../../src/cli/contract.ts';
import { removeCheckpoint, writeTinyCheckpoint } from '../tiny-checkpoint.ts';
import { ensureBuilt, kvlens, temporaryFolder } from './kvlens.ts';

const folder = temporaryFolder();
const dir = writeTinyCheckpoint({ attention: 'gqa' });
afterAll(() => removeCheckpoint(dir));
beforeAll(ensureBuilt);

const command = ['diverge', dir, '--tokens', '1,17,5,88,42,7,30', '--max-new-tokens', '6', '--quiet', '--explain'];

describe('diverge --explain', () => {
  test('prints one screen after the summary, and writes a reproduction into the run', async () => {
    const out = join(folder, 'honest');
    const { code, stdout } = await kvlens([...command, '--precision', 'fp16-sdpa', '--out', out]);
    expect(code).toBe(0);
    const [summary, screen] = stdout.split('\nExplanation ');
    expect(summary).toContain('Gates');
    expect(screen).toContain('KERNEL SHAPE');
    expect(screen).toContain('order-matched-equal');
    expect(screen.trimEnd().split('\n').length).toBeLessThanOrEqual(24);
    expect(readdirSync(join(out, 'explain'))).toContain('reproduce.mjs');
  });

  test('gives the same in --json, by the contract; without the option the object is null', async () => {
    const { stdout } = await kvlens([...command, '--precision', 'fp16-sdpa', '--json', '--out', join(folder, 'json')]);
    const { explain } = results.diverge.parse(JSON.parse(stdout));
    expect(explain).toMatchObject({ verdict: { cause: 'kernel-shape' }, step: { flip: false, cells: { length: 4 } } });
    const plain = command.filter((word) => word !== '--explain');
    const other = await kvlens([...plain, '--json', '--out', join(folder, 'plain')]);
    expect(results.diverge.parse(JSON.parse(other.stdout)).explain).toBeNull();
    expect(readdirSync(join(folder, 'plain'))).not.toContain('explain');
  });

  test('calls a planted fault a state bug', async () => {
    const plant = join(folder, 'plant.json');
    const fault = { kind: 'scale-row', component: 'k', layer: 1, head: 1, row: 3, factor: 1 + 2 ** -8 };
    writeFileSync(plant, JSON.stringify([fault]));
    const { stdout } = await kvlens([...command, '--plant', plant, '--json', '--out', join(folder, 'planted')]);
    const { explain, planted } = results.diverge.parse(JSON.parse(stdout));
    expect(planted).toHaveLength(1);
    expect(explain?.verdict.cause).toBe('state-bug');
    expect(explain?.step?.state).toMatchObject({
      ...{ kind: 'scaled row', layer: 1, heads: [1], row: 3, component: 'k', factor: { value: fault.factor } },
    });
  });

  test('is refused where layers run one at a time', async () => {
    const given = ['diverge', 'mini-llama', '--tokens', '1,17,5,88,42', '--prefill', '3', '--quiet', '--explain'];
    const { code, stderr } = await kvlens([...given, '--max-memory', '301M', '--out', join(folder, 'by-layer')]);
    expect(stderr).toContain('--explain: found a run layer by layer');
    expect(code).toBe(2);
  });
});
