/** What figures read of a run's manifest. */
import { z } from 'zod';
import { checkedJson } from './checked-json.ts';
import type { RunTables } from './run-tables.ts';

const storage = z.enum(['f16', 'bf16', 'f32', 'f64']);
const policy = z.looseObject({ name: z.string(), default: storage });
const config = z.looseObject({ eosTokenIds: z.array(z.int()) });
const schema = z.looseObject({
  identity: z.looseObject({
    /** Of a run of one model. */
    config: config.optional(),
    policy: policy.optional(),
    ignoreEos: z.boolean().optional(),
    /** Of a study. */
    factors: z.looseObject({ policies: z.array(policy) }).optional(),
  }),
});

export interface RunManifest {
  /** Tokens that end a text of a run of one model; none where they are ignored, or in a study. */
  endTokens: readonly number[];
  /** The type a precision stores activations in, by its name. */
  storage: ReadonlyMap<string, z.infer<typeof storage>>;
}

/** Read the manifest. @throws InputError if it is none of kvlens */
export async function readManifest(run: RunTables): Promise<RunManifest> {
  const { identity } = checkedJson('manifest', await run.json('manifest'), schema, 'it is no manifest of kvlens');
  const policies = [...(identity.policy ? [identity.policy] : []), ...(identity.factors?.policies ?? [])];
  return {
    endTokens: identity.ignoreEos ? [] : (identity.config?.eosTokenIds ?? []),
    storage: new Map(policies.map(({ name, default: type }) => [name, type])),
  };
}
