export function extractAnswer(text: string, mode: string): string | null {
  const m = mode === 'strict' ? /#### (-?[0-9.,]+)/.exec(text) : null;
  return m ? m[1] : null;
}
export function isCorrect(found: string | null, gold: string): boolean {
  return found !== null && found.replaceAll(',', '').replace(/\.$/, '') === gold;
}
