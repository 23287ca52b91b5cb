/** Whatever a user can get wrong ends in one line and the right exit code, and leaves nothing under a final name. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { errorResult } from '../../src/cli/contract.ts';
import { removeCheckpoint, writeTinyCheckpoint } from '../tiny-checkpoint.ts';
import { ensureBuilt, kvlens, temporaryFolder } from './kvlens.ts';

const folder = temporaryFolder();
/** No tokenizer, 96 tokens, a context of 64. */
const model = writeTinyCheckpoint();
afterAll(() => removeCheckpoint(model));
beforeAll(ensureBuilt);

let files = 0;
function file(content: string): string {
  const path = join(folder, `input-${files++}.json`);
  writeFileSync(path, content);
  return path;
}
const prompts = (content: string) => ['diverge', model, '--prompts', file(content)];
/** A spec in a file of its own, on one short prompt. */
const patch = (spec: object) => {
  const path = file(JSON.stringify({ experiment: 'arms', name: 'mine', ...spec }));
  return ['patch', model, path, '--tokens', '1,2,3', '--max-new-tokens', '4', '--ignore-eos'];
};
const ids = (count: number) => Array(count).fill(1).join();

const occupied = join(folder, 'occupied');
mkdirSync(occupied);
writeFileSync(join(occupied, 'notes.txt'), 'mine');
const emptyFolder = join(folder, 'empty');
mkdirSync(emptyFolder);

/** What is wrong, the command line, and what the line must say. */
type Case = [wrong: string, arguments_: string[], says: RegExp];

const usage: Case[] = [
  ['an unknown command', ['frobnicate'], /unknown command 'frobnicate'/],
  ['a study and a preset', ['study', 'x.json', '--preset', 'quick'], /found x\.json and --preset quick, expected one/],
  ['an unknown preset', ['study', '--preset', 'slow'], /--preset: found "slow", expected .*paper, quick/],
  ['a shard beyond the last', ['study', '--shard', '5/4'], /--shard: found "5\/4", expected i\/n with 1 ≤ i ≤ n/],
  ['a shard that is no number', ['study', '--shard', 'a/b'], /--shard: found "a\/b"/],
  ['--merge with a preset', ['study', '--preset', 'quick', '--merge', 'a'], /--merge: found with --preset/],
  ['a study to --resume nowhere', ['study', '--resume'], /--resume: found without --out/],
  ['no spec', ['patch', model], /missing required argument 'SPEC'/],
  [
    'a spec that selects nothing',
    patch({ steps: { at: [60] } }),
    /^kvlens: mine: steps \{"at":\[60\]\}.* select nothing in 3 decode steps$/,
  ],
  [
    '--resume without its folder',
    ['patch', model, 'history', '--tokens', '1', '--resume'],
    /--resume: found without --out/,
  ],
  ['one new token', ['patch', model, 'history', '--max-new-tokens', '1'], /--max-new-tokens: found "1"/],
  ['no model', ['diverge'], /missing required argument 'MODEL'/],
  ['an empty model', ['audit', ''], /MODEL: found an empty text/],
  ['an unknown option', ['diverge', model, '--frobnicate'], /unknown option '--frobnicate'/],
  ['an option without its value', ['diverge', model, '--out', '--json'], /--out: found "--json", expected a folder/],
  ['too many arguments', ['diverge', model, 'another'], /too many arguments/],
  ['a negative count', ['diverge', model, '--limit', '-5'], /--limit: found "-5", expected a whole number ≥ 1/],
  ['a fraction of a token', ['generate', model, '--max-new-tokens', '1.5'], /--max-new-tokens: found "1\.5"/],
  ['no worker', ['diverge', model, '--workers', '0'], /--workers: found "0"/],
  ['no thread', ['diverge', model, '--threads', '0'], /--threads: found "0"/],
  ['no row to decode', ['audit', model, '--decode-rows', '0'], /--decode-rows: found "0"/],
  ['a temperature that is no number', ['generate', model, '--temperature', 'NaN'], /--temperature: found "NaN"/],
  ['a negative temperature', ['generate', model, '--temperature', '-1'], /--temperature: found "-1"/],
  ['a probability above 1', ['generate', model, '--top-p', '1.5'], /--top-p: found "1\.5"/],
  ['no candidate', ['generate', model, '--top-k', '0'], /--top-k: found "0"/],
  ['a negative seed', ['generate', model, '--seed', '-1'], /--seed: found "-1"/],
  ['an unknown sampler', ['generate', model, '--sampler', 'dice'], /--sampler: found "dice", expected gumbel, inv/],
  [
    'an unknown precision',
    ['audit', model, '--precision', 'fp8'],
    /--precision: unknown precision "fp8", expected fp32/,
  ],
  ['one slice of K', ['audit', model, '--kernels', 'split-k:1:fp32'], /unknown preset "split-k:1:fp32", expected ort/],
  [
    'more slices than columns',
    ['capture', model, '--tokens', '1', '--kernels', 'split-k:4096:fp32'],
    /--kernels split-k:4096:fp32: found 4096 slices of qkv, expected at most 64, what it sums over in this model/,
  ],
  ['an unknown kernel preset', ['audit', model, '--kernels', 'magic'], /--kernels: unknown preset "magic"/],
  [
    'threads under a preset that needs one',
    ['audit', model, '--kernels', 'ort-unpacked', '--threads', '2'],
    /--threads: found 2, expected 1/,
  ],
  ['an unknown mode', ['diverge', model, '--mode', 'sideways'], /--mode: found "sideways"/],
  ['an unknown arm', ['capture', model, '--tokens', '1', '--arm', 'both'], /--arm: found "both"/],
  ['two kinds of prompt', ['diverge', model, '--prompt', 'a', '--tokens', '1'], /found --prompt and --tokens/],
  ['a folder without prompts', ['diverge', model], /has no prompts of its own, expected --prompts/],
  ['no prompt to generate from', ['generate', model], /found no prompt/],
  ['a word among token ids', ['generate', model, '--tokens', '1,x'], /--tokens: found "x"/],
  [
    'a template without its question',
    ['diverge', model, '--template', 'Q', '--prompts', file('{"tokens":[1]}')],
    /--template: found "Q"/,
  ],
  [
    'a hook that is not there',
    ['diverge', model, '--tokens', '1', '--hooks', 'blocks.9.*'],
    /--hooks: "blocks\.9\.\*" matches no hook/,
  ],
  ['a size that is none', ['diverge', model, '--max-memory', 'lots'], /--max-memory: found "lots"/],
  [
    'a prefill that runs free',
    ['diverge', model, '--tokens', '1,2', '--prefill', '1', '--mode', 'free-running'],
    /--prefill/,
  ],
];

const brokenFolders: string[] = [];

/** A checkpoint with changed keys in config.json. */
function changed(keys: object): string {
  const dir = writeTinyCheckpoint();
  brokenFolders.push(dir);
  const path = join(dir, 'config.json');
  writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), ...keys }));
  return dir;
}

/** Weights with one value that is no number. */
function poisoned(value: number): string {
  const dir = writeTinyCheckpoint({
    edit: (key, values) => {
      if (key === 'model.layers.1.mlp.up_proj.weight') values[3] = value;
    },
  });
  brokenFolders.push(dir);
  return dir;
}

afterAll(() => brokenFolders.forEach(removeCheckpoint));

const input: Case[] = [
  ['a study file that is not there', ['study', '/nowhere/s.json'], /\/nowhere\/s\.json: cannot be read \(ENOENT\)/],
  ['a study file that is no JSON', ['study', file('{')], /not valid JSON/],
  ['a study without models', ['study', file('{"name":"s"}')], /models: found nothing, expected a list/],
  ['a folder without a shard', ['study', '--merge', emptyFolder], /--merge: .*empty holds no shard/],
  ['a model without a tokenizer', ['study', '--preset', 'quick', '--model', model], /no tokenizer\.json/],
  [
    'a layer the model does not have',
    patch({ patches: [{ cache: 'k', layers: [2] }] }),
    /\.json: patches\[0\]\.layers: found 2, expected a layer from 0 to 1$/,
  ],
  [
    'a spec that is not there',
    ['patch', model, 'nothing.json'],
    /SPEC "nothing\.json" is neither a file nor one of .*two-by-two/,
  ],
  ['a spec that is not JSON', ['patch', model, file('{')], /input-\d+\.json: not valid JSON/],
  [
    'a spec of something else',
    ['patch', model, file('{"experiment":"x"}')],
    /\.json: experiment: found "x", expected "arms"/,
  ],
  [
    'a field that is none',
    patch({ steps: { at: ['two'] } }),
    /\.json: steps\.at\[0\]: found "two", expected a number$/,
  ],
  [
    'values of a run that is not there',
    patch({ patches: [{ hook: 'logits', from: 'run', run: 'gone', arm: 'cached' }] }),
    /gone: has no activations\/logits\.arrow/,
  ],
  [
    'a folder the system does not make',
    ['export', model, '--out', '/proc/kvlens'],
    /\/proc\/kvlens: cannot be written/,
  ],
  ['a NaN weight', ['audit', poisoned(Number.NaN)], /layers\.1\.mlp\.up_proj\.weight holds NaN at element 3/],
  [
    'an infinite weight',
    ['diverge', poisoned(Infinity), '--tokens', '1'],
    /up_proj\.weight holds Infinity at element 3/,
  ],
  [
    'heads that contradict the weights',
    ['audit', changed({ num_key_value_heads: 2 })],
    /k_proj\.weight has shape \[64, 64\], config\.json expects \[32, 64\]: num_key_value_heads 2 × head_dim 16 = 32$/,
  ],
  [
    'a quantised checkpoint',
    ['export', changed({ quantization_config: { load_in_4bit: true } })],
    /quantization_config is \{"load_in_4bit":true\}, expected null or absent$/,
  ],
  ['a model that is not there', ['audit', join(folder, 'none')], /MODEL ".*none" is neither an embedded model/],
  ['a file as model', ['audit', file('{}')], /is a file, expected a checkpoint folder/],
  ['a folder that is no checkpoint', ['audit', emptyFolder], /no config\.json/],
  ['a prompt file that is not there', ['diverge', model, '--prompts', join(folder, 'none')], /none: .*no such file/],
  ['a folder as prompt file', ['diverge', model, '--prompts', folder], /it is a folder/],
  ['an empty prompt file', prompts(''), /found no prompt/],
  ['a prompt file that is not JSON', prompts('{"tokens":[1]}\nHello\n'), /:2: not valid JSON/],
  ['a prompt of the wrong type', prompts('{"tokens":"1"}'), /:1: "tokens": found "1"/],
  ['a token id the model does not have', prompts('{"tokens":[96]}'), /:1: found token id 96, expected 0 … 95/],
  ['a prompt longer than the context', prompts(`{"tokens":[${ids(65)}]}`), /:1: found 65 tokens, expected at most 64/],
  ['duplicate prompt ids', prompts('{"tokens":[1],"id":"a"}\n{"tokens":[2],"id":"a"}'), /:2: duplicate prompt id "a"/],
  ['a question without a tokenizer', prompts('{"question":"1+1?"}'), /:1: the model has no tokenizer\.json/],
  ['--tokens out of range', ['generate', model, '--tokens', '1,500'], /--tokens: found token id 500, expected 0 … 95/],
  ['--tokens below 0', ['generate', model, '--tokens', '-1'], /--tokens: found token id -1/],
  ['--prompt without a tokenizer', ['generate', model, '--prompt', 'Hello'], /--prompt: the model has no tokenizer/],
  ['--tokens longer than the context', ['generate', model, '--tokens', ids(65)], /--tokens: found 65 tokens/],
  ['an empty --prompt', ['generate', model, '--prompt', ''], /--prompt: found an empty text/],
  [
    'a prefill that leaves nothing to force',
    ['diverge', model, '--tokens', '1,2', '--prefill', '2', '--mode', 'teacher-forced'],
    /--prefill: found 2, expected fewer than the 2/,
  ],
  [
    'a policy file that is not there',
    ['audit', model, '--precision', join(folder, 'none.json')],
    /none\.json: cannot be read \(ENOENT\)$/,
  ],
  [
    'a policy file that is no policy',
    ['audit', model, '--precision', file('{"name":"x"}')],
    /input-\d+\.json: compute: found nothing, expected "float32", "float64"$/,
  ],
  [
    'a place that a policy cannot have',
    ['audit', model, '--precision', file('{"name":"x","compute":"float32","default":"f16","places":{"q":"f16"}}')],
    /input-\d+\.json: places\.q: found "f16", which is no field of a rounding policy$/,
  ],
  [
    'worked examples that are not there',
    ['diverge', model, '--prompts', file('{"question":"a"}'), '--few-shot', join(folder, 'none')],
    /none: /,
  ],
  [
    'a folder with something in it',
    ['diverge', model, '--tokens', '1', '--out', occupied],
    /occupied: the folder is not empty/,
  ],
  ['a file as output folder', ['diverge', model, '--tokens', '1', '--out', file('')], /is a file, expected a folder/],
  [
    'an output folder below a file',
    ['capture', model, '--tokens', '1', '--out', join(file(''), 'x')],
    /a part of the path is a file|not a folder/,
  ],
  [
    'less memory than any way to run needs',
    ['diverge', model, '--tokens', '1', '--max-memory', '10k'],
    /--max-memory: kvlens-tiny-\w+ takes about .* with all layers loaded, .*; 11 kB may be used/,
  ],
];

describe.each([
  ['usage, exit code 2', 2, 'usage', usage],
  ['bad input, exit code 3', 3, 'input', input],
] as const)('%s', (_, exitCode, code, cases) => {
  test.each(cases)('%s', async (_wrong, arguments_, says) => {
    const out = join(folder, `out-${files++}`);
    const [command, ...rest] = arguments_;
    const noOut = rest.length === 0 || rest.includes('--out') || rest.includes('--resume');
    const given = noOut ? arguments_ : [command, '--out', out, ...rest];
    const { code: exit, stdout, stderr } = await kvlens([...given, '--json'], { cwd: folder });
    expect(stderr.match(/^kvlens: .*$/gm)).toEqual([expect.stringMatching(says)]);
    expect(stderr).not.toMatch(/^\s+at /m);
    expect(exit).toBe(exitCode);
    const { error } = errorResult.parse(JSON.parse(stdout));
    expect(error.code).toBe(code);
    expect(stderr).toContain(`kvlens: ${error.message}\n`);
    expect(existsSync(out)).toBe(false);
  });
});

test('a refused folder keeps what was in it, and nothing else', () => {
  expect(readdirSync(occupied)).toEqual(['notes.txt']);
  expect(existsSync(join(folder, 'kvlens-runs'))).toBe(false);
});

test('no command is a usage error, not a page of help', async () => {
  const { code, stdout, stderr } = await kvlens([]);
  expect({ code, stdout, stderr }).toEqual({
    code: 2,
    stdout: '',
    stderr: 'kvlens: expected a command\n  hint: kvlens --help lists the commands\n',
  });
});

test('without --json stdout stays empty', async () => {
  const { code, stdout, stderr } = await kvlens(['audit', 'none']);
  expect({ code, stdout }).toEqual({ code: 3, stdout: '' });
  expect(stderr).toMatch(/^kvlens: MODEL "none" .*\n {2}hint: .*\n$/);
});
