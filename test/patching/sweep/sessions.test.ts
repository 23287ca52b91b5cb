/** What a sweep opens it closes, and not under a sweep that runs beside it. */
import { afterAll, expect, test } from 'vitest';
import type { BuiltGraph } from '../../../src/graph/builder.ts';
import { Executor, type StepKernel } from '../../../src/model/executor.ts';
import { Model } from '../../../src/model/model.ts';
import type { GraphSession } from '../../../src/model/session.ts';
import { getActPatchAttnHeadAllPosEvery, getActPatchMlpOut } from '../../../src/patching/sweep/act-patch-hooks.ts';
import { logitDiff } from '../../../src/patching/sweep/metrics.ts';
import { removeCheckpoint, writeTinyCheckpoint } from '../../tiny-checkpoint.ts';

const dir = writeTinyCheckpoint({ attention: 'gqa', layers: 3 });
afterAll(() => removeCheckpoint(dir));

const clean = [1, 5, 9, 33, 2, 70, 12, 8, 3, 4];
const corrupted = [1, 5, 44, 33, 2, 70, 13, 8, 3, 4];

/** A model, and how many sessions it has open now: all, and those of patched graphs. */
async function counted() {
  const model = await Model.open(dir);
  const open = { all: 0, patched: 0, mostPatched: 0 };
  const { executor } = model;
  executor.openGraph = async (graph: BuiltGraph, kernel: StepKernel): Promise<GraphSession> => {
    const session = await Executor.prototype.openGraph.call(executor, graph, kernel);
    const isPatched = graph.inputs.some((name) => name.endsWith('.patch'));
    const count = (by: number) => {
      open.all += by;
      if (isPatched) open.patched += by;
      open.mostPatched = Math.max(open.mostPatched, open.patched);
    };
    count(1);
    const release = session.release.bind(session);
    session.release = async () => {
      count(-1);
      await release();
    };
    return session;
  };
  return { model, open };
}

test('patched sessions are closed when a sweep ends, the others stay for the next one', async () => {
  const { model, open } = await counted();
  const { cache } = await model.runWithCache(clean);
  await getActPatchAttnHeadAllPosEvery(model, corrupted, cache, logitDiff(7, 11));
  expect(open.mostPatched).toBeGreaterThanOrEqual(3);
  expect(open.patched).toBe(0);
  expect(open.all).toBeGreaterThan(0);
  await model.release();
  expect(open.all).toBe(0);
});

test("two sweeps at once do not close each other's sessions, and find what they find alone", async () => {
  const { model, open } = await counted();
  const { cache } = await model.runWithCache(clean);
  const metric = logitDiff(7, 11);
  const every = async () => {
    const { parts } = await getActPatchAttnHeadAllPosEvery(model, corrupted, cache, metric);
    return parts.flatMap(({ result }) => [...result.values.data]);
  };
  const mlp = async () => [...(await getActPatchMlpOut(model, corrupted, cache, metric)).values.data];
  const alone = [await every(), await mlp()];
  expect(await Promise.all([every(), mlp()])).toEqual(alone);
  expect(open.patched).toBe(0);
  await model.release();
});

test('an interrupted sweep closes them too', async () => {
  const { model, open } = await counted();
  const { cache } = await model.runWithCache(clean);
  const controller = new AbortController();
  const stopped = getActPatchMlpOut(model, corrupted, cache, logitDiff(7, 11), {
    signal: controller.signal,
    onCell: () => controller.abort(),
  });
  await expect(stopped).rejects.toThrow(/interrupted/);
  expect(open.patched).toBe(0);
  await model.release();
});
