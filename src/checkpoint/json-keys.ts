/** Find duplicate keys, which JSON.parse hides: the last one silently wins. */

/** The first key that occurs twice in one object of valid JSON text, at any depth, or null. */
export function duplicateKey(json: string): string | null {
  /** The keys of every open object; null stands for an open array. */
  const open: (Set<string> | null)[] = [];
  let expectKey = false;
  for (let at = 0; at < json.length; at++) {
    const char = json[at];
    if (char === '{') {
      open.push(new Set());
      expectKey = true;
    } else if (char === '[') {
      open.push(null);
      expectKey = false;
    } else if (char === '}' || char === ']') {
      open.pop();
      expectKey = false;
    } else if (char === ',') expectKey = true;
    else if (char === '"') {
      const end = stringEnd(json, at);
      const keys = expectKey ? open.at(-1) : null;
      if (keys) {
        const key = unquote(json.slice(at, end));
        if (keys.has(key)) return key;
        keys.add(key);
      }
      expectKey = false;
      at = end - 1;
    }
  }
  return null;
}

function unquote(quoted: string): string {
  return quoted.includes('\\') ? String(JSON.parse(quoted)) : quoted.slice(1, -1);
}

/** Index after the closing quote of the string that opens at `start`. */
function stringEnd(json: string, start: number): number {
  let at = start + 1;
  while (json[at] !== '"') at += json[at] === '\\' ? 2 : 1;
  return at + 1;
}
