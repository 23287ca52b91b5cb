import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import type { Tokenizer } from '../../src/checkpoint/types.ts';
import { InputError } from '../../src/errors.ts';
import { goldAnswer } from '../../src/study/prompt-record.ts';
import {
  defaultTemplate,
  type PromptFileOptions,
  type PromptTarget,
  promptFromText,
  promptFromTokens,
  readPromptFile,
  splitAtPrefill,
} from '../../src/study/prompts.ts';

/** One token per character, BOS first: ids are code points. */
const tokenizer: Tokenizer = {
  vocabSize: 256,
  encode: (text) => [1, ...[...text].map((character) => character.charCodeAt(0))],
  decode: (ids) => String.fromCharCode(...ids),
  token: (id) => String.fromCharCode(id),
  bytes: (id) => Uint8Array.of(id),
};
const target: PromptTarget = { tokenizer, vocabSize: 256, maxPositions: 40 };
const folder = mkdtempSync(join(tmpdir(), 'kvlens-prompts-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let files = 0;
function file(content: string | Uint8Array): string {
  const path = join(folder, `p${files++}.jsonl`);
  writeFileSync(path, content);
  return path;
}

const defaults: PromptFileOptions = { template: defaultTemplate, fewShot: null, limit: null };
const read = (content: string | Uint8Array, options: Partial<PromptFileOptions> = {}) =>
  readPromptFile(file(content), { ...defaults, ...options }, target);

describe('prompt files', () => {
  test("GSM8K's lines become a question with one line feed, and a gold answer", () => {
    const line = '{"question": "1+1?", "answer": "Two.\\n#### 1,002"}';
    expect(read(line)).toEqual([
      {
        id: createHash('sha256').update(line).digest('hex').slice(0, 12),
        index: 0,
        text: '1+1?\n',
        tokens: [1, 49, 43, 49, 63, 10],
        gold: '1002',
        continuation: null,
      },
    ]);
  });

  test('prompts are verbatim, tokens are taken as they are, and continuations are kept', () => {
    const prompts = read('{"prompt": "a", "id": "x"}\n{"tokens": [5, 6], "continuation": [7], "id": "y"}\n');
    expect(prompts.map(({ id, text, tokens, continuation }) => ({ id, text, tokens, continuation }))).toEqual([
      { id: 'x', text: 'a', tokens: [1, 97], continuation: null },
      { id: 'y', text: null, tokens: [5, 6], continuation: [7] },
    ]);
  });

  test('CRLF, a byte order mark, blank lines and a missing last line end change nothing', () => {
    const ids = (content: string) => read(content).map(({ id }) => id);
    expect(ids('\ufeff{"prompt":"a"}\r\n\r\n  \r\n{"prompt":"b"}')).toEqual(ids('{"prompt":"a"}\n{"prompt":"b"}\n'));
  });

  test('a character beyond the first plane is whole, in an id as in a text', () => {
    const [prompt] = readPromptFile(file('{"prompt":"🍎","id":"🍎"}'), defaults, { ...target, vocabSize: 1 << 21 });
    expect([prompt.id, prompt.text]).toEqual(['🍎', '🍎']);
  });

  test('an id depends on its line alone, so that --limit and shards agree', () => {
    const all = read('{"prompt":"a"}\n{"prompt":"b"}\n');
    expect(read('{"prompt":"b"}\n')[0].id).toBe(all[1].id);
  });

  test('--limit stops reading, so later lines may be anything', () => {
    expect(read('{"prompt":"a"}\nnot json\n', { limit: 1 })).toHaveLength(1);
  });

  test('a line that spans many read blocks arrives whole', () => {
    const long = 'x'.repeat(200_000);
    const [prompt] = readPromptFile(file(`{"prompt":"${long}"}\n{"prompt":"b"}`), defaults, {
      ...target,
      maxPositions: 300_000,
    });
    expect(prompt.text).toBe(long);
  });

  test('a question is filled in as it is, whatever it contains', () => {
    const [prompt] = read('{"question": "$& {question}"}', { template: 'Q:{question}!' });
    expect(prompt.text).toBe('Q:$& {question}!');
  });

  test('worked examples come first, in the same template', () => {
    const fewShot = file('{"question":"a","answer":"b"}\n');
    expect(read('{"question":"c"}', { fewShot })[0].text).toBe('a\nb\n\nc\n');
    expect(read('{"prompt":"c"}', { fewShot })[0].text).toBe('c');
  });

  describe('as many worked examples as asked for', () => {
    const template = 'Question: {question}\nAnswer:';
    const names = ['a', 'b', 'c', 'd', 'e', 'f'];
    const fewShot = () =>
      file(names.map((name) => JSON.stringify({ question: name, answer: `is ${name}` })).join('\n'));
    const options = () => ({ template, targetDelimiter: ' ', fewShotCount: 2, fewShot: fewShot() });
    const wide = { ...target, maxPositions: 400 };
    const texts = (content: string, change: Partial<PromptFileOptions> = {}) =>
      readPromptFile(file(content), { ...defaults, ...options(), ...change }, wide).map(({ text }) => text);

    test("are the first ones, in lm-evaluation-harness's form", () => {
      expect(texts('{"question":"z"}')).toEqual([
        'Question: a\nAnswer: is a\n\nQuestion: b\nAnswer: is b\n\nQuestion: z\nAnswer:',
      ]);
    });

    test('never are the question itself', () => {
      const [text] = texts('{"question":"a"}');
      expect(text).toBe('Question: b\nAnswer: is b\n\nQuestion: c\nAnswer: is c\n\nQuestion: a\nAnswer:');
    });

    test('are drawn by the seed and the id of the prompt, whatever stands around it', () => {
      const lines = ['x', 'y', 'w', 'v', 'u'].map((id) => JSON.stringify({ question: 'z', id }));
      const all = texts(lines.join('\n'), { fewShotSeed: 3 });
      expect(texts(lines[3], { fewShotSeed: 3 })).toEqual([all[3]]);
      expect(new Set(all).size).toBeGreaterThan(1);
      expect(texts(lines.join('\n'), { fewShotSeed: 4 })).not.toEqual(all);
      for (const text of all) {
        const shown = [...text!.matchAll(/Question: (.)\nAnswer: is (.)/g)];
        expect(shown).toHaveLength(2);
        for (const [, question, answer] of shown) expect(answer).toBe(question);
        expect(new Set(shown.map(([, question]) => question)).size).toBe(2);
      }
    });

    test('must be there', () => {
      expect(() => texts('{"question":"a"}', { fewShotCount: 6 })).toThrow(
        /p\d+\.jsonl: found 5 worked examples beside the question, expected at least 6/,
      );
    });
  });
});

describe('a bad prompt file is refused with file, line, value and expectation', () => {
  const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`;
  const long = `{"tokens":[${Array(41).fill(1).join()}]}`;
  test.each([
    ['no line', '\n\n', /p\d+\.jsonl: found no prompt, expected at least one line/],
    ['not JSON', '{"prompt":"a"}\n{oops\n', /p\d+\.jsonl:2: not valid JSON/],
    ['a list', '[1]', /:1: found \[1\], expected a JSON object/],
    ['null', 'null', /:1: found null, expected a JSON object/],
    ['no source', '{"answer":"x"}', /:1: found none of them, expected exactly one of "question"/],
    ['two sources', '{"prompt":"a","tokens":[1]}', /:1: found "prompt" and "tokens", expected exactly one/],
    ['an empty prompt', '{"prompt":""}', /:1: "prompt": found "", expected a text that is not empty/],
    ['an empty question', '{"question":""}', /:1: "question": found ""/],
    ['no tokens', '{"tokens":[]}', /:1: "tokens": found \[\], expected a list of token ids/],
    ['a fraction', '{"tokens":[1.5]}', /:1: "tokens": found \[1\.5\]/],
    ['text among ids', '{"tokens":["1"]}', /:1: "tokens"/],
    ['a negative id', '{"tokens":[-1]}', /:1: found token id -1, expected 0 … 255/],
    ['an id too large', '{"tokens":[1,256]}', /:1: found token id 256, expected 0 … 255/],
    ['a forced id too large', '{"tokens":[1],"continuation":[999]}', /:1: found token id 999/],
    ['a number as prompt', '{"prompt":7}', /:1: "prompt": found 7, expected a text/],
    ['a list as id', '{"prompt":"a","id":[1]}', /:1: "id": found \[1\]/],
    ['lists within lists as a prompt', `{"prompt":${deep}}`, /:1: "prompt": found a list, expected a text/],
    ['lists within lists as an id', `{"prompt":"a","id":${deep}}`, /:1: "id": found a list, expected a text/],
    [
      'lists within lists as token ids',
      `{"tokens":${deep}}`,
      /:1: "tokens": found a list, expected a list of token ids/,
    ],
    ['lists within lists as a line', deep, /:1: found a list, expected a JSON object/],
    ['a long text', `{"prompt":["${'x'.repeat(100)}"]}`, /:1: "prompt": found \["x{55}…, expected/],
    [
      'ids that are halves of characters, which would be one id in UTF-8',
      '{"prompt":"a","id":"\\ud800"}\n{"prompt":"b","id":"\\ud801"}',
      /:1: "id": found "\\ud800", expected a text of 1 to 200 printable characters/,
    ],
    [
      'half a character in a prompt',
      '{"prompt":"a\\udfff"}',
      /:1: "prompt": found "a\\udfff", expected a text without halves of surrogate pairs/,
    ],
    ['half a character in an answer', '{"prompt":"a","answer":"#### \\ud83c"}', /:1: "answer": found/],
    ['an empty id', '{"prompt":"a","id":""}', /:1: "id": found ""/],
    [
      'a duplicate id',
      '{"prompt":"a","id":"q"}\n{"prompt":"b","id":"q"}',
      /:2: duplicate prompt id "q", first used on line 1/,
    ],
    ['a duplicate line', '{"prompt":"a"}\n{"prompt":"a"}', /:2: duplicate prompt id/],
    ['a prompt longer than the context', long, /:1: found 41 tokens, expected at most 40, the model's context/],
    [
      'a continuation beyond the context',
      `{"tokens":[1],"continuation":[${Array(40).fill(2).join()}]}`,
      /:1: found 41 tokens \(1 of the prompt, 40 forced\)/,
    ],
    ['bytes that are not UTF-8', Uint8Array.of(0x7b, 0xff, 0x7d), /:1: not UTF-8/],
    ['a line without an end', 'x'.repeat(9 * 1024 * 1024), /:1: line longer than/],
  ])('%s', (_, content, message) => {
    expect(() => read(content)).toThrow(InputError);
    expect(() => read(content)).toThrow(message);
  });

  test('a missing file and a folder are named', () => {
    expect(() => readPromptFile(join(folder, 'none'), defaults, target)).toThrow(/none: .*no such file/);
    expect(() => readPromptFile(folder, defaults, target)).toThrow(/it is a folder/);
  });

  test('a worked example needs question and answer', () => {
    expect(() => read('{"question":"c"}', { fewShot: file('{"question":"a"}') })).toThrow(
      /:1: a worked example needs "question" and "answer"/,
    );
  });

  test('a worked example of lists within lists is named by its line', () => {
    expect(() => read('{"question":"c"}', { fewShot: file(`{"question":"a","answer":${deep}}`) })).toThrow(
      /:1: "answer": found a list, expected a text/,
    );
  });

  test('a text needs a tokenizer', () => {
    expect(() => promptFromText('a', { ...target, tokenizer: null })).toThrow(/no tokenizer\.json/);
  });

  test('an inherited property name is no key', () => {
    expect(() => read('{"constructor":"a"}')).toThrow(/found none of them/);
  });
});

test('--prefill splits the given tokens into prompt and forced continuation', () => {
  const prompt = promptFromTokens([1, 2, 3, 4], target);
  expect(splitAtPrefill([prompt], 3)[0]).toMatchObject({ tokens: [1, 2, 3], continuation: [4] });
  expect(() => splitAtPrefill([prompt], 4)).toThrow(/--prefill: found 4, expected fewer than the 4 tokens/);
});

test.each([
  ['Two.\n#### 42', '42'],
  ['a #### 1\n#### 1,234,567 ', '1234567'],
  ['no answer', null],
  ['####', null],
  ['#### 7\nafterthought', null],
])('the gold answer of %j is %j', (answer, gold) => {
  expect(goldAnswer(answer)).toBe(gold);
});
