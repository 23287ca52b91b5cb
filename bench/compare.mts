/**
 * kvlens against what people would use instead: `npx tsx bench/compare.mts [--pairs 20] [--threads 1] [--models llama,24m]
 * [--cases prefill,decode,sweep,forward,open,cold] [--prefill 128] [--sweep 32] [--steps 32] [--json FILE] [--check-loop]`.
 *
 * For each case kvlens and a peer run in a process each, on the same weights, in float32, on as many threads. They must agree on
 * what they compute within 1e-4 before anything is timed, and in every timed run; then they take turns, so that both see the same
 * machine, and each turn's ratio is one number. `bash bench/peers/setup.sh` and `npm run build` first.
 */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { embeddedModels } from '../src/checkpoint/embedded.ts';
import { openCheckpoint } from '../src/checkpoint/open.ts';
import type { Checkpoint } from '../src/checkpoint/types.ts';
import { resolveKernels } from '../src/graph/kernels.ts';
import { resolvePolicy } from '../src/graph/rounding.ts';
import { writeGraphFolder } from '../src/store/graph-folder.ts';
import { type Case, cases, fitting, requestOf, type Sizes } from './peers/cases.mts';
import { checkPeers, Worker } from './peers/client.mts';
import { measureColdStart, showColdStart } from './peers/cold-start.mts';
import { isMet, type Outcome, ratioOf, table } from './peers/outcome.mts';
import { digestOf, type Peer, type Ready, relativeDifference, type WorkerRequest } from './peers/protocol.mts';
import { benchModel } from './synthetic.mts';

/** Results that differ by more are not of the same computation. */
const tolerance = 1e-4;
/** Above this load average times say more about the other work. */
const idle = 1.5;
/** Pairs before the first that counts: so many, or as many as these seconds hold; at least one. */
const warmUp = { pairs: 20, seconds: 4 };
/** Milliseconds between turns: a runtime's threads may spin for a while after their last work. */
const pause = 5;

const { values } = parseArgs({
  options: {
    pairs: { type: 'string', default: '20' },
    threads: { type: 'string', default: '1' },
    models: { type: 'string', default: 'llama,24m' },
    cases: { type: 'string', default: 'prefill,decode,sweep,forward,open,cold' },
    prefill: { type: 'string', default: '128' },
    sweep: { type: 'string', default: '32' },
    steps: { type: 'string', default: '32' },
    json: { type: 'string' },
    /** Run kvlens's sweeps cell by cell too, and compare every bit. */
    'check-loop': { type: 'boolean', default: false },
  },
});
const count = (name: 'pairs' | 'threads' | 'prefill' | 'sweep' | 'steps') => {
  const found = Number(values[name]);
  if (Number.isInteger(found) && found >= 1) return found;
  throw new Error(`--${name}: found ${values[name]}, expected a whole number ≥ 1`);
};
const [pairs, threads] = [count('pairs'), count('threads')];
const sizes: Sizes = { prefill: count('prefill'), sweep: count('sweep'), steps: count('steps') };
const wanted = new Set(chosen('cases', [...new Set(cases.map(({ task }): string => task)), 'cold']));
const models = chosen('models', ['llama', '24m']);

const dist = fileURLToPath(new URL('../dist/index.js', import.meta.url));
if (!existsSync(dist)) throw new Error(`${dist} is missing: npm run build`);
checkPeers();

const machine = {
  processor: cpus()[0]?.model ?? 'unknown',
  cores: cpus().length,
  node: process.versions.node,
  date: new Date().toISOString(),
  loadAtStart: loadavg().map((load) => Number(load.toFixed(2))),
};
const preliminary = machine.loadAtStart[0] > idle;
console.log(`${machine.processor}, ${machine.cores} cores, Node ${machine.node}, ${threads} thread(s), fp32`);
console.log(
  `load average ${machine.loadAtStart.join(' ')} at the start${preliminary ? ': other work is running, PRELIMINARY figures' : ''}`,
);

const scratch = mkdtempSync(join(tmpdir(), 'kvlens-compare-'));
const outcomes: Outcome[] = [];
const refused: { model: string; case: string; peer: string; why: string }[] = [];
try {
  for (const model of models) {
    if (!cases.some(({ task }) => wanted.has(task))) break;
    const dir = model === '24m' ? benchModel() : embeddedModels().find(({ name }) => name === `mini-${model}`)!.dir;
    const checkpoint = await openCheckpoint(dir);
    const graphs = join(scratch, model);
    const bare = { policy: resolvePolicy('fp32'), kernels: resolveKernels('ort'), hooks: 'logits', singleFile: true };
    await writeGraphFolder(graphs, { checkpoint, ...bare });
    for (const which of cases.filter(({ task }) => wanted.has(task))) {
      const label = { model: checkpoint.name, case: which.name, peer: which.peer };
      try {
        const outcome = await compare(checkpoint, graphs, which);
        outcomes.push(outcome);
        const { median, least, most } = ratioOf(outcome);
        const shown = `${median.toFixed(2)} × its speed (${least.toFixed(2)}–${most.toFixed(2)})`;
        console.log(`  ${label.model}: ${label.case} against ${label.peer}: ${shown}`);
        for (const note of outcome.notes) console.log(`    ${note}`);
      } catch (error) {
        const why = error instanceof Error ? error.message : String(error);
        refused.push({ ...label, why });
        console.log(`  ${label.model}: ${label.case} against ${label.peer}: NOT TIMED: ${why}`);
      }
    }
  }
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
const cold = wanted.has('cold') ? await measureColdStart(Math.max(3, Math.round(pairs / 4))) : null;

if (outcomes.length > 0) console.log(`\n${table(outcomes)}`);
if (cold) console.log(`\n${showColdStart(cold)}`);
const versions = Object.assign({}, ...outcomes.map((outcome) => outcome.versions));
console.log(
  `\n${Object.entries(versions)
    .map(([name, version]) => `${name} ${version}`)
    .join(', ')}`,
);
if (preliminary)
  console.log(`PRELIMINARY: the load average was ${machine.loadAtStart[0]} at the start, expected ≤ ${idle}`);
if (values.json !== undefined) {
  const rows = outcomes.map((outcome) => ({ ...outcome, ratio: ratioOf(outcome), met: isMet(outcome) }));
  const all = { machine: { ...machine, loadAtEnd: loadavg() }, preliminary, threads, sizes, versions };
  writeFileSync(values.json, `${JSON.stringify({ ...all, outcomes: rows, cold, refused }, null, 2)}\n`);
  console.log(`written to ${values.json}`);
}
if (refused.length > 0) process.exitCode = 1;

/** Both workers, checked against each other and then timed in turns. */
async function compare({ config, dir, name }: Checkpoint, graphs: string, which: Case): Promise<Outcome> {
  const fitted = fitting(sizes, config);
  const common = { ...requestOf(which, config, fitted), checkpoint: dir, graphs, threads };
  const request = (peer: Peer): WorkerRequest => ({ ...common, peer, checkLoop: values['check-loop'] });
  const repetitions = Math.max(2, Math.round(pairs * which.share));
  const times = { kvlens: [] as number[], other: [] as number[] };
  const started: Started[] = [];
  try {
    for (const peer of ['kvlens', which.peer] as const) started.push(await start(request(peer)));
    const [ours, theirs] = started;
    const difference = relativeDifference(ours.ready.result, theirs.ready.result);
    if (!(difference <= tolerance))
      throw new Error(`results differ by ${difference.toExponential(1)}, expected at most ${tolerance}`);
    if (which.task === 'open') {
      for (let i = 0; i < repetitions; i++) {
        times.kvlens.push(await openOnce(request('kvlens'), ours.ready));
        times.other.push(await openOnce(request(which.peer), theirs.ready));
      }
    } else {
      const until = performance.now() + warmUp.seconds * 1000;
      for (let i = 0; i === 0 || (i < warmUp.pairs && performance.now() < until); i++) await turn(ours, theirs);
      for (let i = 0; i < repetitions; i++) {
        const [a, b] = await turn(ours, theirs);
        times.kvlens.push(a);
        times.other.push(b);
      }
    }
    return {
      ...{ model: name, case: which.name, peer: which.peer, threads, ...times, difference },
      parts: which.task === 'decode' ? fitted.steps : 1,
      target: which.target,
      kept: { kvlens: ours.ready.kept, other: theirs.ready.kept },
      versions: { ...ours.ready.versions, ...theirs.ready.versions },
      notes: [...ours.ready.notes, ...theirs.ready.notes],
    };
  } finally {
    await Promise.all(started.map(({ worker }) => worker.close()));
  }
}

interface Started {
  worker: Worker;
  ready: Ready;
}

async function start(request: WorkerRequest): Promise<Started> {
  const worker = new Worker(request);
  try {
    return { worker, ready: await worker.ready() };
  } catch (error) {
    await worker.close();
    throw error;
  }
}

/** A pair: kvlens, then the other. */
async function turn(ours: Started, theirs: Started): Promise<[number, number]> {
  const first = await go(ours);
  await setTimeout(pause);
  const second = await go(theirs);
  await setTimeout(pause);
  return [first, second];
}

/** Seconds of one run, whose result must still be the first one's. */
async function go({ worker, ready }: Started): Promise<number> {
  const { seconds, digest } = await worker.go();
  const difference = relativeDifference(digest, digestOf(ready.result));
  if (!(difference <= tolerance))
    throw new Error(`${worker.peer}: a timed run differs from the first by ${difference}`);
  return seconds;
}

/** Seconds from the start of a process to its first result, which must be the known one. */
async function openOnce(request: WorkerRequest, known: Ready): Promise<number> {
  const began = performance.now();
  const { worker, ready } = await start(request);
  const seconds = (performance.now() - began) / 1000;
  await worker.close();
  const difference = relativeDifference(ready.result, known.result);
  if (!(difference <= tolerance)) throw new Error(`${worker.peer}: opened again, its result differs by ${difference}`);
  return seconds;
}

/** Names of a comma-separated option. */
function chosen(option: 'cases' | 'models', known: readonly string[]): string[] {
  const names = values[option].split(',');
  const bad = names.find((name) => !known.includes(name));
  if (bad !== undefined) throw new Error(`--${option}: found ${bad}, expected some of ${known.join(',')}`);
  return names;
}
