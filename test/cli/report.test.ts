/** `kvlens report` as a process: what it writes, serves and prints, and one line for whatever is wrong with a run. */
import { spawn } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join, resolve } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { errorResult, results } from '../../src/cli/contract.ts';
import { runProgram } from '../../src/cli/program.ts';
import { ensureBuilt, type Finished, kvlens, temporaryFolder } from './kvlens.ts';

const folder = temporaryFolder();
beforeAll(ensureBuilt);

/** The same without a process of its own, which takes longer to start than to draw. */
async function inProcess(
  given: readonly string[],
  columns = 80,
  signal = new AbortController().signal,
): Promise<Finished> {
  const [out, err]: [string[], string[]] = [[], []];
  const io = {
    ...{ out: (text: string) => void out.push(text), err: (text: string) => void err.push(text), columns },
    ...{ color: false, unicode: true, progressColumns: null, debug: false },
  };
  const code = await runProgram(given, { io, signal });
  return { code, stdout: out.join(''), stderr: err.join('') };
}

/** A copy of a run that a test may change. */
function copyOf(name: string, as: string): string {
  const path = join(folder, as);
  cpSync(join('notebooks', 'runs', name), path, { recursive: true });
  return path;
}
const result = ({ stdout, code, stderr }: Finished, expected = 0) => {
  expect({ code, stderr }).toEqual({ code: expected, stderr: '' });
  expect(stdout.trimEnd()).not.toContain('\n');
  return results.report.parse(JSON.parse(stdout));
};

describe('the page', () => {
  test('is RUN/report.html, and the answer is printed with its place', async () => {
    const run = copyOf('drift', 'printed');
    const before = readdirSync(run);
    const { code, stdout, stderr } = await inProcess(['report', run], 400);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(
      /^Almost\. Bits differ in 39 of 56 steps, and no token changes\.\n {2}look +\S+printed\/report\.html \(\d+ kB, opens in a browser, needs no network\)\n$/,
    );
    expect(readdirSync(run).sort()).toEqual([...before, 'report.html'].sort());
    const page = readFileSync(join(run, 'report.html'), 'utf8');
    expect(page).toContain('<h1>Almost. Bits differ in 39 of 56 steps, and no token changes.</h1>');
    expect(page.endsWith('</html>\n')).toBe(true);
  });

  test('--json prints the contract, and the page is as large as it says', async () => {
    const run = copyOf('study', 'json');
    const found = result(await kvlens(['report', run, '--json', '--quiet']));
    const report = join(run, 'report.html');
    expect(found).toEqual({
      ...{ run, verdict: 'no', answer: 'No. With the cache 4 of 8 texts come out different.', report },
      ...{ bytes: readFileSync(report).length, figures: null, url: null },
    });
  });

  test('is the same twice, and names no path of this machine', async () => {
    const run = copyOf('drift', 'twice');
    const pages: string[] = [];
    for (let i = 0; i < 2; i++) {
      result(await inProcess(['report', run, '--json', '--quiet']));
      pages.push(readFileSync(join(run, 'report.html'), 'utf8'));
    }
    expect(pages[0]).toBe(pages[1]);
    expect(pages[0]).not.toContain(folder);
    expect(pages[0]).not.toContain(process.cwd());
  });

  test('of a run that compares no step claims nothing', async () => {
    const run = copyOf('drift', 'nothing');
    for (const name of ['steps', 'layers', 'candidates']) rmSync(join(run, `${name}.arrow`));
    const found = result(await inProcess(['report', run, '--json', '--quiet']));
    expect(found).toMatchObject({
      verdict: null,
      answer: expect.stringMatching(/^Not measured\. This run compares nothing/),
    });
  });

  test('of a run whose harness failed is written, says so, and fails (exit code 1)', async () => {
    const run = copyOf('drift', 'failed');
    const path = join(run, 'controls.json');
    const controls: { gates: { name: string; passed: boolean; status: string }[] } = JSON.parse(
      readFileSync(path, 'utf8'),
    );
    for (const gate of controls.gates)
      if (gate.name === 'canary') Object.assign(gate, { passed: false, status: 'failed' });
    writeFileSync(path, JSON.stringify(controls));
    const found = result(await inProcess(['report', run, '--json', '--quiet']), 1);
    expect(found).toMatchObject({ verdict: 'not-valid', answer: expect.stringContaining('Gate canary failed') });
    expect(readFileSync(join(run, 'report.html'), 'utf8')).toContain('<main class="not-evidence">');
  });

  test.skipIf(!existsSync('/dev/full'))('that does not fit on the disk leaves the old one', async () => {
    const run = copyOf('drift', 'full');
    writeFileSync(join(run, 'report.html'), 'old');
    symlinkSync('/dev/full', join(run, '.report.html.partial'));
    const { code, stderr } = await inProcess(['report', run, '--quiet']);
    expect(code).toBe(3);
    expect(stderr).toMatch(/^kvlens: .*report\.html: the disk is full\n {2}hint: /);
    expect(readFileSync(join(run, 'report.html'), 'utf8')).toBe('old');
    expect(existsSync(join(run, '.report.html.partial'))).toBe(false);
  });
});

describe('--figures', () => {
  test('writes figures instead of the page, and lists them', async () => {
    const [run, out] = [copyOf('study', 'figures'), join(folder, 'new', 'out')];
    const found = result(await inProcess(['report', run, '--figures', out, '--json', '--quiet']));
    expect(found).toMatchObject({ verdict: null, answer: null, report: null, bytes: null, url: null });
    expect(found.figures).toMatchObject({ folder: out, png: true });
    expect(readdirSync(out).sort()).toEqual([...(found.figures?.files ?? [])].sort());
    expect(existsSync(join(run, 'report.html'))).toBe(false);
    const { stdout } = await inProcess(['report', run, '--figures', out, '--quiet'], 80);
    expect(stdout).toMatch(/^\d+ files in .*: verdict-table\.svg/);
    expect(stdout.replaceAll(/\s+/g, ' ')).toContain('not drawn drift-map: layers.arrow has no decode step of');
  });

  test('into a folder that cannot be is refused', async () => {
    const { code, stderr } = await inProcess([
      'report',
      copyOf('drift', 'nowhere'),
      '--figures',
      '/dev/null/x',
      '--quiet',
    ]);
    expect(code).toBe(3);
    expect(stderr).toMatch(/^kvlens: \/dev\/null\/x[^\n]*\n( {2}hint: [^\n]*\n)?$/);
  });
});

describe('--serve', () => {
  test('serves the page and all of the run until it is interrupted, and prints the result then', async () => {
    const run = copyOf('drift', 'served');
    const asked: Promise<{ page: string; files: unknown; layers: number }>[] = [];
    const ended = await kvlens(['report', run, '--serve', '--json', '--quiet'], {
      started: (child) => {
        child.stderr.on('data', (text: string) => {
          const url = /http:\/\/127\.0\.0\.1:\d+\//.exec(text)?.[0];
          if (url === undefined) return;
          const ask = async () => {
            const page = await (await fetch(url)).text();
            const files: unknown = await (await fetch(`${url}files.json`)).json();
            const layers = (await (await fetch(`${url}run/layers.arrow`)).arrayBuffer()).byteLength;
            return { page, files, layers };
          };
          asked.push(ask().finally(() => child.kill('SIGINT')));
        });
      },
    });
    expect(asked).toHaveLength(1);
    const { page, files, layers } = await asked[0];
    expect(page).toContain('connect-src &#39;self&#39;');
    expect(page).not.toContain('id="excerpt"');
    expect(files).toMatchObject({ name: 'served' });
    expect(layers).toBe(readFileSync(join(run, 'layers.arrow')).length);
    expect(ended.code).toBe(0);
    const found = results.report.parse(JSON.parse(ended.stdout));
    expect(found).toMatchObject({ run, verdict: 'almost', report: null, bytes: null, figures: null });
    expect(ended.stderr).toBe(`${found.url}  (Ctrl-C ends it)\n`);
    expect(existsSync(join(run, 'report.html'))).toBe(false);
  });

  test('a port that is taken ends it, with the option in the line', async () => {
    const run = copyOf('drift', 'taken');
    const other = createServer();
    await new Promise<void>((listening) => other.listen(0, '127.0.0.1', listening));
    const address = other.address();
    const port = String(typeof address === 'object' && address ? address.port : 0);
    const { code, stderr } = await inProcess(['report', run, '--serve', '--port', port, '--quiet']);
    other.close();
    expect(code).toBe(2);
    expect(stderr).toBe(`kvlens: --port: found ${port}, expected a free port\n  hint: 0 takes any free one\n`);
  });
});

describe('a wrong command line exits 2', () => {
  test.each<[string, string[], RegExp]>([
    ['no run', [], /missing required argument 'RUN'/],
    ['both options', ['x', '--serve', '--figures', 'y'], /found --serve and --figures, expected one of them/],
    ['a port without a server', ['x', '--port', '0'], /--port: found without --serve/],
    ['a port that is none', ['x', '--serve', '--port', '65536'], /--port: found "65536"/],
    ['no folder of figures', ['x', '--figures', ''], /--figures: found ""|--figures: found an empty/],
    ['two runs', ['x', 'y'], /too many arguments/],
  ])('%s', async (_, given, says) => {
    const { code, stdout, stderr } = await inProcess(['report', ...given]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(says);
  });
});

describe('a run that is none exits 3 with one line, and leaves no page', () => {
  const unfinished = () => {
    const run = join(folder, 'unfinished');
    mkdirSync(run);
    writeFileSync(join(run, 'journal.jsonl'), '{}\n');
    return run;
  };
  const changed = (name: string, as: string, change: (run: string) => void) => () => {
    const run = copyOf(name, as);
    change(run);
    return run;
  };
  const written = (file: string, content: string) => (run: string) => writeFileSync(join(run, file), content);

  test.each<[string, () => string, RegExp, RegExp]>([
    ['no folder', () => join(folder, 'gone'), /gone: holds no finished run \(no manifest\.json\)/, /write runs/],
    ['a file', () => resolve('package.json'), /package\.json: holds no finished run/, /write runs/],
    ['an unfinished run', unfinished, /unfinished: holds no finished run/, /not finished: --resume goes on with it/],
    [
      'a manifest that is no JSON',
      changed('drift', 'm1', written('manifest.json', '{"a":')),
      /m1\/manifest\.json: is not JSON/,
      /^$/,
    ],
    [
      'a manifest of another shape',
      changed('drift', 'm2', written('manifest.json', '{"schemaVersion":1}')),
      /manifest\.json: identity: /,
      /no manifest of kvlens/,
    ],
    [
      'gates of another shape',
      changed('drift', 'm3', written('controls.json', '{"gates":{}}')),
      /controls\.json: gates: /,
      /./,
    ],
    [
      'outcomes of another shape',
      changed('study', 'm4', written('outcomes.json', '{"conditions":[{}],"table":[],"machine":"x"}')),
      /outcomes\.json: conditions\.0\.index: /,
      /no study of this version/,
    ],
    [
      'a cut table',
      changed('drift', 'm5', (run) => truncateSync(join(run, 'layers.arrow'), 90_000)),
      /m5\/layers\.arrow: not a complete Arrow file/,
      /^$/,
    ],
    [
      'a table that is none',
      changed('drift', 'm6', written('layers.arrow', 'hello')),
      /m6\/layers\.arrow: not a complete Arrow file/,
      /^$/,
    ],
    [
      'another table of that name',
      changed('drift', 'm7', (run) => cpSync(join(run, 'vocab.arrow'), join(run, 'layers.arrow'))),
      /layers\.arrow: columns: found no \w+, expected \w+/,
      /another version/,
    ],
    [
      'a table that is a folder',
      changed('drift', 'm8', (run) => {
        rmSync(join(run, 'steps.arrow'));
        mkdirSync(join(run, 'steps.arrow'));
      }),
      /m8\/steps\.arrow: /,
      /^$/,
    ],
  ])('%s', async (_, make, says, hints) => {
    const run = make();
    const { code, stdout, stderr } = await inProcess(['report', run, '--json', '--quiet']);
    expect(code).toBe(3);
    const { error } = errorResult.parse(JSON.parse(stdout));
    expect(error.code).toBe('input');
    expect(error.message).toMatch(says);
    expect(error.hint ?? '').toMatch(hints);
    expect(stderr.split('\n').length).toBeLessThanOrEqual(3);
    expect(stderr).not.toMatch(/\n +at /);
    expect(existsSync(join(run, 'report.html'))).toBe(false);
  });
});

describe('npm start', () => {
  /** Its script, told to do little. */
  const start = (...given: string[]) =>
    new Promise<Finished>((done, reject) => {
      const small = ['--tokens', '1,17,44', '--max-new-tokens', '4', '--ignore-eos', '--quiet', ...given];
      const child = spawn(process.execPath, [resolve('scripts/start.mjs'), ...small], {
        ...{ cwd: folder, env: { ...process.env, NO_COLOR: '1' } },
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      const found = { stdout: '', stderr: '' };
      child.stdout.setEncoding('utf8').on('data', (text: string) => (found.stdout += text));
      child.stderr.setEncoding('utf8').on('data', (text: string) => (found.stderr += text));
      child.on('error', reject);
      child.on('close', (code) => done({ code, ...found }));
    });

  test('with --json prints one object alone, and writes the page', async () => {
    const out = join(folder, 'started');
    const { code, stdout } = await start('--json', `--out=${out}`);
    expect(code).toBe(0);
    expect(results.diverge.parse(JSON.parse(stdout))).toMatchObject({ run: out, model: 'mini-llama', steps: 3 });
    expect(readFileSync(join(out, 'report.html'), 'utf8')).toMatch(/<h1>(Yes|Almost|No)\. /);
  });

  test('with what is refused has no page and the exit code of the run', async () => {
    const out = join(folder, 'refused');
    const { code, stdout } = await start('--json', '--out', out, '--frobnicate');
    expect(code).toBe(2);
    expect(errorResult.parse(JSON.parse(stdout)).error.code).toBe('usage');
    expect(existsSync(out)).toBe(false);
  });
});
