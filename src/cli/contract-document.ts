/** The contract of `--json` as a Markdown document, made from its one definition. */
import { z } from 'zod';
import { errorResult, results } from './contract.ts';

/** One section per command, one table row per key, nested keys with dots and `[]`. */
export function contractMarkdown(): string {
  const sections = Object.entries(results).map(([command, schema]) => section(`kvlens ${command} --json`, schema));
  return [
    '# What `--json` prints',
    '',
    'Exactly one JSON object on stdout: the result, also when a gate failed (exit code 1), else the error object.',
    'Numbers that are not finite are the words `"NaN"`, `"Infinity"` and `"-Infinity"`.',
    '',
    ...sections,
    section('Without a result', errorResult),
  ].join('\n');
}

function section(title: string, schema: z.ZodType): string {
  return [`## ${title}`, '', ...keyTable(z.toJSONSchema(schema)), ''].join('\n');
}

/** A table with a row for every key of a schema. */
export function keyTable(schema: z.core.JSONSchema.BaseSchema): string[] {
  const rows = keys(schema, '').map(({ key, type, meaning }) => `| \`${key}\` | ${type} | ${meaning} |`);
  return ['| key | type | meaning |', '|---|---|---|', ...rows];
}

type Schema = z.core.JSONSchema.BaseSchema;
interface Row {
  key: string;
  type: string;
  meaning: string;
}

function keys(schema: Schema, prefix: string): Row[] {
  const required = new Set(schema.required ?? []);
  return Object.entries(schema.properties ?? {}).flatMap(([name, property]) => {
    if (typeof property === 'boolean') return [];
    const key = `${prefix}${name}`;
    const optional = required.has(name) ? '' : ', may be absent';
    const row = { key, type: `${typeName(property)}${optional}`, meaning: property.description ?? '' };
    return [row, ...nested(property, key)];
  });
}

/** Rows of what is inside an object, a list of objects, or either of them or null. */
function nested(schema: Schema, key: string): Row[] {
  const branches = schema.anyOf ?? [schema];
  return branches.flatMap((branch) => {
    if (branch.properties) return keys(branch, `${key}.`);
    const items = branch.items;
    return typeof items === 'object' && !Array.isArray(items) && items.properties ? keys(items, `${key}[].`) : [];
  });
}

function typeName(schema: Schema): string {
  if (schema.title !== undefined) return schema.title;
  if (schema.anyOf) return [...new Set(schema.anyOf.map(typeName))].filter((name) => name !== 'a word').join(' or ');
  if (schema.enum) {
    return schema.enum.includes('NaN') ? 'a word' : schema.enum.map((word) => `\`"${String(word)}"\``).join(', ');
  }
  if (schema.type === 'array') {
    const { items } = schema;
    return typeof items === 'object' && !Array.isArray(items) ? `list of ${typeName(items)}` : 'list';
  }
  return [schema.type ?? 'any'].flat().join(' or ');
}
