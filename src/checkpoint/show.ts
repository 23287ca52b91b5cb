/** Untrusted values in messages: always one line, never long, never a character that moves the cursor. */

const longest = 80;

/** A value as JSON, cut after 80 characters; `missing` for undefined. */
export function show(value: unknown): string {
  if (value === undefined) return 'missing';
  let text: string;
  try {
    text = JSON.stringify(value);
  } catch {
    return 'a value nested too deeply to show';
  }
  return oneLine(text);
}

/** A name as it is where it is plain, else quoted and escaped. */
export function showName(name: string): string {
  const plain = oneLine(name);
  return plain === name && name !== '' ? name : show(name);
}

/** Text of others with every control, format and line separator character escaped, cut after 80 characters. */
export function oneLine(text: string): string {
  const escaped = text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, (character) => {
    return `\\u{${character.codePointAt(0)?.toString(16)}}`;
  });
  return escaped.length > longest ? `${escaped.slice(0, longest - 3)}…` : escaped;
}
