/**
 * The one definition of every Arrow table of a run: column, type, nullability, meaning. The Arrow schemas, the row
 * types and the documentation come from it.
 */

/** Column types; `text` is dictionary-encoded UTF-8 with one dictionary per file, `string` plain UTF-8. */
export type ColumnType =
  | 'text'
  | 'string'
  | 'int16'
  | 'int32'
  | 'float64'
  | 'bool'
  | 'int32 list'
  | 'float64 list'
  | 'binary';

export interface Column {
  type: ColumnType;
  nullable: boolean;
  /** One line: what it is, and its unit. */
  meaning: string;
}

/** A column whose type is known to the compiler, so that `Row` is exact. */
interface ExactColumn<T extends ColumnType, N extends boolean> extends Column {
  type: T;
  nullable: N;
}

const column = <T extends ColumnType>(type: T, meaning: string): ExactColumn<T, false> => ({
  ...{ type, nullable: false, meaning },
});
const optional = <T extends ColumnType>(type: T, meaning: string): ExactColumn<T, true> => ({
  ...{ type, nullable: true, meaning },
});

const condition = column('text', 'condition, joins with conditions.arrow');
const prompt = column('text', 'id of the prompt, joins with prompts.arrow');
const spec = column('text', 'name of the patch spec');

/** Columns of every Arrow table of a run, by table and name: what docs/tables.md lists and the writer checks. */
export const tables = {
  conditions: {
    condition: column('text', 'name of the condition'),
    model: column('text', 'name of the model'),
    precision: column('text', 'name of the rounding policy'),
    kernels: column('text', 'kernel preset'),
    strategy: column('text', 'greedy, t0.7-p0.9, t1.0-k50 …'),
    temperature: optional('float64', 'sampling temperature'),
    top_k: optional('int32', 'top-k'),
    top_p: optional('float64', 'top-p'),
    sampler: optional('text', 'gumbel or inverse-cdf'),
    seed: column('float64', 'seed of the keyed random numbers'),
    decode_rows: column('int32', 'rows each decode step of the cached arm recomputes'),
    threads: column('int32', 'intra-op threads'),
    template: column('text', 'template that turned a question into a prompt'),
    coupling: column('text', 'keyed: both arms draw the same random numbers; independent: each its own'),
    padding: column('int32', 'rows of left padding of the cached arm'),
  },
  prompts: {
    prompt: column('text', 'id of the prompt'),
    index: column('int32', 'its place in the run'),
    text: optional('text', 'the prompt as text'),
    tokens: column('int32 list', 'the prompt as token ids'),
    gold: optional('text', 'the answer it should get'),
    model: column('text', 'name of the model: tokens are its own'),
  },
  vocab: {
    id: column('int32', 'token id'),
    string: optional('string', 'the vocabulary entry as stored'),
    bytes: optional('binary', 'the bytes the token stands for; null for special tokens'),
    model: column('text', 'name of the model'),
  },
  steps: {
    condition,
    prompt,
    protocol: column('text', 'teacher-forced or free-running'),
    step: column('int32', '0 is the token the prefill decides'),
    position: column('int32', 'absolute position of the newest input token, n − 1'),
    token_cached: column('int32', "the cached arm's choice"),
    token_uncached: column('int32', "the uncached arm's choice"),
    flip: optional('bool', 'the choices differ; null after the first free-running one'),
    differs: optional(
      'bool',
      'some element of some hook differs; null once the arms read different tokens, and where no hook was compared',
    ),
    tie_cached: column('bool', 'exact tie for the top logit'),
    tie_uncached: column('bool', 'exact tie for the top logit'),
    diverged_before: column('bool', 'the token histories of the arms differ already'),
    logits_n_differ: column('int32', 'logits whose bits differ'),
    logits_max_abs: column('float64', 'largest difference of two logits'),
    logits_rel_l2: column('float64', 'L2 of the difference over L2 of the uncached logits'),
    logits_l2_centred: column('float64', 'L2 of the difference of mean-centred logits'),
    kl: column('float64', 'KL(uncached ‖ cached) at temperature 1, nats'),
    js: column('float64', 'Jensen–Shannon divergence, nats'),
    tv: column('float64', 'total variation'),
    tv_processed: optional('float64', 'total variation after temperature, top-k and top-p'),
    margin_cached: column('float64', 'largest minus second largest raw logit'),
    margin_uncached: column('float64', 'largest minus second largest raw logit'),
    top_shift: column('float64', "what the uncached arm's second raw logit gains on its first in the cached arm"),
    margin_choice: optional(
      'float64',
      "lead of the uncached arm's choice in what its strategy maximises, in logits: the top-2 margin, or of Gumbel-perturbed scores × temperature; null for inverse-CDF draws and where there is no other choice",
    ),
    boundary: optional(
      'bool',
      "one arm's token is outside the other's top-k or top-p set; null where greedy or parted",
    ),
    error_cached: optional('float64', "L2 of mean-centred logits to the run's float64 oracle"),
    error_uncached: optional('float64', "L2 of mean-centred logits to the run's float64 oracle"),
    error_cosine: optional('float64', 'cosine between the error vectors of the arms'),
    drift_fp32_cached: optional('float64', 'L2 of mean-centred logits to the unrounded checkpoint in fp32'),
    drift_fp32_uncached: optional('float64', 'L2 of mean-centred logits to the unrounded checkpoint in fp32'),
    drift_fp64_cached: optional('float64', 'L2 of mean-centred logits to the unrounded checkpoint in fp64'),
    drift_fp64_uncached: optional('float64', 'L2 of mean-centred logits to the unrounded checkpoint in fp64'),
  },
  candidates: {
    condition,
    prompt,
    step: column('int32', '0 is the token the prefill decides'),
    arm: column('text', 'cached or uncached, each running free: once they have parted, each reads its own text'),
    token: column('int32', "the arm's choice; where it samples, not always one of tokens"),
    tokens: column('int32 list', 'the five largest raw logits, descending, of equal ones the lower id first'),
    probabilities: column('float64 list', 'of those tokens: softmax of the raw logits at temperature 1'),
  },
  layers: {
    condition,
    prompt,
    protocol: column('text', 'teacher-forced'),
    step: column('int32', '0 is the prefill'),
    position: column('int32', 'absolute position of the newest input token'),
    layer: column('int16', '−1 embedding, n final norm and logits'),
    hook: column('text', 'full TransformerLens name'),
    kind: column('text', 'the name without layer and hook_'),
    dtype: column('text', 'the type the policy rounds this hook to'),
    head: optional('int16', 'null: all heads'),
    n_elements: column('int32', 'compared elements'),
    n_differ: column('int32', 'elements whose bits differ, ±0 pairs excepted'),
    signed_zero: column('int32', '±0 pairs'),
    sign_flips: column('int32', 'elements of unlike sign'),
    nonfinite: column('int32', 'NaN and infinite elements'),
    nan: column('int32', 'NaN elements'),
    max_abs: column('float64', 'largest difference'),
    rel_l2: column('float64', '‖cached − uncached‖ / ‖uncached‖'),
    max_ulp: column('float64', 'largest difference in units in the last place of dtype'),
    mean_ulp: column('float64', 'mean over compared elements'),
    ulp_row: column('float64', 'max |Δ| / ulp(max |row|) over rows of the last axis'),
    cosine: column('float64', 'cosine of the rows'),
    added_rel_l2: optional('float64', 'difference the decode kernel makes by itself: same input, same history'),
    via_history_rel_l2: optional('float64', 'difference that enters through the history'),
    via_residual_rel_l2: optional('float64', 'difference that enters through the residual stream'),
  },
  patches: {
    condition,
    prompt,
    spec,
    step: column('int32', 'the patched step, or the last of several'),
    horizon: column('int32', 'steps after it: 0 is the patched step'),
    position: column('int32', 'absolute position of the newest input token where it is measured'),
    history: column('text', 'cached or recomputed'),
    kernel: column('text', 'decode or prefill'),
    hook: column('text', 'what is patched; several hooks with * for their layers; none'),
    layer: column('int16', 'last layer that is patched; −1 for none'),
    first_layer: column('int16', 'first layer that is patched; −1 for none'),
    head: optional('int16', 'the head, where a cell patches one'),
    component: column('text', 'k, v, both, or value for hooks'),
    pos_start: column('int32', 'first position that is patched'),
    pos_end: column('int32', 'one after the last'),
    src_pos: optional('int32', 'of one entry of an attention pattern: the position it reads; else null'),
    n_changed: column('float64', 'elements that the patch changed, up to and with this step'),
    distance_base: column('float64', 'L2 of mean-centred logits, unpatched arm to uncached arm'),
    distance_patched: column('float64', 'L2 of mean-centred logits, patched arm to uncached arm'),
    kl_base: column('float64', 'KL(uncached ‖ unpatched), nats'),
    kl_patched: column('float64', 'KL(uncached ‖ patched), nats'),
    recovery: optional('float64', '1 − distance_patched / distance_base; null where the base is 0'),
    recovery_kl: optional('float64', '1 − kl_patched / kl_base; quadratic, not comparable with recovery'),
    exact: column('bool', 'no logit differs from the uncached arm'),
    vacuous: column('bool', 'nothing to recover and nothing broken'),
    harmful: column('bool', 'nothing to recover, but the patch made a difference'),
    by_construction: column('bool', 'the patch cuts every path from what differs between the arms to the logits'),
    token_returns: optional('int32', 'first horizon whose token is the uncached one; null if none up to the largest'),
    token_follows: column('int32', 'tokens from the patched step on that are the uncached ones'),
    token_follows_base: column('int32', 'the same without the patch'),
    metric: optional('text', 'clean-corrupted: what cells are judged by, at the last position; else null'),
    metric_clean: optional('float64', 'its value in the clean run'),
    metric_corrupted: optional('float64', 'its value in the corrupted run'),
    metric_patched: optional('float64', 'its value in the patched run'),
    metric_recovery: optional('float64', '(patched − corrupted) / (clean − corrupted); null where those are equal'),
  },
  attributions: {
    condition,
    prompt,
    spec,
    step: column('int32', 'the step'),
    part: column('text', 'part of the history that is recomputed'),
    n_differ: column('int32', 'elements of the part that differ between the arms'),
    shapley: column('float64', 'share of the removed distance, L2 of mean-centred logits'),
    one_in: column('float64', 'distance removed where this part alone is recomputed'),
    standard_error: optional('float64', 'of a sampled value; null where all subsets were played'),
    distance_base: column('float64', 'cached to uncached arm'),
    distance_recomputed: column('float64', 'with the whole history recomputed'),
  },
  classes: {
    condition,
    prompt,
    spec,
    history: column('text', 'recomputed: one step’s error; cached: a whole decode'),
    steps: column('int32', 'decode steps that every value sums over'),
    class: column('text', 'class of operations: qkv, scores, values, o, mlp, head'),
    shapley: column('float64', 'its Shapley value in v; those of a prompt and history sum to drift_all − drift_none'),
    one_in: column('float64', 'v of this class alone on the decode kernel'),
    leave_one_out: column('float64', 'v(all) − v(all others)'),
    drift_all: column('float64', 'v(all): Σ over steps, L2 of mean-centred logits to the uncached arm'),
    drift_none: column('float64', 'v(∅): 0 by the gate no-class'),
  },
  subsets: {
    condition,
    prompt,
    spec,
    history: column('text', 'recomputed or cached'),
    subset: column('int16', 'classes on the decode kernel: bit i is class i of qkv, scores, values, o, mlp, head'),
    drift: column('float64', 'v(S): Σ over steps, L2 of mean-centred logits to the uncached arm'),
  },
  places: {
    condition,
    prompt,
    spec,
    steps: column('int32', 'decode steps that every value sums over'),
    place: column('text', 'rounding place of the policy'),
    one_in: column('float64', 'drift between the arms where everything is float32 but this place'),
    leave_one_out: column('float64', 'drift of the policy with this place in float32'),
    drift_all: column('float64', 'drift of the policy: Σ over steps, L2 of mean-centred logits'),
    drift_none: column('float64', 'drift where everything is float32'),
  },
  gains: {
    condition,
    prompt,
    spec,
    step: column('int32', 'decode step, from 1'),
    layer: column('int16', 'layer; n is the final norm and unembedding'),
    delta_in: column('float64', '‖cached − uncached‖ of the newest residual row that enters'),
    delta_out: column(
      'float64',
      'what becomes of it under the decode kernel and the cached history; centred L2 of logits at layer n',
    ),
    random_in: optional('float64', 'root mean square over random differences of that size; null where nothing enters'),
    random_out: optional('float64', 'what becomes of them'),
    added: column('float64', 'difference the decode kernel makes by itself'),
    via_history: column('float64', 'difference that enters through the history'),
  },
  predictions: {
    condition,
    prompt,
    spec,
    step: column('int32', 'decode step, from 1'),
    observed: column('float64', 'L2 of mean-centred logits between the arms'),
    predicted_actual: column('float64', 'the same from the gains of actual differences, those of the prompt’s steps'),
    predicted_random: column('float64', 'the same from the gains of random differences'),
  },
  nulls: {
    condition,
    prompt,
    spec,
    null: column('text', 'placebo or random-ulp'),
    seed: column('int32', 'seed of the run'),
    step: column('int32', 'decode step, from 1'),
    distance: column('float64', 'L2 of mean-centred logits, the null’s run to the uncached arm'),
    observed: column('float64', 'the same of the cached arm'),
  },
  answers: {
    condition,
    prompt,
    arm: column('text', 'cached, uncached or order-matched, each running free'),
    tokens: column('int32 list', 'the new tokens, the end token included'),
    text: column('string', 'the new text, cut before a stop sequence; empty without a tokenizer'),
    answer: optional('string', 'what was extracted; null where nothing was found'),
    correct: optional('bool', 'the answer is the gold one; null without a gold answer'),
    stop: column('text', 'end, stop-sequence, limit or context'),
  },
  temperatures: {
    condition,
    prompt,
    temperature: column('float64', 'temperature at which raw logits become probabilities'),
    steps: column('int32', 'teacher-forced steps that count'),
    tv: column('float64', 'Σ over steps of the total variation of the arms'),
    upper: column('float64', 'Σ over steps of 2 TV / (1 + TV): no Gumbel-max flip rate is higher'),
  },
  placebo: {
    condition,
    prompt,
    seed: column('int32', 'order of the sums of this uncached arm'),
    correct: optional('bool', 'its answer is the gold one; null without a gold answer'),
    diverged_at: optional('int32', 'first step whose token is not the uncached arm’s; null: the same text'),
  },
} as const satisfies Record<string, Record<string, Column>>;

export type TableName = keyof typeof tables;

interface ValueTypes {
  text: string;
  string: string;
  int16: number;
  int32: number;
  float64: number;
  bool: boolean;
  'int32 list': readonly number[];
  'float64 list': readonly number[];
  binary: Uint8Array;
}

/** A row of a table, as the writer takes it and the reader gives it. */
export type Row<T extends TableName> = {
  [C in keyof (typeof tables)[T]]: (typeof tables)[T][C] extends { type: infer K extends ColumnType; nullable: infer N }
    ? N extends true
      ? ValueTypes[K] | null
      : ValueTypes[K]
    : never;
};

/** Metadata key under which every file carries the run's identity as JSON. */
export const manifestKey = 'kvlens.manifest';

/** Version of the run directory's layout. */
export const schemaVersion = 1;

/** The column tables as Markdown, for the documentation. */
export function describeTables(): string {
  return Object.entries(tables)
    .map(([name, columns]) => {
      const rows = Object.entries<Column>(columns).map(
        ([key, { type, nullable, meaning }]) => `| ${key} | ${type}${nullable ? '?' : ''} | ${meaning} |`,
      );
      return [`### ${name}.arrow`, '', '| column | type | meaning |', '|---|---|---|', ...rows, ''].join('\n');
    })
    .join('\n');
}
