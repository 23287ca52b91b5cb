/** The models that ship with kvlens, and what a MODEL argument stands for. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { InputError } from '../errors.ts';
import { readJsonFile } from './json-file.ts';

const cardSchema = z.looseObject({
  name: z.string(),
  architecture: z.string(),
  parameters: z.int(),
  bytes: z.int(),
  accuracy: z.looseObject({ greedy: z.looseObject({ correct: z.int(), problems: z.int() }) }),
});

/** A model card: shape, size and measured accuracy. */
export type ModelCard = z.infer<typeof cardSchema>;

export interface EmbeddedModel {
  name: string;
  dir: string;
  card: ModelCard;
  /** The problems its accuracy was measured on. */
  prompts: string;
}

/** The folder that holds kvlens's package.json: works from the sources and from the build. */
export function packageRoot(): string {
  let dir = dirname(fileURLToPath(import.meta.url));
  while (dirname(dir) !== dir) {
    const file = join(dir, 'package.json');
    if (existsSync(file) && (JSON.parse(readFileSync(file, 'utf8')) as { name?: string }).name === 'kvlens') return dir;
    dir = dirname(dir);
  }
  throw new Error('kvlens: its own package.json was not found');
}

/** The models that ship with the package, by name. */
export function embeddedModels(): EmbeddedModel[] {
  const root = join(packageRoot(), 'data', 'checkpoints');
  if (!existsSync(root)) return [];
  return readdirSync(root)
    .sort()
    .filter((name) => existsSync(join(root, name, 'model-card.json')))
    .map((name) => {
      const file = join(root, name, 'model-card.json');
      const card = cardSchema.safeParse(readJsonFile(file));
      if (!card.success) throw new InputError(`${file}: not a model card (${card.error.issues[0].path.join('.')})`);
      const prompts = join(packageRoot(), 'data', 'prompts', 'mini-arithmetic.jsonl');
      return { name, dir: join(root, name), card: card.data, prompts };
    });
}

/** What a MODEL argument names. */
export type ResolvedModel =
  | { kind: 'checkpoint'; dir: string; name?: string; embedded: EmbeddedModel | null }
  | { kind: 'graph'; dir: string };

/**
 * An embedded model's name, a checkpoint folder, or an exported graph folder (it holds graph.json).
 * @throws InputError that lists the embedded models.
 */
export function resolveModel(model: string): ResolvedModel {
  const embedded = embeddedModels().find(({ name }) => name === model);
  if (embedded) return { kind: 'checkpoint', dir: embedded.dir, name: embedded.name, embedded };
  const isFolder = existsSync(model) && statSync(model).isDirectory();
  if (isFolder && existsSync(join(model, 'graph.json'))) return { kind: 'graph', dir: model };
  if (existsSync(model)) return { kind: 'checkpoint', dir: model, embedded: null };
  const names = embeddedModels().map(({ name }) => name);
  throw new InputError(
    `MODEL "${model}" is neither an embedded model (${names.join(', ') || 'none'}) nor a checkpoint folder`,
    'kvlens models lists the embedded ones',
  );
}
