/** What a hub's refusal means: from status and `X-Error-Code` to one clear line and what to do. */
import { showName } from '../checkpoint/show.ts';
import { InputError, type KvlensError, RunError } from '../errors.ts';
import { TransientError } from './transient.ts';

/** What was asked for, and how. */
export interface Asked {
  repository: string;
  revision: string;
  endpoint: string;
  hasToken: boolean;
}

/** Longest wait a busy hub may ask for. */
const longestWait = 60_000;

/** The error a hub's answer that is not 2xx stands for; its body is not read. */
export function refusal(response: Response, { repository, revision, endpoint, hasToken }: Asked): KvlensError {
  const { status, headers } = response;
  const code = headers.get('x-error-code') ?? '';
  const said = headers.get('x-error-message');
  const page = `${endpoint}/${repository}`;
  if (code === 'GatedRepo') {
    const next = hasToken ? 'use the HF_TOKEN of the account that accepted it' : 'set HF_TOKEN (or hf auth login)';
    return new InputError(
      `${repository}: gated, expected an account that has accepted its licence`,
      `accept it on ${page}, then ${next}`,
    );
  }
  if (code === 'RevisionNotFound') {
    return new InputError(
      `${repository}: no revision ${showName(revision)}, expected a branch, a tag or a commit`,
      `${page}/tree/main lists them`,
    );
  }
  if (code === 'EntryNotFound') {
    return new InputError(`${repository}: a listed file is not there any more at ${showName(revision)}`, 'run again');
  }
  if (said !== null && /invalid credentials|invalid.*token/i.test(said)) {
    return new InputError(`${endpoint}: refuses the token`, 'check HF_TOKEN, or unset it for a public repository');
  }
  // A hub tells strangers of private repositories what it tells them of missing ones.
  if (code === 'RepoNotFound' || status === 401 || status === 404) {
    const other = hasToken ? 'whether the token may read it' : 'set HF_TOKEN if it is private';
    return new InputError(`${repository}: not found on ${endpoint}, or private`, `check the spelling, or ${other}`);
  }
  if (status === 403) {
    return new InputError(`${repository}: ${endpoint} refuses it (${reasonOf(response)})`, `see ${page}`);
  }
  return failedAnswer(response, endpoint, repository);
}

/** The error any host's answer that is not 2xx stands for, if it says nothing of repositories. */
export function failedAnswer(response: Response, host: string, repository: string): KvlensError {
  const { status, headers } = response;
  if (status === 429 || status === 408 || status >= 500) {
    const seconds = Number(headers.get('retry-after') ?? 0);
    const wait = seconds > 0 ? Math.min(seconds * 1000, longestWait) : 0;
    return new TransientError(`${host}: is busy or out of order (${reasonOf(response)})`, 'run again later', wait);
  }
  return new RunError(`${host}: answered ${reasonOf(response)}, expected a file of ${repository}`, 'run again');
}

function reasonOf({ status, headers }: Response): string {
  const said = headers.get('x-error-message');
  return said === null ? `status ${status}` : `status ${status}, ${showName(said)}`;
}
