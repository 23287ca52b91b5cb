/**
 * Gate 4. What runs is what was exported: the operators and casts of each optimized graph are parsed and compared with
 * what the builder predicts for this policy and preset.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Stage } from '../../graph/build.ts';
import { kernelSignature } from '../../graph/kernels.ts';
import { decodeModel } from '../../graph/onnx/codec.ts';
import type { Executor, KernelRole } from '../../model/executor.ts';
import { inTemporaryFolder } from '../../store/temporary-folder.ts';
import { gateClaims } from './claims.ts';
import { always, type Gate, type GateContext, type Measurement, once } from './gate.ts';
import { multisetDifference, type OptimizedGraph, readOptimized } from './optimized-graph.ts';
import { reducedTwin } from './reduced-twin.ts';

/** The optimized graph holds the folded weights; beyond this a shape-reduced twin is dumped instead. */
const dumpLimitBytes = 256 * 1024 * 1024;

export const provenance: Gate = {
  name: 'provenance',
  class: 'harness',
  claim: gateClaims.provenance,
  required: 'operators and casts as predicted; none in 16 bits; no unknown domain',
  failing: [
    'a float16-typed graph, whose casts the runtime deletes',
    'a graph whose roundings were dropped',
    'decode graphs that are not the prefill’s under the same preset',
  ],
  appliesTo: always,
  stages: 'none',
  begin: once(measure),
};

function measure(context: GateContext): Promise<Measurement> {
  const bytes = [...context.checkpoint.tensors.values()].reduce((total, tensor) => total + tensor.bytes, 0);
  return inTemporaryFolder('gate provenance writes graphs', async (dir) => {
    if (bytes <= dumpLimitBytes) return await inspect(context, context.executor, dir, 'every stage');
    const twin = context.open({ checkpoint: reducedTwin(context.checkpoint, dir, context.kernels) });
    try {
      return await inspect(context, twin, dir, 'every stage of a shape-reduced twin (weights above 256 MB)');
    } finally {
      await twin.release();
    }
  });
}

async function inspect(context: GateContext, executor: Executor, dir: string, what: string): Promise<Measurement> {
  const { layers } = executor.config;
  const stages: Stage[] = ['embed', ...Array.from({ length: layers }, (_, block) => ({ block })), 'unembed'];
  const { prefill, decode } = context.kernels;
  const samePreset = kernelSignature(prefill) === kernelSignature(decode);
  const problems: string[] = [];
  let operators = 0;
  for (const stage of stages) {
    const name = typeof stage === 'string' ? stage : `block ${stage.block}`;
    const found = { prefill: await dump('prefill', stage), decode: await dump('decode', stage) };
    const unlike = samePreset ? multisetDifference(found.decode.operators, found.prefill.operators) : '';
    if (unlike !== '') problems.push(`${name}: decode against prefill: ${unlike}`);
  }
  return {
    passed: problems.length === 0,
    measured:
      problems.length === 0
        ? `${operators} operators in ${2 * stages.length} graphs as predicted`
        : `${problems.length} problems; first: ${problems[0]}`,
    scope: `${what}, prefill and decode kernels, every hook captured`,
  };

  async function dump(role: KernelRole, stage: Stage): Promise<OptimizedGraph> {
    const built = executor.graph(stage, role, context.hooks);
    const path = join(dir, 'optimized.onnx');
    const session = await executor.openGraph(built, role, path);
    await session.release();
    const found = readOptimized(decodeModel(readFileSync(path), path));
    const name = `${typeof stage === 'string' ? stage : `block ${stage.block}`}, ${role}`;
    const difference = multisetDifference(found.operators, built.operators);
    if (difference !== '') problems.push(`${name}: ${difference}`);
    if (found.narrowCompute.length > 0)
      problems.push(`${name}: computes in 16 bits: ${found.narrowCompute.join(', ')}`);
    if (found.unknownDomains.length > 0) problems.push(`${name}: unknown ${found.unknownDomains.join(', ')}`);
    for (const total of found.operators.values()) operators += total;
    return found;
  }
}
