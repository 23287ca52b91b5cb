/** Specs that ship with kvlens, by name; and what a SPEC argument stands for. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../checkpoint/embedded.ts';
import { InputError } from '../../errors.ts';
import { type PatchSpec, readPatchSpec } from './spec.ts';

const folder = () => join(packageRoot(), 'data', 'specs');

/** Names of the specs that ship with kvlens. */
export function shippedSpecs(): string[] {
  if (!existsSync(folder())) return [];
  return readdirSync(folder())
    .filter((name) => name.endsWith('.json'))
    .map((name) => name.replace(/\.json$/, ''))
    .sort();
}

/** A shipped spec by its name, or a spec file. @throws InputError */
export function openPatchSpec(spec: string): PatchSpec {
  if (shippedSpecs().includes(spec)) return readPatchSpec(join(folder(), `${spec}.json`));
  if (existsSync(spec)) return readPatchSpec(spec);
  throw new InputError(`SPEC "${spec}" is neither a file nor one of ${shippedSpecs().join(', ')}`);
}
