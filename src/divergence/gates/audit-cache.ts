/**
 * Audits that were made on this machine, so that a run can quote one by its hash.
 *
 * They live where the system keeps caches. An entry that cannot be read, or whose hash is not that of its gates, counts
 * as absent; an entry appears under its name only when complete.
 */
import { createHash, randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import type { GateResult } from '../summary.ts';
import type { AuditRecord, GateSubject } from './gate.ts';
import { gateResultSchema } from './gate-result.ts';
import { thisMachine, versions } from './machine.ts';

/** Where kvlens keeps what can be made again: `KVLENS_CACHE`, else the system's place for caches. */
export function cacheFolder(
  env: NodeJS.ProcessEnv = process.env,
  platform: NodeJS.Platform = process.platform,
): string {
  if (env.KVLENS_CACHE) return env.KVLENS_CACHE;
  if (platform === 'win32') return join(env.LOCALAPPDATA ?? join(homedir(), 'AppData', 'Local'), 'kvlens');
  if (platform === 'darwin') return join(env.HOME ?? homedir(), 'Library', 'Caches', 'kvlens');
  return join(env.XDG_CACHE_HOME || join(env.HOME ?? homedir(), '.cache'), 'kvlens');
}

const recordSchema = z.object({
  schemaVersion: z.literal(1),
  hash: z.string(),
  gates: z.array(gateResultSchema),
});

/** What an audit speaks for: a model, a policy, a preset and a machine – not a prompt. */
async function auditKey({ checkpoint, policy, kernels, threads, decodeRows }: GateSubject): Promise<string> {
  const key = {
    model: await checkpoint.sha256(),
    // The same weights are another model under another configuration, or with their K/V heads repeated.
    config: checkpoint.config,
    policy,
    kernels,
    threads,
    decodeRows,
    machine: thisMachine(),
    ...versions(),
  };
  return sha256(JSON.stringify(key));
}

/** The audit of this subject, or null if there is none on this machine. */
export async function findAudit(subject: GateSubject, folder = cacheFolder()): Promise<AuditRecord | null> {
  try {
    const text = readFileSync(auditFile(folder, await auditKey(subject)), 'utf8');
    const { hash, gates } = recordSchema.parse(JSON.parse(text));
    return hash === hashOf(gates) ? { hash, gates } : null;
  } catch {
    return null;
  }
}

/** Keep an audit; a cache that cannot be written is no error, the audit has been shown. */
export async function keepAudit(
  subject: GateSubject,
  gates: GateResult[],
  folder = cacheFolder(),
): Promise<AuditRecord> {
  const record: AuditRecord = { hash: hashOf(gates), gates };
  const file = auditFile(folder, await auditKey(subject));
  const temporary = `${file}.${randomUUID()}.tmp`;
  try {
    mkdirSync(join(folder, 'audits'), { recursive: true });
    writeFileSync(temporary, `${JSON.stringify({ schemaVersion: 1, ...record }, null, 1)}\n`);
    renameSync(temporary, file);
  } catch {
    removeQuietly(temporary);
  }
  return record;
}

function removeQuietly(file: string): void {
  try {
    rmSync(file, { force: true });
  } catch {
    // The folder is no folder: then there is nothing to remove.
  }
}

function auditFile(folder: string, key: string): string {
  return join(folder, 'audits', `${key.slice(0, 32)}.json`);
}

/** The short hash a run quotes. */
function hashOf(gates: readonly GateResult[]): string {
  const fields = gates.map((gate) => [
    gate.name,
    gate.class,
    gate.passed,
    gate.status,
    gate.measured,
    gate.required,
    gate.scope,
  ]);
  return sha256(JSON.stringify(fields)).slice(0, 12);
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
