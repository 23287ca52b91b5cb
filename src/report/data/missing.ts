/** What a figure says where its table is not there. */

/** Rows that a run does not have. */
export interface Missing {
  /** What is missing, one sentence: `No answers.arrow.` */
  missing: string;
  /** The command that makes it. */
  command: string;
}

/** True for what is missing instead of what was asked for. */
export function isMissing(found: object): found is Missing {
  return 'missing' in found && 'command' in found;
}

/** Commands by what they make. */
export const commands = {
  steps: 'kvlens diverge MODEL --out FOLDER',
  patches: 'kvlens patch MODEL two-by-two --out FOLDER',
  study: 'kvlens study --out FOLDER',
  paper: 'kvlens study --preset paper --out FOLDER',
} as const;
