/** The script of a reproduction, in a folder where nothing but onnxruntime-node can be resolved. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { embeddedSubject, explainRun, type Subject } from './subject.ts';

const root = mkdtempSync(join(tmpdir(), 'kvlens-reproduction-'));
const subjects: Subject[] = [];
afterAll(async () => {
  for (const { executor } of subjects) await executor.release();
  rmSync(root, { recursive: true, force: true });
});

const runtime = findPackage('onnxruntime-node');
function findPackage(name: string): string {
  return realpathSync(dirname(createRequire(import.meta.url).resolve(`${name}/package.json`)));
}

/** A folder of its own for a reproduction; its node_modules hold the runtime and what that needs. */
function alone(from: string): string {
  const folder = mkdtempSync(join(root, 'alone-'));
  cpSync(from, folder, { recursive: true });
  mkdirSync(join(folder, 'node_modules'));
  symlinkSync(runtime, join(folder, 'node_modules', 'onnxruntime-node'));
  return folder;
}

function script(folder: string) {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['reproduce.mjs'], { cwd: folder, encoding: 'utf8' });
  return { status, stdout, stderr };
}

let made = 0;
async function reproduced(model: string, kernels: string, faults: unknown[] = []) {
  const subject = await embeddedSubject(model, 'fp16', [0], kernels);
  subjects.push(subject);
  const path = join(root, `made-${made++}`);
  const found = await explainRun(subject, { faults, folder: path });
  return { path, step: found.step! };
}

describe('a reproduction', () => {
  test.each([
    ['mini-llama', 'ort', [], '1 row (decode)', 'q kᵀ'],
    ['mini-mistral', 'ort-unpacked', [], '1 row (decode)', 'projection'],
    ['mini-gemma2', 'ort', [], '1 row (decode)', 'q kᵀ'],
    ['mini-llama', 'split-k:4:storage', [], '1 row (decode)', 'projection'],
    [
      'mini-llama',
      'ort',
      [{ kind: 'scale-row', component: 'k', layer: 3, head: 1, row: 9, factor: 1 + 2 ** -8 }],
      'rows as read',
      'q kᵀ, block 3',
    ],
    [
      'mini-gemma2',
      'ort',
      [{ kind: 'stale-row', component: 'v', layer: 5, row: 20 }],
      'rows as read',
      'pattern · v, block 5',
    ],
    ['mini-gemma2', 'ort', [{ kind: 'mask', change: 'hide-oldest' }], 'mask as fed', 'q kᵀ, block 0'],
    [
      'mini-llama',
      'ort',
      [{ kind: 'position', step: 3, offset: 2 }],
      'position as fed',
      'rotary embedding of the query, block 0',
    ],
  ] as const)(
    'of %s, %s, %j runs as recorded, and a changed bit is noticed',
    async (model, kernels, faults, name, operation) => {
      const { path, step } = await reproduced(model, kernels, [...faults]);
      expect(step.reproduction.folder).toBe(path);
      expect(step.reproduction.what).toContain(operation);
      const record = JSON.parse(readFileSync(join(path, 'reproduction.json'), 'utf8'));
      expect(record.cases[0].name).toBe(name);
      expect(record.newestRow.differ).toBeGreaterThan(0);
      if (faults.length === 0) {
        // One row against two of the same numbers, and as many elements differ as in the run.
        expect(record.newestRow).toEqual({ differ: step.firstOrigin!.nDiffer, elements: step.firstOrigin!.nElements });
        const graphs = readdirSync(path).filter((file) => file.endsWith('.onnx'));
        // One graph run on one row and on two, unless the decode kernel is a graph of its own.
        expect(graphs).toHaveLength(kernels.startsWith('split') ? 2 : 1);
      }
      const folder = alone(path);
      const good = script(folder);
      expect(good, good.stderr).toMatchObject({ status: 0, stderr: '' });
      expect(good.stdout.match(/: as recorded/g)).toHaveLength(3);
      expect(good.stdout).toContain(
        `${record.newestRow.differ} of ${record.newestRow.elements} elements of the newest row differ`,
      );
      const [input] = Object.values<{ file: string }>(record.cases[0].inputs);
      const bytes = readFileSync(join(folder, input.file));
      bytes[0] ^= 1;
      writeFileSync(join(folder, input.file), bytes);
      const bad = script(folder);
      expect(bad.status).toBe(1);
      expect(bad.stdout).toContain(`✗ ${input.file}: not the recorded bytes`);
    },
  );

  test('whose recorded bits are others says so', async () => {
    const { path } = await reproduced('mini-llama', 'ort');
    const folder = alone(path);
    const file = join(folder, 'reproduction.json');
    const record = JSON.parse(readFileSync(file, 'utf8'));
    // The record is whole, but its bits are not what comes out.
    const { cases } = record;
    const values = new Float32Array(new Uint8Array(readFileSync(join(folder, cases[0].expected.file))).buffer);
    values[0] += 1;
    writeFileSync(join(folder, cases[0].expected.file), new Uint8Array(values.buffer));
    cases[0].expected.sha256 = createHash('sha256').update(new Uint8Array(values.buffer)).digest('hex');
    writeFileSync(file, JSON.stringify(record));
    const { status, stdout } = script(folder);
    expect(status).toBe(1);
    expect(stdout).toContain('1 of ');
    expect(stdout).toContain('are not the recorded ones');
  });
});
