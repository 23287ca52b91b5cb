/** What a network and a server can do to a download, and that nothing wrong ever gets a file's name. */
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { hubFixture } from './fixture.ts';
import { commit, miniFiles, miniLlama, neededNames, repositoryOf } from './repositories.ts';
import { digest, type Fault, name, type Seen } from './server.ts';

const hub = hubFixture();
const weights = 'model.safetensors';
const whole = readFileSync(join(miniLlama, weights));
const half = Math.floor(whole.length / 2);
const id = digest(miniFiles()[weights]);

/** The requests that carried bytes of the weights. */
const ranges = () => hub.server.seen.filter(({ host }: Seen) => host === 'cdn').map(({ range }) => range);
const blob = () => join(hub.cached, 'blobs', id);
const partial = () => `${blob()}.incomplete`;
const fault = (value: Fault) => {
  hub.server.faults = { [weights]: value };
};

/** The file as another program reads it. */
function expectWhole(folder: string): void {
  expect(readFileSync(join(folder, weights)).equals(whole)).toBe(true);
  expect(existsSync(partial())).toBe(false);
}

/** A run whose server dies in the middle of the weights, for good. */
async function interruptedPull(): Promise<number> {
  fault({ dropAfter: half, drops: 1 });
  const { message, exitCode } = await hub.refusal({ patience: { tries: 1, pauseMilliseconds: 1 } });
  expect(message).toMatch(/^http:\/\/127\.0\.0\.1:\d+: broke off \(/);
  expect(exitCode).toBe(1);
  hub.server.faults = {};
  hub.server.seen = [];
  return statSync(partial()).size;
}

describe('a connection that breaks', () => {
  test('is continued by a Range request from the byte it reached, and the bytes are identical', async () => {
    fault({ dropAfter: half, drops: 1 });
    const { folder, files } = await hub.pull();
    expect(ranges()).toEqual([null, `bytes=${half}-`]);
    expectWhole(folder);
    expect(files.at(-1)).toEqual({ name: weights, bytes: whole.length, downloaded: whole.length });
  });

  test('many times is continued as long as every answer brings something', async () => {
    const piece = Math.ceil(whole.length / 12);
    fault({ dropAfter: piece });
    const { folder } = await hub.pull({ patience: { tries: 2, pauseMilliseconds: 1 } });
    expect(ranges()).toEqual(Array.from({ length: 12 }, (_, i) => (i === 0 ? null : `bytes=${i * piece}-`)));
    expectWhole(folder);
  });

  test('in every run is continued by the next run', async () => {
    const reached = await interruptedPull();
    expect(reached).toBe(half);
    expect(existsSync(join(hub.cached, 'snapshots', commit, weights))).toBe(false);
    expect(existsSync(join(hub.cached, 'refs'))).toBe(false);
    const { folder, files } = await hub.pull();
    expect(hub.server.files).toEqual([weights]);
    expect(ranges()).toEqual([`bytes=${reached}-`]);
    expect(files.at(-1)?.downloaded).toBe(whole.length - reached);
    expectWhole(folder);
  });

  test('without end is given up', async () => {
    fault({ dropAfter: 0 });
    expect((await hub.refusal()).exitCode).toBe(1);
    expect(ranges()).toHaveLength(5);
  });

  test('that goes silent counts as broken', async () => {
    fault({ dropAfter: half, drops: 1, silent: true });
    const { folder } = await hub.pull({}, { HF_HUB_DOWNLOAD_TIMEOUT: '0.5' });
    expect(ranges()).toEqual([null, `bytes=${half}-`]);
    expectWhole(folder);
  });

  test('that stays silent says for how long it was waited', async () => {
    fault({ dropAfter: 0, silent: true });
    const patience = { tries: 1, pauseMilliseconds: 1 };
    const { message } = await hub.refusal({ patience }, { HF_HUB_DOWNLOAD_TIMEOUT: '0.3' });
    expect(message).toMatch(/: sent nothing for 0\.3 s$/);
  });

  test('that is only slow is waited for, longer in all than the longest silence', async () => {
    // 39 pieces every 25 ms take about a second.
    fault({ slow: true });
    const { folder } = await hub.pull({}, { HF_HUB_DOWNLOAD_TIMEOUT: '0.4' });
    expect(ranges()).toEqual([null]);
    expectWhole(folder);
  });
});

describe('a server that ignores Range', () => {
  test('sends the file anew, and it is written anew', async () => {
    const reached = await interruptedPull();
    fault({ ignoresRange: true });
    const { folder, files } = await hub.pull();
    expect(ranges()).toEqual([`bytes=${reached}-`]);
    expect(files.at(-1)?.downloaded).toBe(whole.length);
    expectWhole(folder);
  });

  test('and breaks at the same byte every time is given up', async () => {
    fault({ ignoresRange: true, dropAfter: half });
    expect((await hub.refusal()).exitCode).toBe(1);
    expect(ranges()).toHaveLength(5);
  });
});

test.each([0, 7])(
  'a part that begins elsewhere than asked for (%i) is not written to the wrong place',
  async (startsAt) => {
    const reached = await interruptedPull();
    fault({ startsAt });
    if (startsAt === 0) expectWhole((await hub.pull()).folder);
    else {
      expect((await hub.refusal()).message).toBe(`${weights}: the server answers from byte 7, expected ${reached}`);
      expect(statSync(partial()).size).toBe(reached);
    }
  },
);

describe('a busy server', () => {
  test.each([429, 500, 503])('(%i) is asked again', async (status) => {
    fault({ status, failures: 3 });
    const { folder } = await hub.pull();
    expect(ranges()).toHaveLength(4);
    expectWhole(folder);
  });

  test('that stays busy is told', async () => {
    fault({ status: 503, failures: 99 });
    expect((await hub.refusal()).message).toMatch(/^http:\S+: is busy or out of order \(status 503\)$/);
  });
});

describe('a wrong content', () => {
  test('is refused with what was found and expected, and nothing is left of it', async () => {
    fault({ corrupt: whole.length - 5 });
    const { message, hint, exitCode } = await hub.refusal();
    const expected = new RegExp(
      `^${weights}: sha256 of the download is [0-9a-f]{64}, expected ${id}; the download was removed$`,
    );
    expect(message).toMatch(expected);
    expect(hint).toContain('run the same command again');
    expect(exitCode).toBe(1);
    expect(existsSync(blob())).toBe(false);
    expect(existsSync(partial())).toBe(false);
    hub.server.faults = {};
    expectWhole((await hub.pull()).folder);
  });

  test('of a small file is refused as well, before the next file is asked for', async () => {
    hub.server.faults = { 'config.json': { corrupt: 3 } };
    expect((await hub.refusal()).message).toMatch(/^config\.json: git sha1 of the download is [0-9a-f]{40}, expected /);
    expect(hub.server.files).toEqual(['config.json']);
    expect(readdirSync(join(hub.cached, 'blobs'))).toEqual([]);
  });

  test('of a partial file on disk is refused after the rest has come', async () => {
    await interruptedPull();
    const bytes = readFileSync(partial());
    bytes[100] ^= 1;
    writeFileSync(partial(), bytes);
    expect((await hub.refusal()).message).toMatch(/sha256 of the download is/);
    expect(existsSync(partial())).toBe(false);
    expectWhole((await hub.pull()).folder);
  });

  test.each([
    [
      'longer than listed',
      { lengthened: 10 },
      `the server offers ${whole.length + 10} bytes, expected ${whole.length}`,
    ],
    [
      'shorter than listed',
      { lengthened: -10 },
      `the server offers ${whole.length - 10} bytes, expected ${whole.length}`,
    ],
    [
      'longer than told',
      { lengthenedSilently: 10 },
      `the server sends more than ${whole.length} bytes, expected no more`,
    ],
    [
      'shorter than told',
      { lengthenedSilently: -10 },
      `the connection ended after ${whole.length - 10} of ${whole.length} bytes`,
    ],
  ])('%s is refused', async (_, value, says) => {
    fault(value);
    expect((await hub.refusal()).message).toContain(`${weights}: ${says}`);
    expect(existsSync(blob())).toBe(false);
  });

  test('that the hub announces is not downloaded', async () => {
    const changed = { content: Buffer.from(whole).fill(0, 0, 1), large: true };
    // Between the listing and the download.
    hub.server.override = (path) => {
      if (path.includes('/resolve/'))
        hub.server.repositories[name] = repositoryOf({ ...miniFiles(), [weights]: changed });
      return false;
    };
    const { message } = await hub.refusal();
    expect(message).toBe(`${weights}: the server offers ETag ${digest(changed)}, expected ${id}`);
    expect(existsSync(partial())).toBe(false);
  });
});

describe('what an earlier run left', () => {
  test('whole but not renamed is verified and kept', async () => {
    await interruptedPull();
    writeFileSync(partial(), whole);
    const { folder, files } = await hub.pull();
    expect(hub.server.files).toEqual([]);
    expect(files.at(-1)?.downloaded).toBe(0);
    expectWhole(folder);
  });

  test('longer than the file is written anew', async () => {
    await interruptedPull();
    writeFileSync(partial(), Buffer.concat([whole, whole]));
    expectWhole((await hub.pull()).folder);
    expect(ranges()).toEqual([null]);
  });

  test('in --to DIR belongs to one content: that of another version is not continued', async () => {
    const to = join(hub.home, 'plain');
    mkdirSync(to);
    writeFileSync(join(to, `.${weights}.${'d'.repeat(64)}.incomplete`), 'of another version');
    fault({ dropAfter: half, drops: 1 });
    await hub.refusal({ to, patience: { tries: 1, pauseMilliseconds: 1 } });
    expect(readdirSync(to)).toContain(`.${weights}.${id}.incomplete`);
    expect(readdirSync(to)).not.toContain(weights);
    hub.server.seen = [];
    await hub.pull({ to });
    expect(ranges()).toEqual([`bytes=${half}-`]);
    expect(readFileSync(join(to, weights)).equals(whole)).toBe(true);
    expect(readdirSync(to).sort()).toEqual([...neededNames].sort());
  });
});

test('stopping keeps what has arrived, says so, and the same command goes on', async () => {
  fault({ slow: true });
  const user = new AbortController();
  const { message, exitCode } = await hub.refusal({
    signal: user.signal,
    onProgress: ({ name: file, done }) => {
      if (file === weights && done > half) user.abort();
    },
  });
  expect({ message, exitCode }).toEqual({
    message: 'interrupted; the same command goes on where it stopped',
    exitCode: 130,
  });
  const reached = statSync(partial()).size;
  expect(reached).toBeGreaterThan(half);
  hub.server.faults = {};
  hub.server.seen = [];
  const { folder } = await hub.pull();
  expect(ranges()).toEqual([`bytes=${reached}-`]);
  expectWhole(folder);
});

test('two runs at once both end with the whole file', async () => {
  fault({ slow: true });
  const folders = await Promise.all([hub.pull(), hub.pull()]);
  for (const { folder } of folders) expectWhole(folder);
});

test('progress names the file, and tells what was there from what came', async () => {
  const reached = await interruptedPull();
  const seen: string[] = [];
  await hub.pull({
    onProgress: ({ name: file, stage, from, total }) => {
      const line = `${file} ${stage} ${from} ${total}`;
      if (seen.at(-1) !== line) seen.push(line);
    },
  });
  expect(seen).toEqual([`${weights} checking 0 ${whole.length}`, `${weights} downloading ${reached} ${whole.length}`]);
});
