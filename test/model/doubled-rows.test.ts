/**
 * A step of one row whose matmuls all run with doubled rows, behind the uncached arm's history, is the honest row bit for
 * bit: so the difference of an ordinary step is its matmuls', and each class of them can be switched by itself.
 */
import { describe, expect, test } from 'vitest';
import { embeddedModels } from '../../src/checkpoint/embedded.ts';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { isCacheHook, selectHooks } from '../../src/graph/hooks.ts';
import { type GraphKernel, type OperationClass, operationClasses, resolveKernels } from '../../src/graph/kernels.ts';
import { resolvePolicy } from '../../src/graph/rounding.ts';
import { Arm, type ArmStep } from '../../src/model/arms.ts';
import { Executor, type StepKernel } from '../../src/model/executor.ts';

// Beyond Gemma-2's window of 32.
const tokens = Array.from({ length: 44 }, (_, i) => (i * 37 + 5) % 512);
const lengths = [2, 9, 33, 44];

function doubled(kernel: GraphKernel, except?: OperationClass): GraphKernel {
  const classes = operationClasses.filter((name) => name !== except);
  return { ...kernel, classes: Object.fromEntries(classes.map((name) => [name, { rows: 'doubled' }])) };
}

/** Hooks whose newest row in a step of `kernel` behind the honest history is not the honest row. */
async function unlike(executor: Executor, kernel: StepKernel): Promise<string[]> {
  const hooks = selectHooks('all', executor.config).filter(({ name }) => !isCacheHook(name));
  const capture = { hooks: new Set(hooks.map(({ name }) => name)) };
  const found: string[] = [];
  for (const n of lengths) {
    const sequence = tokens.slice(0, n);
    const honest = Arm.uncached(executor, n, 'recompute');
    const whole = await honest.prefill(sequence, capture);
    const single = Arm.cached(executor, n, 1, { kernel });
    single.cache.copyFrom(honest.cache, n - 1);
    const step = await single.step(sequence, capture);
    for (const { name } of hooks) {
      if (!newest(step, name).equals(newest(whole, name))) found.push(`n = ${n}, ${name}`);
    }
  }
  return found;
}

/** The newest row's bytes: of tensors by head, each head's newest query. */
function newest({ activations }: ArmStep, name: string): Buffer {
  const { data, dims } = activations.get(name)!;
  const byHead = name.endsWith('attn_scores') || name.endsWith('pattern');
  const [blocks, rows] = byHead ? [dims[1], dims[2]] : [1, dims[1]];
  const width = data.length / (blocks * rows);
  const parts = Array.from({ length: blocks }, (_, block) => {
    const end = (block + 1) * rows * width;
    return data.slice(end - width, end);
  });
  return Buffer.concat(parts.map((part) => Buffer.from(part.buffer)));
}

describe.each(embeddedModels())('$name', ({ name, dir }) => {
  describe.each(['ort', 'ort-unpacked'])('%s', (preset) => {
    test.each(['fp32', 'fp16', 'bf16'])(
      '%s: six classes doubled are the honest row at every hook',
      async (precision) => {
        const checkpoint = await openCheckpoint(dir, { name });
        const kernels = resolveKernels(preset);
        const executor = new Executor({ checkpoint, policy: resolvePolicy(precision), kernels, threads: 1 });
        expect(await unlike(executor, doubled(kernels.decode))).toEqual([]);
        // A row by itself does differ, or there would be nothing to explain.
        if (precision === 'fp32') expect(await unlike(executor, 'decode')).not.toEqual([]);
        await executor.release();
      },
    );
  });

  test('ort-unpacked, fp32: leaving any one class undoubled differs, first in that class', async () => {
    const checkpoint = await openCheckpoint(dir, { name });
    const kernels = resolveKernels('ort-unpacked');
    const executor = new Executor({ checkpoint, policy: resolvePolicy('fp32'), kernels, threads: 1 });
    const first: Record<OperationClass, RegExp> = {
      qkv: /blocks\.0\.attn\.hook_[qkv]$/,
      scores: /blocks\.0\.attn\.hook_attn_scores$/,
      values: /blocks\.0\.attn\.hook_z$/,
      o: /blocks\.0\.(hook_attn_out|ln1_post\.hook_scale)$/,
      mlp: /blocks\.0\.mlp\.hook_pre(_linear)?$/,
      head: /unembed\.hook_out$/,
    };
    for (const operation of operationClasses) {
      const found = await unlike(executor, doubled(kernels.decode, operation));
      expect(found[0], operation).toMatch(first[operation]);
    }
    await executor.release();
  });
});
