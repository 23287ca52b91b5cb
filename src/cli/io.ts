/** What a command may write to: the result goes to stdout, progress, notes and errors to stderr. */

/** The terminal, or a test's stand-in for it. */
export interface Io {
  out(text: string): void;
  err(text: string): void;
  /** Width of stdout. */
  columns: number;
  /** Colour on stdout. */
  color: boolean;
  /** False with TERM=dumb. */
  unicode: boolean;
  /** Width of stderr if it is a terminal, else null. */
  progressColumns: number | null;
  /** Show the stack of a bug. */
  debug: boolean;
}

const defaultColumns = 80;

/** The process's own streams; colour and width as the environment asks. */
export function processIo(): Io {
  const { stdout, stderr, env } = process;
  const dumb = env.TERM === 'dumb';
  const noColor = env.NO_COLOR !== undefined && env.NO_COLOR !== '';
  return {
    out: (text) => void stdout.write(text),
    err: (text) => void stderr.write(text),
    columns: Math.max(40, stdout.columns ?? defaultColumns),
    color: stdout.isTTY === true && !noColor && !dumb,
    unicode: !dumb,
    progressColumns: stderr.isTTY && !dumb ? (stderr.columns ?? defaultColumns) : null,
    debug: env.KVLENS_DEBUG === '1',
  };
}
