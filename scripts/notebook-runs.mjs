/**
 * The small runs that the notebooks read, notebooks/runs/: `npm run build && node scripts/notebook-runs.mjs`. With --check they are
 * made again elsewhere and compared: the identity but for processor and Node, and, where these are the same too, every byte.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isDeepStrictEqual } from 'node:util';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const folder = join(root, 'notebooks', 'runs');
const drives =
  'Luke drives 42 miles an hour for 3 hours and then 72 miles an hour for 4 hours. How many miles does he drive in total?\n';

/** What each is made of; the notebooks quote these commands. */
const runs = {
  drift: [
    ...['diverge', 'mini-gemma2', '--prompt', drives],
    ...['--hooks', '*attn_scores,*hook_attn_out,*hook_mlp_out,*hook_resid_post'],
  ],
  // 30 tokens: the drift of this prompt starts in step 28.
  activations: [
    ...['diverge', 'mini-gemma2', '--prompt', drives, '--max-new-tokens', '30'],
    ...['--hooks', '*hook_resid_post', '--save-activations'],
  ],
  // Coarser numbers and a kernel that sums as a GPU's may: tokens flip.
  flips: [
    ...['diverge', 'mini-gemma2', '--precision', 'bf16', '--kernels', 'split-k:8:storage'],
    ...['--limit', '6', '--hooks', 'logits'],
  ],
  'two-by-two': ['patch', 'mini-gemma2', 'two-by-two', '--limit', '12'],
  study: ['study', 'notebooks/study.json'],
};

function make(command, out) {
  const options = { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] };
  execFileSync(process.execPath, ['dist/cli/main.js', ...command, '--quiet', '--out', out], options);
}

const manifestOf = (run) => JSON.parse(readFileSync(join(run, 'manifest.json'), 'utf8'));

/** Provenance names paths, times and a host: what a file in the tree should not. */
function anonymise(run, command) {
  const { provenance, ...manifest } = manifestOf(run);
  const kept = { command: ['kvlens', ...command], rows: provenance.rows };
  writeFileSync(join(run, 'manifest.json'), `${JSON.stringify({ ...manifest, provenance: kept }, null, 2)}\n`);
}

function portable({ machine: _machine, versions: { node: _node, ...versions }, ...identity }) {
  return { ...identity, versions };
}

function arrowFiles(run) {
  const names = readdirSync(run, { recursive: true, encoding: 'utf8' });
  return names.filter((name) => name.endsWith('.arrow')).sort();
}

const checks = process.argv.slice(2);
if (checks.length > 1 || (checks.length === 1 && checks[0] !== '--check')) {
  console.error(`notebook-runs.mjs: found ${checks.join(' ')}, expected --check or nothing`);
  process.exit(2);
}
if (checks.length === 0) {
  for (const [name, command] of Object.entries(runs)) {
    const out = join(folder, name);
    rmSync(out, { recursive: true, force: true });
    make(command, out);
    anonymise(out, command);
    console.log(`notebooks/runs/${name}`);
  }
} else {
  let [passed, failed] = [0, 0];
  const check = (claim, holds) => {
    console.log(`  ${holds ? 'ok  ' : 'FAIL'}  ${claim}`);
    if (holds) passed++;
    else failed++;
  };
  const work = mkdtempSync(join(tmpdir(), 'kvlens-notebook-runs-'));
  try {
    for (const [name, command] of Object.entries(runs)) {
      const [committed, again] = [join(folder, name), join(work, name)];
      const claim = `notebooks/runs/${name} is what its command makes (node scripts/notebook-runs.mjs writes it)`;
      if (!existsSync(join(committed, 'manifest.json'))) {
        check(claim, false);
        continue;
      }
      make(command, again);
      const [before, after] = [manifestOf(committed), manifestOf(again)];
      check(claim, isDeepStrictEqual(portable(before.identity), portable(after.identity)));
      const files = arrowFiles(committed);
      check(`notebooks/runs/${name} has the files that its command makes`, isDeepStrictEqual(files, arrowFiles(again)));
      if (!isDeepStrictEqual(before.identity, after.identity)) continue;
      const same = (file) => readFileSync(join(committed, file)).equals(readFileSync(join(again, file)));
      const unlike = files.filter((file) => !same(file));
      check(
        `notebooks/runs/${name} has the same bytes on this processor${unlike.map((file) => `, ${file}`)}`,
        unlike.length === 0,
      );
    }
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  console.log(`${passed} passed, ${failed} failed`);
  process.exitCode = failed === 0 ? 0 : 1;
}
