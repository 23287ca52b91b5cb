/**
 * kvlens, and the bare runtime under it, as peers of `compare.mts`: the protocol of `protocol.mts` over stdin and stdout. Runs
 * `dist/`, as users do. Only what a caller would wait for is inside the time.
 */
import { createInterface } from 'node:readline';
import { digestOf, requestSchema, type WorkerRequest } from './protocol.mts';

const at = async (path: string) => import(new URL(`../../dist/${path}.js`, import.meta.url).href);
const { Model, getActPatchResidPre, logitDiff }: typeof import('../../src/index.ts') = await at('index');
const { isCacheHook }: typeof import('../../src/graph/hooks.ts') = await at('graph/hooks');
const { InferenceSession, Tensor, env }: typeof import('../../src/model/onnxruntime.ts') =
  await at('model/onnxruntime');
const { openCheckpoint }: typeof import('../../src/checkpoint/open.ts') = await at('checkpoint/open');
const { inputNames }: typeof import('../../src/graph/build.ts') = await at('graph/build');
const { PositionFeeds }: typeof import('../../src/model/position-feeds.ts') = await at('model/position-feeds');
const { resolvePolicy }: typeof import('../../src/graph/rounding.ts') = await at('graph/rounding');

interface Once {
  seconds: number;
  /** The last position's logits, or the cells. */
  result: number[];
  /** Captured arrays by name, those of all steps. */
  arrays?: [string, ArrayLike<number> & { buffer: ArrayBufferLike; byteLength: number }][];
}

interface Runner {
  run: () => Promise<Once>;
  notes: string[];
}

const lastRow = (data: ArrayLike<number>, size: number) => Array.from(data).slice(-size);

async function openKvlens(request: WorkerRequest): Promise<Runner> {
  const { checkpoint, threads, precision, tokens, forced, corrupted, task } = request;
  const model = await Model.open(checkpoint, { precision, threads });
  const { vocabSize } = model.config;
  if (task === 'sweep') return openSweep(model, request);
  if (task === 'decode') {
    const run = async () => {
      const past = model.newPast();
      await model.runWithCache(tokens, { past, namesFilter: [] });
      const steps = [];
      const began = performance.now();
      for (const token of forced) steps.push(await model.runWithCache([token], { past }));
      const seconds = (performance.now() - began) / 1000;
      const arrays = steps.flatMap(({ cache }, step) =>
        [...cache].map(([name, { data }]): [string, typeof data] => [`${step} ${name}`, data]),
      );
      return { seconds, result: lastRow(steps[steps.length - 1].logits!.data, vocabSize), arrays };
    };
    return { run, notes: [] };
  }
  if (corrupted.length > 0) throw new Error(`${task}: found a corrupted prompt, expected none`);
  const options = task === 'prefill' ? {} : { namesFilter: [] };
  const run = async () => {
    const began = performance.now();
    const { logits, cache } = await model.runWithCache(tokens, options);
    const seconds = (performance.now() - began) / 1000;
    const arrays = [...cache].map(([name, { data }]): [string, typeof data] => [name, data]);
    return { seconds, result: lastRow(logits!.data, vocabSize), ...(task === 'prefill' ? { arrays } : {}) };
  };
  return { run, notes: [] };
}

/** The clean run is made before, as with TransformerLens. */
async function openSweep(model: import('../../src/index.ts').Model, request: WorkerRequest): Promise<Runner> {
  const { tokens, corrupted, answers, checkLoop } = request;
  const { cache } = await model.runWithCache(tokens, { namesFilter: ['*.hook_resid_pre', 'logits'] });
  const metric = logitDiff(...answers);
  const fast = await getActPatchResidPre(model, corrupted, cache, metric);
  const { mode, cells, vacuous, compared } = fast.method;
  const notes = [`sweep ${mode}: ${cells} cells, ${vacuous} change nothing, ${compared} computed both ways`];
  if (checkLoop) {
    const loop = await getActPatchResidPre(model, corrupted, cache, metric, { method: 'loop' });
    const differ = fast.values.data.filter((value, i) => !Object.is(value, loop.values.data[i])).length;
    if (differ > 0) throw new Error(`${differ} of ${cells} cells differ from the full loop's`);
    notes.push(`all ${cells} cells are the full loop's, bit for bit`);
  }
  const run = async () => {
    const began = performance.now();
    const { values } = await getActPatchResidPre(model, corrupted, cache, metric);
    return { seconds: (performance.now() - began) / 1000, result: [...values.data] };
  };
  return { run, notes };
}

/** The exported graph in a session with the runtime's own defaults; nothing but logits is fetched. */
async function openBare({ checkpoint: dir, graphs, threads, precision, tokens }: WorkerRequest): Promise<Runner> {
  const { config } = await openCheckpoint(dir);
  const positions = new PositionFeeds(config, resolvePolicy(precision));
  const session = await InferenceSession.create(`${graphs}/model.onnx`, {
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
  });
  const { kvHeads, headDim, layers, vocabSize } = config;
  const run = async () => {
    const began = performance.now();
    const empty = () => new Tensor('float32', new Float32Array(0), [1, 0, kvHeads, headDim]);
    const past = Array.from({ length: layers }, (_, layer) => [
      [inputNames.pastKeys(layer), empty()],
      [inputNames.pastValues(layer), empty()],
    ]).flat();
    const ids = BigInt64Array.from(tokens, BigInt);
    const feeds = {
      [inputNames.tokens]: new Tensor('int64', ids, [1, tokens.length]),
      ...positions.feeds({ start: 0, count: tokens.length }, null),
      ...Object.fromEntries(past),
    };
    const { logits } = await session.run(feeds, ['logits']);
    const seconds = (performance.now() - began) / 1000;
    if (!(logits.data instanceof Float32Array)) throw new Error(`logits: found ${logits.type}, expected float32`);
    return { seconds, result: lastRow(logits.data, vocabSize) };
  };
  return { run, notes: [] };
}

/** Views of the cache are no copies; arrays that two hooks share count once. */
function kept(arrays: NonNullable<Once['arrays']>) {
  const own = arrays.filter(([name]) => !isCacheHook(name.slice(name.indexOf(' ') + 1)));
  const buffers = new Set(own.map(([, { buffer }]) => buffer));
  return { tensors: arrays.length, bytes: [...buffers].reduce((sum, { byteLength }) => sum + byteLength, 0) };
}

function answer(message: object): void {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

async function serve(): Promise<void> {
  let runner: Runner | undefined;
  for await (const line of createInterface({ input: process.stdin })) {
    const told: unknown = JSON.parse(line);
    if (runner === undefined) {
      const request = requestSchema.parse(told);
      if (request.peer !== 'kvlens' && (request.peer !== 'onnxruntime-node' || request.task !== 'forward'))
        throw new Error(`${request.peer} has no task ${request.task}`);
      runner = request.peer === 'kvlens' ? await openKvlens(request) : await openBare(request);
      const { result, arrays } = await runner.run();
      const versions = { node: process.versions.node, 'onnxruntime-node': env.versions.node ?? 'unknown' };
      const { notes } = runner;
      answer({ ready: true, versions, result, kept: arrays ? kept(arrays) : null, notes });
    } else {
      if (told !== 'go') throw new Error(`found ${line}, expected "go"`);
      const { seconds, result } = await runner.run();
      answer({ seconds, digest: digestOf(result) });
    }
  }
}

serve().catch((error: unknown) => {
  answer({ error: error instanceof Error ? error.message : String(error) });
  process.exitCode = 1;
  process.stdin.destroy();
});
