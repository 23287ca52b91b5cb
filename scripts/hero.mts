/**
 * The README's picture: mini-llama in fp16, from a run's own files: `npm run build && npx tsx scripts/hero.mts`. Of its first
 * 100 prompts the one is shown whose logits differ in most steps.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { driftMapData } from '../src/report/data/drift-map.ts';
import { isMissing } from '../src/report/data/missing.ts';
import { openRunFolder } from '../src/report/data/run-folder.ts';
import { driftMapFigure } from '../src/report/figures/drift-map.ts';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const hooks = ['hook_embed', '*.hook_attn_scores', '*.hook_attn_out', '*.hook_mlp_out', '*.hook_resid_post'].concat(
  'ln_final.hook_normalized',
  'logits',
);

const folder = mkdtempSync(join(tmpdir(), 'kvlens-hero-'));
const run = join(folder, 'run');
const command = ['diverge', 'mini-llama', '--out', run, '--quiet', '--hooks', hooks.join()];
execFileSync(process.execPath, [join(root, 'dist', 'cli', 'main.js'), ...command]);
const map = await driftMapData(openRunFolder(run));
rmSync(folder, { recursive: true });
if (isMissing(map)) throw new Error(map.missing);

for (const appearance of ['light', 'dark'] as const) {
  const { svg, alternative } = driftMapFigure(map, {
    ...{ appearance, poster: true, width: 1184 },
    title: 'Where does decoding with a KV cache stop being the same?',
    subtitle: `mini-llama in fp16, prompt ${map.promptIndex}, ONNX Runtime on a CPU. Down: operations. Across: ${map.steps.length} decode steps. Colour: size of the difference, 1 u is one rounding (2⁻¹¹).`,
  });
  writeFileSync(join(root, 'docs', `hero-${appearance}.svg`), `${svg}\n`);
  if (appearance === 'light') console.log(alternative);
}
