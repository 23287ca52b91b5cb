/**
 * kill -9 at random moments, from the start of the process to the last rename, and go on until it is finished: every file of
 * a study, of a shard and of a merge must be that of an uninterrupted run, and no folder may look finished before it is.
 *
 * `node test/study/crash.mjs [KILLS [SEED]]`; needs the built command. Prints `N passed, N failed` as its last line.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const command = join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'dist', 'cli', 'main.js');
const [kills = 24, seed = 1] = process.argv.slice(2).map(Number);
if (!existsSync(command)) fail('dist/cli/main.js is missing: npm run build');
if (!(kills >= 1 && seed >= 1))
  fail(`found ${process.argv.slice(2).join(' ')}, expected KILLS and SEED, whole numbers`);

const work = mkdtempSync(join(tmpdir(), 'kvlens-crash-'));
process.on('exit', () => rmSync(work, { recursive: true, force: true }));
const random = generator(seed);
let passed = 0;
let failed = 0;

const file = join(work, 'study.json');
writeFileSync(
  file,
  JSON.stringify({
    ...{ name: 'crash', models: ['mini-llama'], strategies: ['greedy', 't1.0-k50'], precisions: ['fp16'] },
    ...{ prompts: { limit: 8 }, maxNewTokens: 24, profile: { prompts: 2 } },
    ...{ patching: { prompts: 1, every: 12 }, placebo: { arms: 2 } },
  }),
);
const study = ['study', file, '--workers', '2'];

console.log(`Crash: ${kills} kills, seed ${seed}`);
const shards = [1, 2].map((index) => join(work, `shard-${index}`));
const moments = ['process', 'units', 'files', 'names'];
const jobs = [
  { name: 'study', line: study, moments },
  { name: 'shard', line: [...study, '--shard', '1/2'], moments },
  { name: 'merge', line: ['study', '--merge', ...shards], moments: moments.filter((name) => name !== 'units') },
];
for (const [i, shard] of shards.entries()) await finish([...study, '--shard', `${i + 1}/2`], shard);
for (const job of jobs) {
  job.reference = join(work, `${job.name}-reference`);
  job.delays = await timesOf(job);
  const [computing, writing, naming] = ['process', 'files', 'names'].map((name) => Math.round(job.delays[name]));
  console.log(`  ${job.name}: ${computing} ms, files in ${writing} ms, names in ${naming} ms`);
}

for (let killed = 0, round = 0; killed < kills; round++) {
  const job = jobs[round % jobs.length];
  killed += await killUntilFinished(job, join(work, `${job.name}-${round}`));
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;

/**
 * Kill a job at four moments – some time after it began, after units were journalled, while files are written, while they get
 * their names – then let it finish, and compare it with the uninterrupted one. Returns how often it was killed.
 */
async function killUntilFinished(job, out) {
  let killed = 0;
  for (const moment of job.moments) {
    const delay = Math.round(random() * job.delays[moment]);
    const lines = linesIn(out) + 1 + Math.floor(random() * 3);
    const begun = { process: () => true, units: () => linesIn(out) >= lines, files: hasParts, names: hasNames }[moment];
    const found = await start(job.line, out, { delay, begun }).ended;
    // Names are given within milliseconds: a run may be finished before it is killed.
    if (found.signal !== 'SIGKILL') {
      claim(`${job.name} ends by itself after ${killed} kills`, found.code === 0, found.stderr);
      break;
    }
    killed += 1;
    const name = `${job.name} killed ${delay} ms into its ${moment}: ${stateOf(out)}`;
    claim(name, isWholeIfFinished(out, job.reference));
  }
  await finish(job.line, out);
  const unlike = unlikeFiles(out, job.reference);
  claim(`${job.name} after ${killed} kills: every file is that of an uninterrupted run`, unlike.length === 0, unlike);
  return killed;
}

/** Run until it ends. */
async function finish(line, out) {
  const { code, stderr } = await start(line, out).ended;
  if (code !== 0) fail(`kvlens ${line.join(' ')} ended with exit code ${code}: ${stderr}`);
}

/** Until when kills make sense, in milliseconds after each moment; from a run that is left alone. */
async function timesOf(job) {
  const out = join(work, `${job.name}-reference`);
  const begun = performance.now();
  const seen = {};
  const { ended, child } = start(job.line, out);
  const stop = poll(() => {
    if (hasParts(out)) seen.files ??= performance.now();
    if (hasNames(out)) seen.names ??= performance.now();
    if (existsSync(join(out, 'manifest.json'))) seen.end ??= performance.now();
    return seen.end !== undefined;
  });
  child.on('exit', stop);
  const { code, stderr } = await ended;
  if (code !== 0) fail(`kvlens ${job.line.join(' ')} ended with exit code ${code}: ${stderr}`);
  const { end = performance.now(), names = end, files = names } = seen;
  return { process: 0.9 * (files - begun), units: (files - begun) / 20, files: names - files, names: end - names };
}

/** Start a job, and kill it some time after a moment. */
function start(line, out, kill) {
  const child = spawn(process.execPath, [command, ...line, '--resume', '--out', out, '--quiet'], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text) => {
    stderr += text;
  });
  let timer;
  const arm = () => {
    if (kill.delay === 0) child.kill('SIGKILL');
    else timer = setTimeout(() => child.kill('SIGKILL'), kill.delay);
  };
  const stop = poll(() => {
    if (!kill?.begun(out)) return false;
    arm();
    return true;
  });
  const ended = new Promise((resolve) => {
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      stop();
      resolve({ code, signal, stderr });
    });
  });
  return { child, ended };
}

/** Look, every millisecond, until it is true. Returns what stops it. */
function poll(look) {
  let timer;
  const next = () => {
    timer = setTimeout(() => {
      if (!look()) next();
    }, 1);
  };
  next();
  return () => clearTimeout(timer);
}

function namesIn(folder) {
  return existsSync(folder) ? readdirSync(folder) : [];
}

/** True once files are written, under their names or not yet. */
function hasParts(folder) {
  return namesIn(folder).some((name) => name.endsWith('.partial'));
}

/** True once files get their names. */
function hasNames(folder) {
  return namesIn(folder).some((name) => /^[^.].*\.arrow$/.test(name));
}

/** Whole lines of a folder's journal. */
function linesIn(folder) {
  const journal = join(folder, 'journal.jsonl');
  return existsSync(journal) ? readFileSync(journal, 'latin1').split('\n').length - 1 : 0;
}

/** In words, what a kill left. */
function stateOf(folder) {
  const names = namesIn(folder);
  const parts = names.filter((name) => name.endsWith('.partial')).length;
  const whole = names.filter((name) => !name.startsWith('.') && name !== 'journal.jsonl').length;
  const journal = names.includes('journal.jsonl')
    ? readFileSync(join(folder, 'journal.jsonl'), 'utf8').split('\n')
    : [];
  return `${Math.max(0, journal.length - 1)} lines, ${parts} parts, ${whole} files`;
}

/** A manifest without a journal says that a folder is finished: then every file is there, and is right. */
function isWholeIfFinished(folder, reference) {
  const names = namesIn(folder);
  if (!names.includes('manifest.json') || names.includes('journal.jsonl')) return true;
  return unlikeFiles(folder, reference).length === 0;
}

/** Names of the files that differ, or that one folder alone has; of a manifest, provenance apart. */
function unlikeFiles(left, right) {
  const names = new Set([...namesIn(left), ...namesIn(right)]);
  return [...names].filter((name) => contentOf(join(left, name)) !== contentOf(join(right, name)));
}

function contentOf(path) {
  if (!existsSync(path)) return null;
  const bytes = readFileSync(path);
  if (path.endsWith('units.jsonl')) {
    // Units are in the order in which they were finished.
    return bytes.toString('utf8').split('\n').sort().join('\n');
  }
  if (!path.endsWith('manifest.json')) return bytes.toString('base64');
  const { provenance, ...rest } = JSON.parse(bytes.toString('utf8'));
  return JSON.stringify({ ...rest, files: provenance.files, rows: provenance.rows, units: provenance.units });
}

function claim(name, holds, detail = '') {
  console.log(holds ? `  ok    ${name}` : `  FAIL  ${name} ${detail}`);
  if (holds) passed += 1;
  else failed += 1;
}

function fail(text) {
  console.error(`crash.mjs: ${text}`);
  process.exit(2);
}

/** Numbers in [0, 1) that a seed decides (mulberry32). */
function generator(state) {
  let at = state;
  return () => {
    at = (at + 0x6d2b79f5) | 0;
    let mixed = Math.imul(at ^ (at >>> 15), 1 | at);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
