/**
 * The README's picture: mini-llama in fp16, from a run's own files: `npm run build && npx tsx scripts/hero.mts`. Of its first
 * 100 prompts the one is shown whose logits differ in most steps.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { hookName } from '../src/graph/hooks.ts';
import { unitRoundoff } from '../src/numerics/types.ts';
import { driftMap, type MapRow } from '../src/report/figures/drift-map.ts';
import { themes } from '../src/report/figures/theme.ts';
import { openArrow } from '../src/store/reader.ts';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const layers = 6;
const blockHooks = [
  ['attn.attn_scores', 'scores'],
  ['attn_out', 'attn out'],
  ['mlp_out', 'mlp out'],
  ['resid_post', 'resid post'],
] as const;
const hooks: { hook: string; group: string; label: string }[] = [
  { hook: hookName('embed'), group: '', label: 'embed' },
  ...Array.from({ length: layers }, (_, layer) =>
    blockHooks.map(([kind, label]) => ({ hook: hookName(kind, layer), group: `L${layer}`, label })),
  ).flat(),
  { hook: hookName('ln_final.normalized'), group: ' ', label: 'final norm' },
  { hook: hookName('logits'), group: ' ', label: 'logits' },
];

const folder = mkdtempSync(join(tmpdir(), 'kvlens-hero-'));
const run = join(folder, 'run');
const command = ['diverge', 'mini-llama', '--out', run, '--quiet'];
const names = hooks.map(({ hook }) => hook).join();
execFileSync(process.execPath, [join(root, 'dist', 'cli', 'main.js'), ...command, '--hooks', names]);

async function rows(name: string) {
  const file = await openArrow(join(run, `${name}.arrow`));
  const table = await file.table();
  await file.close();
  return table.toArray().map((row) => row.toJSON());
}
const allSteps = (await rows('steps')).filter((row) => row.protocol === 'teacher-forced');
const differing = new Map<string, number>();
for (const row of allSteps) {
  differing.set(row.prompt, (differing.get(row.prompt) ?? 0) + (row.logits_n_differ > 0 ? 1 : 0));
}
const [id] = [...differing].reduce((most, entry) => (entry[1] > most[1] ? entry : most));
const steps = allSteps.filter((row) => row.prompt === id);
const drift = new Map<string, number>();
for (const row of await rows('layers')) {
  if (row.prompt === id) drift.set(`${row.hook} ${row.step}`, row.rel_l2 / unitRoundoff('f16'));
}
rmSync(folder, { recursive: true });

const count = steps.length - 1;
const map: MapRow[] = hooks.map(({ hook, group, label }) => ({
  group,
  label,
  drift: Array.from({ length: count }, (_, i) => drift.get(`${hook} ${i + 1}`) ?? null),
}));
const flips = steps.filter(({ flip, step }) => flip && step > 0).map(({ step }) => step);
const alternative = `Map of ${count} decode steps of mini-llama in fp16: the logits differ in ${differing.get(id)} of them; ${flips.length} tokens flip.`;
for (const [name, theme] of Object.entries(themes)) {
  const svg = driftMap({
    ...{ rows: map, firstStep: 1, flips, alternative, theme, width: 1040 },
    title: 'Where does decoding with a KV cache stop being the same?',
    subtitle: `mini-llama in fp16, prompt ${id}, ONNX Runtime on a CPU. Down: operations. Across: ${count} decode steps. Colour: size of the difference.`,
  });
  writeFileSync(join(root, 'docs', `hero-${name}.svg`), svg);
}
console.log(alternative);
