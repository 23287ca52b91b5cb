/** Find duplicate keys, which JSON.parse hides: the last one silently wins. */

/** The first key that occurs twice in the outermost object of valid JSON text, or null. */
export function duplicateKey(json: string): string | null {
  const seen = new Set<string>();
  let depth = 0;
  let expectKey = false;
  for (let at = 0; at < json.length; at++) {
    const char = json[at];
    if (char === '{' || char === '[') {
      depth += 1;
      expectKey = depth === 1 && char === '{';
    } else if (char === '}' || char === ']') depth -= 1;
    else if (char === ',') expectKey = depth === 1;
    else if (char === '"') {
      const end = stringEnd(json, at);
      if (expectKey) {
        const key: unknown = JSON.parse(json.slice(at, end));
        if (typeof key === 'string') {
          if (seen.has(key)) return key;
          seen.add(key);
        }
        expectKey = false;
      }
      at = end - 1;
    }
  }
  return null;
}

/** Index after the closing quote of the string that opens at `start`. */
function stringEnd(json: string, start: number): number {
  let at = start + 1;
  while (json[at] !== '"') at += json[at] === '\\' ? 2 : 1;
  return at + 1;
}
