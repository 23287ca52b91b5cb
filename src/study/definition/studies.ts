/** Studies that ship with kvlens, by name. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../checkpoint/embedded.ts';
import { UsageError } from '../../errors.ts';
import { readStudy, type StudyDefinition } from './schema.ts';

const folder = () => join(packageRoot(), 'data', 'studies');

/** Names of the studies that ship with kvlens. */
export function shippedStudies(): string[] {
  if (!existsSync(folder())) return [];
  return readdirSync(folder())
    .filter((name) => name.endsWith('.json'))
    .map((name) => name.replace(/\.json$/, ''))
    .sort();
}

/** A shipped study. @throws UsageError for an unknown name */
export function shippedStudy(name: string): StudyDefinition {
  if (shippedStudies().includes(name)) return readStudy(join(folder(), `${name}.json`));
  throw new UsageError(`--preset: found ${JSON.stringify(name)}, expected ${shippedStudies().join(', ')}`);
}
