/** tokenizer.json through @huggingface/tokenizers, with the bytes each token stands for. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers';
import { InputError } from '../errors.ts';
import { readJsonFile } from './json-file.ts';
import type { Tokenizer } from './types.ts';

/**
 * The checkpoint's tokenizer, null without a tokenizer.json.
 * @param modelVocabulary rows of the embedding: the tokenizer may not give larger ids
 * @throws InputError naming the file.
 */
export function openTokenizer(dir: string, modelVocabulary: number): Tokenizer | null {
  const file = join(dir, 'tokenizer.json');
  if (!existsSync(file)) return null;
  const definition = readJsonFile(file);
  const configFile = join(dir, 'tokenizer_config.json');
  const config = existsSync(configFile) ? readJsonFile(configFile) : {};
  if (!isRecord(definition) || !isRecord(definition.model)) {
    throw new InputError(`${file}: has no "model", expected a tokenizer.json of Hugging Face's tokenizers`);
  }
  if (!isRecord(config)) throw new InputError(`${configFile}: expected a JSON object`);
  let inner: HuggingFaceTokenizer;
  try {
    inner = new HuggingFaceTokenizer(definition, config);
    inner.encode('a');
  } catch (error) {
    const reason = error instanceof Error ? error.message.split('\n')[0] : String(error);
    throw new InputError(`${file}: not a tokenizer kvlens can read (${reason})`);
  }
  const special = new Set([...inner.get_added_tokens_decoder().values()].filter((t) => t.special).map((t) => t.id));
  const ids = [...inner.get_vocab(true).values()];
  const largest = ids.reduce((a, b) => Math.max(a, b), -1);
  if (largest >= modelVocabulary) {
    throw new InputError(`${file}: holds token id ${largest}, but config.json's vocab_size is ${modelVocabulary}`);
  }
  const byteLevel = JSON.stringify(definition.decoder ?? definition.pre_tokenizer ?? null).includes('ByteLevel');
  return {
    vocabSize: largest + 1,
    encode: (text) => inner.encode(text).ids,
    decode: (tokens) => inner.decode([...tokens], { skip_special_tokens: true }),
    token: (id) => inner.id_to_token(id) ?? null,
    bytes: (id) => {
      const token = inner.id_to_token(id);
      if (token === undefined || special.has(id)) return null;
      return byteLevel ? byteLevelBytes(token) : sentencePieceBytes(token);
    },
  };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

let byteOfCharacter: Map<string, number> | undefined;

/** GPT-2's alphabet: printable bytes stand for themselves, the others for characters from U+0100 on. */
function byteLevelBytes(token: string): Uint8Array {
  if (!byteOfCharacter) {
    byteOfCharacter = new Map();
    let next = 256;
    for (let byte = 0; byte < 256; byte++) {
      const printable = (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
      byteOfCharacter.set(String.fromCodePoint(printable ? byte : next++), byte);
    }
  }
  const table = byteOfCharacter;
  const bytes = [...token].flatMap((character) => {
    const byte = table.get(character);
    return byte === undefined ? [...new TextEncoder().encode(character)] : [byte];
  });
  return Uint8Array.from(bytes);
}

/** SentencePiece: `▁` is a space, `<0x0A>` one byte. */
function sentencePieceBytes(token: string): Uint8Array {
  const byte = /^<0x([0-9A-Fa-f]{2})>$/.exec(token);
  return byte ? Uint8Array.of(Number.parseInt(byte[1], 16)) : new TextEncoder().encode(token.replaceAll('▁', ' '));
}
