/** Where files of a repository go, and which of them are there already. */
import type { RemoteFile } from './content.ts';

/** Compares a file on disk with the listed digest. */
export type Matches = (path: string, file: RemoteFile) => Promise<boolean>;

export interface Destination {
  /** The folder that becomes a checkpoint. */
  folder: string;
  /**
   * Whether the file is in `folder` with its listed content.
   * @throws InputError if something else has its name and must not be overwritten
   */
  has(file: RemoteFile): Promise<boolean>;
  /** Where its bytes are gathered; the name says which content they belong to. */
  partial(file: RemoteFile): string;
  /** Give the gathered, verified bytes their final name. */
  publish(file: RemoteFile): void;
  /** Every file is there. */
  finish(): void;
}
