/** Tokenizers of the shared models against llama2.c's vocabulary and algorithm, and against the text itself. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { openTokenizer } from '../../src/checkpoint/tokenizer.ts';
import type { Tokenizer } from '../../src/checkpoint/types.ts';
import { sharedPath } from '../shared.ts';

function open(dir: string): Tokenizer {
  const tokenizer = openTokenizer(dir, 512);
  if (!tokenizer) throw new Error(`${dir} has no tokenizer.json`);
  return tokenizer;
}

/** Texts of a JSON Lines file. */
function lines(path: string, key: 'prompt' | 'question' | 'answer', count: number): string[] {
  const rows = readFileSync(path, 'utf8').trim().split('\n').slice(0, count);
  return rows.map((row) => (JSON.parse(row) as Record<typeof key, string>)[key]);
}

const bytesOf = (tokenizer: Tokenizer, tokens: number[]) =>
  Buffer.concat(tokens.map((id) => tokenizer.bytes(id) ?? Buffer.alloc(0))).toString();

/** What llama2.c's test_all.py expects of 200 steps of stories260K at temperature 0. */
const story = `Once upon a time, there was a little girl named Lily. She loved to play outside in the park. One day, she saw a big, red ball. She wanted to play with it, but it was too high.
Lily's mom said, "Lily, let's go to the park." Lily was sad and didn't know what to do. She said, "I want to play with your ball, but I can't find it."
Lily was sad and didn't know what to do. She said, "I'm sorry, Lily. I didn't know what to do."
Lily didn't want to help her mom, so she`;

const awkward = [
  '',
  ' ',
  '  two  spaces ',
  'Zoë’s naïve 猫 🐈',
  'a .b , c ! d ? I do n\'t " x "',
  '\ttab\r\nline\n\n',
  '<s>?',
];

interface Piece {
  score: number;
  bytes: string;
}

/** The vocabulary in llama2.c's own format: a score and the bytes of every token. Bytes as Latin-1 text. */
function readVocabulary(path: string): Piece[] {
  const file = readFileSync(path);
  const pieces: Piece[] = [];
  for (let at = 4; at < file.length; ) {
    const length = file.readInt32LE(at + 4);
    pieces.push({ score: file.readFloatLE(at), bytes: file.toString('latin1', at + 8, at + 8 + length) });
    at += 8 + length;
  }
  return pieces;
}

/** SentencePiece's BPE as llama2.c does it: a leading space, characters or bytes, then the best-scored pair merged again and again. */
function encodeByScores(pieces: readonly Piece[], text: string): number[] {
  const ids = new Map(pieces.map(({ bytes }, id) => [bytes, id]));
  const tokens = text === '' ? [] : [ids.get(' ') ?? 0];
  for (const character of text) {
    const bytes = Buffer.from(character).toString('latin1');
    const id = ids.get(bytes);
    if (id === undefined) tokens.push(...Array.from(bytes, (byte) => byte.charCodeAt(0) + 3));
    else tokens.push(id);
  }
  for (;;) {
    const merges = tokens.slice(1).flatMap((right, i) => {
      const id = ids.get(pieces[tokens[i]].bytes + pieces[right].bytes);
      return id === undefined ? [] : [{ at: i, id, score: pieces[id].score }];
    });
    if (merges.length === 0) return [1, ...tokens];
    const best = merges.reduce((a, b) => (b.score > a.score ? b : a));
    tokens.splice(best.at, 2, best.id);
  }
}

const stories = sharedPath('data', 'models', 'stories260K');
const tok512 = sharedPath('data', 'stories260K', 'tok512.bin');
const openings = sharedPath('data', 'prompts', 'stories-40.jsonl');
const gsm8k = sharedPath('data', 'gsm8k', 'test.jsonl');

describe.skipIf(!stories || !tok512 || !openings)('stories260K', () => {
  const tokenizer = stories ? open(stories) : null!;
  const pieces = tok512 ? readVocabulary(tok512) : [];
  const texts = [story, ...(openings ? lines(openings, 'prompt', 40) : []), ...awkward.slice(1, 6)];

  test('"Once upon a time" is 1 403 407 261 378', () => {
    expect(tokenizer.encode('Once upon a time')).toEqual([1, 403, 407, 261, 378]);
  });

  test('every id stands for the bytes it stands for in llama2.c', () => {
    expect(tokenizer.vocabSize).toBe(pieces.length);
    for (const [id, { bytes }] of pieces.entries()) {
      const raw = /^<0x(..)>$/.exec(bytes);
      const expected = raw ? Buffer.from(raw[1], 'hex') : Buffer.from(bytes, 'latin1');
      if (id > 2) expect(Buffer.from(tokenizer.bytes(id) ?? []), `id ${id}`).toEqual(expected);
      else expect(tokenizer.bytes(id)).toBeNull();
    }
  });

  test.each(texts)('llama2.c merges %j the same way', (text) => {
    expect(tokenizer.encode(text)).toEqual(encodeByScores(pieces, text));
  });

  test.each(texts)('%j is what its tokens decode to', (text) => {
    expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
    expect(bytesOf(tokenizer, tokenizer.encode(text))).toBe(` ${text}`);
  });
});

describe.each(['trial-llama', 'trial-mistral', 'trial-gemma2'])('%s', (name) => {
  const dir = sharedPath('data', 'models', name);
  const tokenizer = dir ? open(dir) : null!;
  const texts = gsm8k ? ['question', 'answer'].flatMap((key) => lines(gsm8k, key as 'question' | 'answer', 100)) : [];

  test.skipIf(!dir || !gsm8k)('200 texts of GSM8K, and awkward ones, are what their tokens decode to', () => {
    for (const text of [...texts, ...awkward.slice(0, 6)]) {
      const [begin, ...tokens] = tokenizer.encode(text);
      expect(begin).toBe(1);
      expect(tokenizer.decode([begin, ...tokens])).toBe(text);
      expect(bytesOf(tokenizer, tokens)).toBe(text);
    }
  });

  test.skipIf(!dir)('every digit stands alone', () => {
    const [, ...tokens] = tokenizer.encode('12345');
    expect(tokens.map((id) => tokenizer.token(id))).toEqual(['1', '2', '3', '4', '5']);
  });

  test.skipIf(!dir)('special tokens in a text are special, and leave no text', () => {
    expect(tokenizer.encode('<s>')).toEqual([1, 1]);
    expect(tokenizer.decode([1, 2, 0])).toBe('');
  });
});

/** From Hugging Face's own tokenizers 0.23.3 (Rust). */
const published: [text: string, ids: number[]][] = [
  ['Lily drives 39 miles.', [1, 79, 108, 111, 124, 425, 35, 54, 60, 362, 49]],
  [
    "She pays $1,234.50 (25% off) – isn't it?\n",
    [
      1, 493, 395, 118, 292, 52, 47, 53, 54, 55, 49, 56, 51, 35, 43, 53, 56, 40, 327, 105, 44, 35, 229, 131, 150, 335,
      113, 42, 119, 35, 108, 119, 66, 13,
    ],
  ],
  [
    'Zoë’s naïve 猫 🐈',
    [1, 93, 114, 198, 174, 229, 131, 156, 118, 447, 100, 198, 178, 303, 35, 234, 143, 174, 35, 243, 162, 147, 139],
  ],
];
const trialLlama = sharedPath('data', 'models', 'trial-llama');
test.skipIf(!trialLlama).each(published)("%j has the ids that Hugging Face's tokenizers give it", (text, ids) => {
  expect(open(trialLlama ?? '').encode(text)).toEqual(ids);
});
