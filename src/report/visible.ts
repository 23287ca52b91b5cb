/** Text of tokens as it may be shown: blanks and line ends visible, and nothing that could steer a terminal or a reader's eye. */

/** One text per character: itself, or what stands for it. */
export function visibleCharacters(text: string): string[] {
  return [...text].map((character) => {
    // Byte-level vocabularies write a space as Ġ and a line feed as Ċ.
    if (character === ' ' || character === '▁' || character === 'Ġ') return '␣';
    if (character === '\n' || character === 'Ċ') return '⏎';
    if (character === '\t') return '⇥';
    if (!/[\p{Control}\p{Format}\p{Surrogate}\u2028\u2029]/u.test(character)) return character;
    return `\\x${(character.codePointAt(0) ?? 0).toString(16).padStart(2, '0')}`;
  });
}

/** A token as a label of a figure, of at most so many characters. */
export function tokenText(text: string, most = 12): string {
  const shown = visibleCharacters(text);
  const whole = shown.join('');
  if (whole === '') return '∅';
  if ([...whole].length <= most) return whole;
  let cut = '';
  for (const part of shown) {
    if ([...cut].length + [...part].length > most - 1) break;
    cut += part;
  }
  return `${cut}…`;
}

/** Columns of a monospaced text: wide characters count two, combining ones none. */
export function columnsOf(text: string): number {
  let width = 0;
  for (const character of text) {
    if (/\p{Mark}|\u200d/u.test(character)) continue;
    width +=
      /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|\p{Emoji_Presentation}/u.test(
        character,
      )
        ? 2
        : 1;
  }
  return width;
}
