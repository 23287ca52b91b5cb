/**
 * What carries the difference: the 2×2, the residual patch and the claims C3 and C5 for several models under several kernel
 * presets, in half precision. Runs `kvlens diverge` and `kvlens patch` (runs that are there already are read again) and
 * writes docs/carriers.md:
 *
 *   npm run build && node scripts/carriers.mjs [--prompts 40] [--runs DIR] [--model NAME]… [--checkpoint DIR --file PROMPTS.jsonl]
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { resolveModel } from '../dist/checkpoint/embedded.js';
import { openCheckpoint } from '../dist/checkpoint/open.js';
import { resolveKernels } from '../dist/graph/kernels.js';
import { resolvePolicy } from '../dist/graph/rounding.js';
import { Executor } from '../dist/model/executor.js';
import { openArrow } from '../dist/store/reader.js';
import { judgeC3 } from '../dist/study/claims/c3.js';
import { judgeC5, judgedHorizons } from '../dist/study/claims/c5.js';
import { decades, flippedPrompts, recoveryByHorizon } from '../dist/study/claims/evidence.js';
import { addOrderMatched, orderMatched } from '../dist/study/order-matched.js';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const { values } = parseArgs({
  options: {
    prompts: { type: 'string', default: '40' },
    runs: { type: 'string', default: join(root, 'data', 'runs', 'carriers') },
    model: { type: 'string', multiple: true, default: ['mini-llama', 'mini-mistral', 'mini-gemma2'] },
    checkpoint: { type: 'string' },
    file: { type: 'string' },
    tokens: { type: 'string', default: '80' },
  },
});
const presets = ['ort', 'ort-unpacked', 'split-k:8:fp32', 'split-k:8:storage'];
/** Prompts of order-matched decoding: every step is recomputed in full. */
const matchedPrompts = 20;
const subjects = [
  ...values.model.map((name) => ({ name, model: name, prompts: [] })),
  ...(values.checkpoint
    ? [{ name: values.checkpoint.split('/').at(-1), model: values.checkpoint, prompts: ['--prompts', values.file] }]
    : []),
];

mkdirSync(values.runs, { recursive: true });
const wide = join(values.runs, 'wide-activations.json');
writeFileSync(
  wide,
  JSON.stringify({
    ...{ name: 'wide-activations', compute: 'float32', default: 'f32' },
    places: { weights: 'f16', rotary_table: 'f16' },
  }),
);
const spec = (name, content) => {
  const file = join(values.runs, `${name}.json`);
  writeFileSync(file, JSON.stringify({ experiment: 'arms', name, ...content }));
  return file;
};
const steps = { every: 4 };
const twoByTwo = spec('two-by-two', { history: ['cached', 'recomputed'], kernel: ['decode', 'prefill'], steps });
const residual = spec('residual', { patches: [{ hook: '*.hook_resid_pre,*.hook_resid_post' }], steps });

/** Run a command unless its run is there; returns its folder. */
function run(name, ...command) {
  const out = join(values.runs, name);
  if (!existsSync(join(out, 'manifest.json'))) {
    const common = ['--limit', values.prompts, '--max-new-tokens', values.tokens, '--quiet', '--json', '--out', out];
    execFileSync(process.execPath, [join(root, 'dist', 'cli', 'main.js'), ...command, ...common], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
  }
  return out;
}

async function rows(folder, table) {
  const file = await openArrow(join(folder, `${table}.arrow`));
  const found = (await file.table()).toArray().map((row) => row.toJSON());
  await file.close();
  return found;
}

/** The tokens of each prompt and what followed it, from a run's own tables. */
async function sequences(folder) {
  const chosen = new Map();
  for (const row of await rows(folder, 'steps')) {
    if (row.protocol !== 'teacher-forced') continue;
    chosen.set(row.prompt, [...(chosen.get(row.prompt) ?? []), row.token_uncached]);
  }
  return (await rows(folder, 'prompts')).map(({ prompt, tokens }) => {
    const given = [...tokens];
    // The last token was decided, but not read.
    return { promptLength: given.length, tokens: [...given, ...(chosen.get(prompt) ?? []).slice(0, -1)] };
  });
}

async function measure({ name, model, prompts }, preset) {
  const id = `${name}-${preset.replaceAll(':', '-')}`;
  const diverge = (precision) => [
    ...['diverge', model, ...prompts, '--kernels', preset, '--precision', precision],
    ...['--mode', 'teacher-forced', '--hooks', 'logits'],
  ];
  const folders = {
    half: run(`${id}-fp16`, ...diverge('fp16')),
    single: run(`${id}-fp32`, ...diverge('fp32')),
    wide: run(`${id}-wide`, ...diverge(wide)),
    twoByTwo: run(`${id}-2x2`, 'patch', model, twoByTwo, ...prompts, '--kernels', preset),
    residual: run(`${id}-residual`, 'patch', model, residual, ...prompts, '--kernels', preset),
  };
  const [half, single, wideRows] = await Promise.all(
    ['half', 'single', 'wide'].map((which) => rows(folders[which], 'steps')),
  );
  const cells = await rows(folders.twoByTwo, 'patches');
  const texts = await sequences(folders.half);
  const { dir } = resolveModel(model);
  const executor = new Executor({
    ...{ checkpoint: await openCheckpoint(dir), policy: resolvePolicy('fp16'), threads: 1 },
    kernels: resolveKernels(preset),
  });
  const matched = [];
  for (const { tokens, promptLength } of texts.slice(0, matchedPrompts)) {
    if (tokens.length > promptLength) matched.push(await orderMatched(executor, tokens, promptLength));
  }
  await executor.release();
  const matching = addOrderMatched(matched);
  const counted = half.filter(({ step }) => step > 0);
  const of = (history, kernel) => cells.filter((row) => row.history === history && row.kernel === kernel);
  const residualRecovery = recoveryByHorizon(await rows(folders.residual, 'patches'));
  const history = recoveryByHorizon(of('recomputed', 'decode'));
  const atStep = (found) => found.filter(({ horizon }) => horizon === 0);
  const scope = `${name}, fp16, ${preset}, ${texts.length} prompts`;
  // A run in which a gate failed ends with exit code 1, and so does this script.
  const evidence = { scope, failedGates: [] };
  const verdicts = [
    ...judgeC3({
      ...evidence,
      half: flippedPrompts(half, texts.length),
      single: flippedPrompts(single, texts.length),
      wideActivations: flippedPrompts(wideRows, texts.length),
      decades: Object.fromEntries(
        ['logits_l2_centred', 'kl'].flatMap((metric) => {
          const found = decades(half, single, metric);
          return found ? [[metric, found]] : [];
        }),
      ),
      orderMatched: { ...matching, padded: false },
      singleAccumulation: !preset.endsWith('storage'),
    }),
    ...judgeC5({
      ...evidence,
      residual: residualRecovery,
      history,
      distance: {
        ordinary: counted.reduce((sum, row) => sum + row.logits_l2_centred, 0),
        orderMatched: matching.distance,
      },
    }),
  ];
  return {
    ...{ name, preset, verdicts, matching, prompts: texts.length, steps: counted.length },
    differing: counted.filter(({ logits_n_differ }) => logits_n_differ > 0).length,
    flips: counted.filter(({ flip }) => flip).length,
    distance: counted.reduce((sum, row) => sum + row.logits_l2_centred, 0) / counted.length,
    cells: {
      'cached, prefill': recoveryByHorizon(of('cached', 'prefill')).get(0),
      'recomputed, decode': history.get(0),
      'recomputed, decode + 1': history.get(1),
      'recomputed, decode + 20': history.get(20),
    },
    exact: atStep(of('recomputed', 'prefill')).filter(({ exact }) => exact).length,
    full: atStep(of('recomputed', 'prefill')).length,
    residual: judgedHorizons.map((horizon) => residualRecovery.get(horizon)),
  };
}

const number = (value) => {
  const text = Math.abs(value) < 0.005 ? '0.00' : value.toFixed(2);
  return text.replace('-', '−');
};
const interval = (estimate) =>
  estimate ? `${number(estimate.value)} [${number(estimate.lower)}, ${number(estimate.upper)}]` : '∅';
const marks = { supported: 'supported', contradicted: 'contradicted', 'not identifiable': 'open' };

function markdown(found) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  const table = (head, body) => [line(head), line(head.map(() => '---')), ...body.map(line)];
  const verdict = ({ verdicts }, claim, part) =>
    marks[verdicts.find((each) => each.claim === claim && each.part === part).verdict];
  const rules = new Map(found[0].verdicts.map(({ claim, part, rule }) => [`${claim} ${part}`, rule]));
  return [
    '# What carries the difference',
    '',
    `fp16 on a CPU (fp16 storage, fp32 accumulation; split-k kernels are emulated in the graph), greedy, teacher-forced, the first ${values.prompts}`,
    `prompts of each model, at most ${values.tokens} new tokens; every fourth step is patched. R = 1 − ΣD(patched)/ΣD(cached arm), D the L2 of`,
    'mean-centred logits to the uncached arm; [95 %, bootstrap by prompt]. ∅: nothing to recover. Made by `node scripts/carriers.mjs`.',
    '',
    '## The 2×2',
    '',
    'R at the patched step; the cached arm itself, (cached, decode), is 0. (recomputed, prefill) is computed through the patch path and must',
    'be the uncached arm to the bit; the last column counts.',
    '',
    ...table(
      [
        'model',
        'kernels',
        'steps whose logits differ',
        'mean D',
        '(cached, prefill)',
        '(recomputed, decode)',
        'one step later',
        '20 later',
        '(recomputed, prefill) exact',
      ],
      found.map((each) => [
        ...[each.name, `\`${each.preset}\``, `${each.differing} / ${each.steps}`, each.distance.toPrecision(2)],
        ...['cached, prefill', 'recomputed, decode', 'recomputed, decode + 1', 'recomputed, decode + 20'].map((cell) =>
          interval(each.cells[cell]),
        ),
        `${each.exact} / ${each.full}`,
      ]),
    ),
    '',
    '## The residual patch, and order-matched decoding',
    '',
    'The uncached arm’s residual stream written into every layer of one step, and what is left of that 1, 5 and 20 steps later. Order-matched:',
    'two rows per step with the cache in use under the prefill’s kernel, against recomputation of every step: elements of logits and K/V rows that differ.',
    '',
    ...table(
      ['model', 'kernels', 'R after 1 step', 'after 5', 'after 20', 'order-matched'],
      found.map((each) => [
        ...[each.name, `\`${each.preset}\``, ...each.residual.map(interval)],
        `${each.matching.differingElements} in ${each.matching.steps} steps`,
      ]),
    ),
    '',
    '## Claims',
    '',
    'By rules that were fixed before: *supported*, *contradicted*, or *open* where the data do not decide.',
    '',
    ...table(
      ['model', 'kernels', 'flips', 'C3 a', 'C3 b', 'C3 c', 'C3 d', 'C3 sole cause', 'C5 a', 'C5 b', 'C5 c'],
      found.map((each) => [
        ...[each.name, `\`${each.preset}\``, `${each.flips} / ${each.steps}`],
        ...['a', 'b', 'c', 'd', 'sole cause'].map((part) => verdict(each, 'C3', part)),
        ...['a', 'b', 'c'].map((part) => verdict(each, 'C5', part)),
      ]),
    ),
    '',
    ...[...rules].map(([name, rule]) => `- **${name}** – ${rule}.`),
    '',
    'One small model per architecture, one CPU: this shows what the rules say of these kernels, not what a GPU does.',
    '',
  ].join('\n');
}

const found = [];
for (const subject of subjects) {
  for (const preset of presets) {
    const started = Date.now();
    found.push(await measure(subject, preset));
    process.stderr.write(`${subject.name} ${preset}: ${Math.round((Date.now() - started) / 1000)} s\n`);
  }
}
writeFileSync(
  join(values.runs, 'carriers.json'),
  `${JSON.stringify(
    found.map(({ verdicts, ...each }) => ({ ...each, verdicts })),
    null,
    1,
  )}\n`,
);
writeFileSync(join(root, 'docs', 'carriers.md'), markdown(found));
