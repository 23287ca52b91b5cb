/**
 * Rounding policies: after which operation a value is rounded to which type.
 *
 * Graphs compute in float32 (or float64); a rounding is an explicit `Cast` to the narrow type and back, which is exact
 * on the CPU provider where a float16-typed graph is not. The places are the roundings of Hugging Face's half-precision
 * code (eager attention), named after what has just been computed.
 */
import { z } from 'zod';
import { readJsonFile } from '../checkpoint/json-file.ts';
import { InputError, UsageError } from '../errors.ts';
import type { StorageType } from '../numerics/types.ts';
import { parseJson } from '../store/parse-json.ts';

/** Where a policy may round. Each place names the value that has just been computed. */
export const places = [
  'weights',
  'embedding',
  'norm',
  'linear',
  'rotary_table',
  'rotary',
  'kv',
  'scores',
  'softcap',
  'probabilities',
  'attention_out',
  'mlp',
  'residual',
  'logits',
] as const;
export type Place = (typeof places)[number];

const storageType = z.enum(['f16', 'bf16', 'f32', 'f64']);
/** A rounding policy as JSON. */
export const policySchema = z.strictObject({
  /** Shown in run lines and file names. */
  name: z.string().regex(/^[\w.-]{1,40}$/, 'letters, digits, ".", "-" and "_", at most 40'),
  /** The type every operation computes in. */
  compute: z.enum(['float32', 'float64']),
  /** The type of every place that is not listed. */
  default: storageType,
  places: z.partialRecord(z.enum(places), storageType).default({}),
  /** Type of scalars (norm epsilon, score scale) and of the recipe of rotary tables; the compute type if absent. */
  constants: z.enum(['f32', 'f64']).optional(),
});

/** A rounding policy, as stored in JSON. */
export type RoundingPolicy = z.infer<typeof policySchema>;

const narrow = (name: string, type: StorageType): RoundingPolicy => ({
  name,
  compute: 'float32',
  default: type,
  places: {},
});

/** As Hugging Face's sdpa path: scores, softmax and P·V inside one rounding. */
const sdpa = (name: string, type: StorageType): RoundingPolicy => ({
  ...narrow(name, type),
  places: { scores: 'f32', softcap: 'f32', probabilities: 'f32' },
});

/** The policies that have a name on the command line. */
export const policies: Record<string, RoundingPolicy> = {
  fp32: narrow('fp32', 'f32'),
  fp16: narrow('fp16', 'f16'),
  bf16: narrow('bf16', 'bf16'),
  'fp16-sdpa': sdpa('fp16-sdpa', 'f16'),
  'bf16-sdpa': sdpa('bf16-sdpa', 'bf16'),
  fp64: { name: 'fp64', compute: 'float64', default: 'f64', places: {} },
};

/** The type a policy's operations compute in. */
export function computeType(policy: RoundingPolicy): 'f32' | 'f64' {
  return policy.compute === 'float64' ? 'f64' : 'f32';
}

/** The type values are rounded to at `place`. */
export function typeAt(policy: RoundingPolicy, place: Place): StorageType {
  return policy.places[place] ?? policy.default;
}

/** The type of scalars and of the rotary recipe. */
export function constantsType(policy: RoundingPolicy): 'f32' | 'f64' {
  return policy.constants ?? computeType(policy);
}

/** The oracle of a run: exactly its rounded weights, constants and rotary tables; everything else in float64. */
export function oracleOf(policy: RoundingPolicy): RoundingPolicy {
  return {
    name: `${policy.name}-oracle`,
    compute: 'float64',
    default: 'f64',
    places: { weights: typeAt(policy, 'weights'), rotary_table: typeAt(policy, 'rotary_table') },
    constants: constantsType(policy),
  };
}

/** True if a policy rounds somewhere to a type whose range a large activation can leave (binary16). */
export function canOverflow(policy: RoundingPolicy): boolean {
  return policy.default === 'f16' || Object.values(policy.places).includes('f16');
}

/**
 * The policy that `--precision` names: a built-in name or a path to a JSON file.
 * @throws UsageError for an unknown name, InputError for a file that is not a policy.
 */
export function resolvePolicy(nameOrFile: string): RoundingPolicy {
  if (Object.hasOwn(policies, nameOrFile)) return policies[nameOrFile];
  if (!nameOrFile.endsWith('.json')) {
    throw new UsageError(
      `--precision: unknown precision "${nameOrFile}", expected ${Object.keys(policies).join(', ')} or a FILE.json`,
    );
  }
  return parsePolicy(readJsonFile(nameOrFile), nameOrFile);
}

/** Check a parsed JSON value; `source` is named in the error. @throws InputError */
export function parsePolicy(value: unknown, source: string): RoundingPolicy {
  const policy = parseJson(policySchema, value, source, {
    what: 'rounding policy',
    hint: `a policy has a name, compute and default, and places that differ: ${places.join(', ')}`,
  });
  const wide = [policy.default, ...Object.values(policy.places)].includes('f64');
  if (policy.compute === 'float32' && (wide || policy.constants === 'f64')) {
    throw new InputError(`${source}: a policy that computes in float32 cannot hold f64 values`, 'set compute: float64');
  }
  return policy;
}
