/** tokenizer.json through @huggingface/tokenizers, with the bytes each token stands for. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers';
import { InputError } from '../errors.ts';
import { readJsonFile } from './json-file.ts';
import { oneLine, show, showName } from './show.ts';
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
  if (!isRecord(definition)) throw new InputError(`${file}: is ${show(definition)}, expected a JSON object`);
  if (!isRecord(config)) throw new InputError(`${configFile}: is ${show(config)}, expected a JSON object`);
  checkDefinition(file, definition, modelVocabulary);
  const readable = <T>(operation: () => T): T => {
    try {
      return operation();
    } catch (error) {
      const reason = oneLine(error instanceof Error ? error.message : String(error));
      throw new InputError(`${file}: not a tokenizer kvlens can read (${reason}), expected Hugging Face's format`);
    }
  };
  // Hugging Face's default; the library's own is to remove spaces before punctuation.
  const settings = { clean_up_tokenization_spaces: false, ...config };
  const inner = readable(() => new HuggingFaceTokenizer(definition, settings));
  const encode = (text: string) => {
    const ids: (number | undefined)[] = readable(() => inner.encode(text).ids);
    return ids.map((id) => {
      if (id !== undefined) return id;
      throw new InputError(`${file}: no token for a part of ${show(text)}, expected an unknown-token entry`);
    });
  };
  encode('a');
  const special = new Set([...inner.get_added_tokens_decoder().values()].filter((t) => t.special).map((t) => t.id));
  const ids = [...inner.get_vocab(true).values()];
  const largest = ids.reduce((a, b) => Math.max(a, b), -1);
  const decoder = readable(() => JSON.stringify(definition.decoder ?? definition.pre_tokenizer ?? null));
  const byteLevel = decoder.includes('ByteLevel');
  return {
    vocabSize: largest + 1,
    encode,
    decode: (tokens) => {
      const known = tokens.filter((id) => inner.id_to_token(id) !== undefined);
      return known.length === 0 ? '' : readable(() => inner.decode(known, { skip_special_tokens: true }));
    },
    token: (id) => inner.id_to_token(id) ?? null,
    bytes: (id) => {
      const token = inner.id_to_token(id);
      if (token === undefined || special.has(id)) return null;
      return byteLevel ? byteLevelBytes(token) : sentencePieceBytes(token);
    },
  };
}

/** The model types of Hugging Face's format that the library reads. */
const modelTypes = ['BPE', 'Unigram', 'WordPiece'];

/** Check what the library takes on trust; above all the ids, which become lengths of arrays. */
function checkDefinition(file: string, definition: Record<string, unknown>, modelVocabulary: number): void {
  const { model, added_tokens: added } = definition;
  if (!isRecord(model)) {
    throw new InputError(`${file}: model is ${show(model)}, expected the model of a Hugging Face tokenizer`);
  }
  const { type, vocab } = model;
  if (type !== undefined && !modelTypes.includes(String(type))) {
    throw new InputError(`${file}: model.type is ${show(type)}, expected one of ${modelTypes.join(', ')}`);
  }
  const ids: [string, unknown][] = Array.isArray(vocab)
    ? vocab.map((entry, id) => [`model.vocab.${id}`, Array.isArray(entry) ? id : entry])
    : Object.entries(isRecord(vocab) ? vocab : {});
  if (ids.length === 0) throw new InputError(`${file}: model.vocab is ${show(vocab)}, expected at least one token`);
  if (!Array.isArray(added)) throw new InputError(`${file}: added_tokens is ${show(added)}, expected a list of tokens`);
  for (const token of added) {
    if (!isRecord(token) || typeof token.content !== 'string') {
      throw new InputError(`${file}: added_tokens holds ${show(token)}, expected an object with id and content`);
    }
    ids.push([token.content, token.id]);
  }
  for (const [token, id] of ids) {
    if (typeof id !== 'number' || !Number.isInteger(id) || id < 0 || id >= modelVocabulary) {
      const expected = `a whole number below config.json's vocab_size (${modelVocabulary})`;
      throw new InputError(`${file}: the id of token ${showName(token)} is ${show(id)}, expected ${expected}`);
    }
  }
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
