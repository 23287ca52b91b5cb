/** What the reader looks at, kept in the address: condition, prompt, what the map shows, the cursor, the theme. */

export interface View {
  condition?: string;
  prompt?: string;
  step?: number;
  hook?: string;
  theme?: 'light' | 'dark';
}

/** Read the view from the part of the address after #. */
export function readView(): View {
  const values = new URLSearchParams(location.hash.slice(1));
  const [condition, prompt, hook, theme] = ['condition', 'prompt', 'hook', 'theme'].map((name) => values.get(name));
  const step = Number.parseInt(values.get('step') ?? '', 10);
  return {
    ...(condition ? { condition } : {}),
    ...(prompt ? { prompt } : {}),
    ...(hook ? { hook } : {}),
    ...(Number.isInteger(step) ? { step } : {}),
    ...(theme === 'light' || theme === 'dark' ? { theme } : {}),
  };
}

/** Keep what changes, without a step in the browser's history; an undefined value is forgotten. */
export function keepView(change: { [Key in keyof View]?: View[Key] | undefined }): void {
  const values = new URLSearchParams(location.hash.slice(1));
  for (const [name, value] of Object.entries(change)) {
    if (value === undefined) values.delete(name);
    else values.set(name, String(value));
  }
  history.replaceState(null, '', `#${values}`);
}
