/**
 * Kernel presets: which shape each matmul has in the uncached arm and in the decode steps, and in which order it sums.
 *
 * The kernels are a declared factor of every experiment. Folding the query heads of a K/V group into the rows of one
 * matmul, for instance, silently removes the effect under study, so it is a preset and never an exporter's accident. A
 * GPU's decode kernels – split-K, split-KV – are imitated inside the graph, one setting per class of operations.
 */
import { z } from 'zod';
import { readJsonFile } from '../checkpoint/json-file.ts';
import type { ModelConfig } from '../checkpoint/types.ts';
import { InputError, UsageError } from '../errors.ts';
import { parseJson } from '../store/parse-json.ts';

/** Classes of matmuls: q kᵀ is `scores`, pattern · v is `values`, gate, up and down are `mlp`, the unembedding is `head`. */
export const operationClasses = ['qkv', 'scores', 'values', 'o', 'mlp', 'head'] as const;
/** A class of matmuls that a preset can set by itself. */
export type OperationClass = (typeof operationClasses)[number];

const count = z.number().int().min(2).max(4096);
const seed = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);

/** How the matmuls of one class sum over their contraction axis K: columns of a weight, d_head of q kᵀ, keys of pattern · v. */
const classKernelSchema = z
  .strictObject({
    /**
     * K is cut into so many contiguous parts, as even as possible, one matmul each; the partial sums are added in a chain.
     * Keys are cut into parts of ⌈n / slices⌉, the last ones filled up with zeros: which keys share a part depends on the
     * number n of keys, as on a GPU. In an uncached arm that fails gate prefix.
     */
    slices: count.optional(),
    /** `storage`: each partial sum, and each sum of them, is rounded to the policy's type at that place. Default `fp32`: none is. */
    combine: z.enum(['fp32', 'storage']).optional(),
    /** Run with every row of the left operand twice: a step of one row then sums as a pass of several rows does. */
    rows: z.literal('doubled').optional(),
    /** K in a random order that this seed draws: the same mathematics, summed in another order. Keys: inside blocks of 64. */
    permute: seed.optional(),
  })
  .refine(({ slices, combine }) => combine === undefined || slices !== undefined, {
    path: ['combine'],
    message: 'slices beside it',
  });
/** How one class of matmuls sums: the keys of docs/kernels.md, “A class takes”. */
export type ClassKernel = z.infer<typeof classKernelSchema>;

/** How one graph computes. */
const graphKernelSchema = z
  .strictObject({
    /** `per-head`: one matmul per query head. `folded`: the query heads of a K/V group are rows of one matmul. */
    attention: z.enum(['per-head', 'folded']).default('per-head'),
    /** False: constant weights are not prepacked at load, so weight matmuls take another reduction order at M = 1. */
    prepack: z.boolean().default(true),
    /** Classes that are not listed are one matmul each. */
    classes: z.partialRecord(z.enum(operationClasses), classKernelSchema).optional(),
    /** Softmax and pattern · v over chunks of so many keys, combined by log-sum-exp, as flash-decoding does. */
    splitKv: z.number().int().min(1).max(65536).optional(),
  })
  .refine(
    ({ splitKv, classes }) =>
      splitKv === undefined || (classes?.values?.slices === undefined && classes?.values?.permute === undefined),
    {
      path: ['splitKv'],
      message: 'no slices or permute of the class values beside it: the chunks are its slices',
    },
  );
/** How a whole graph sums: attention layout, prepacking, chunks of keys, and settings per class. */
export type GraphKernel = z.infer<typeof graphKernelSchema>;

/** A preset as JSON; what `--kernels FILE.json` reads. */
export const kernelsSchema = z.strictObject({
  /** Shown in run lines and file names. */
  name: z.string().regex(/^[\w.-]{1,40}$/, 'letters, digits, ".", "-" and "_", at most 40'),
  /** Kernel of the prompt's prefill and of the uncached arm. */
  prefill: graphKernelSchema,
  /** Kernel of the cached arm's decode steps. */
  decode: graphKernelSchema,
});

/** The kernels of the two arms, and the name that a run is identified by. */
export interface KernelPreset {
  name: string;
  /** Kernel of the prompt's prefill and of the uncached arm. */
  prefill: GraphKernel;
  /** Kernel of the cached arm's decode steps. */
  decode: GraphKernel;
  /** Bit-level claims of this preset hold with one intra-op thread only. */
  singleThread: boolean;
}

const perHead: GraphKernel = { attention: 'per-head', prepack: true };
const unpacked: GraphKernel = { attention: 'per-head', prepack: false };
const folded: GraphKernel = { attention: 'folded', prepack: true };

/** The presets without parameters, by name. */
export const kernelPresets: Record<string, KernelPreset> = {
  ort: { name: 'ort', prefill: perHead, decode: perHead, singleThread: false },
  'ort-unpacked': { name: 'ort-unpacked', prefill: unpacked, decode: unpacked, singleThread: true },
  folded: { name: 'folded', prefill: folded, decode: folded, singleThread: false },
};

/** How presets are named, for messages and help. */
export const kernelNames = [
  ...Object.keys(kernelPresets),
  'split-k:SLICES:fp32|storage',
  'split-kv:CHUNK',
  'placebo:SEED',
].join(', ');

/**
 * The preset of this name, null if there is none.
 *
 * - `split-k:<slices>:<fp32|storage>`: decode steps cut K of every weight matmul; prefill is `ort`'s.
 * - `split-kv:<chunk>`: decode steps attend over chunks of keys; prefill is `ort`'s.
 * - `placebo:<seed>`: decode steps sum every class in a random order, the same in every step; prefill is `ort`'s.
 */
export function namedKernels(name: string): KernelPreset | null {
  if (Object.hasOwn(kernelPresets, name)) return kernelPresets[name];
  const [family, number, combine, ...rest] = name.split(':');
  if (!/^(0|[1-9]\d{0,15})$/.test(number ?? '') || rest.length > 0) return null;
  const decode = namedDecode(family, Number(number), combine);
  const parsed = graphKernelSchema.safeParse(decode);
  return decode !== null && parsed.success ? { name, prefill: perHead, decode: parsed.data, singleThread: true } : null;
}

function namedDecode(family: string, number: number, combine: string | undefined): object | null {
  const every = (classes: readonly OperationClass[], kernel: object) => ({
    ...perHead,
    classes: Object.fromEntries(classes.map((name) => [name, kernel])),
  });
  if (family === 'split-k' && combine !== undefined) return every(weightClasses, { slices: number, combine });
  if (combine !== undefined) return null;
  if (family === 'split-kv') return { ...perHead, splitKv: number };
  return family === 'placebo' ? every(operationClasses, { permute: number }) : null;
}

/** The classes whose right operand is a weight. */
export const weightClasses = ['qkv', 'o', 'mlp', 'head'] as const satisfies readonly OperationClass[];

/**
 * The preset that `--kernels` names: a name or a path to a JSON file.
 * @throws UsageError for an unknown name, InputError for a file that is not a preset.
 */
export function resolveKernels(nameOrFile: string): KernelPreset {
  const named = namedKernels(nameOrFile);
  if (named) return named;
  if (nameOrFile.endsWith('.json')) return parseKernels(readJsonFile(nameOrFile), nameOrFile);
  throw new UsageError(
    `--kernels: unknown preset "${nameOrFile}", expected ${kernelNames}, or a FILE.json`,
    'SLICES is 2 … 4096, CHUNK 1 … 65536, SEED ≥ 0',
  );
}

/** Check a parsed JSON value; `source` is named in the error. @throws InputError */
export function parseKernels(value: unknown, source: string): KernelPreset {
  const { name, prefill, decode } = parseJson(kernelsSchema, value, source, {
    what: 'kernel preset',
    hint: 'docs/kernels.md describes the fields',
  });
  if (namedKernels(name)) {
    throw new InputError(`${source}: name: "${name}" is a preset of its own, expected another name`);
  }
  const plain = [prefill, decode].every((kernel) => kernel.prepack && !reorders(kernel));
  return { name, prefill, decode, singleThread: !plain };
}

/** True if a kernel sums some class in an order of its own. */
function reorders({ classes = {}, splitKv }: GraphKernel): boolean {
  return splitKv !== undefined || Object.values(classes).some((kernel) => Object.keys(kernel).length > 0);
}

/** True if a preset imitates, inside the graph, kernels of a GPU: split K or split KV. */
export function isEmulated({ prefill, decode }: KernelPreset): boolean {
  const splits = ({ classes = {}, splitKv }: GraphKernel) =>
    splitKv !== undefined || Object.values(classes).some(({ slices }) => slices !== undefined);
  return splits(prefill) || splits(decode);
}

/** Name of a preset whose decode steps run this one's prefill kernel too; null where none has a name. */
export function matchedKernels({ name, prefill, decode }: KernelPreset): string | null {
  const signature = kernelSignature(prefill);
  if (kernelSignature(decode) === signature) return name;
  const found = Object.values(kernelPresets).find((preset) => kernelSignature(preset.prefill) === signature);
  return found?.name ?? null;
}

/** Equal for kernels that compute the same graphs, whatever the order of their keys; of these classes only, if given. */
export function kernelSignature(
  { attention, prepack, classes = {}, splitKv }: GraphKernel,
  only: readonly OperationClass[] = operationClasses,
): string {
  const of = only.flatMap((name) => {
    const { slices, combine = slices === undefined ? undefined : 'fp32', rows, permute } = classes[name] ?? {};
    const settings = { slices, combine, rows, permute };
    return Object.values(settings).some((value) => value !== undefined) ? [[name, settings]] : [];
  });
  const inBlock = only.includes('scores');
  return JSON.stringify([prepack, inBlock ? attention : null, inBlock ? (splitKv ?? null) : null, of]);
}

/** The most slices that a preset cuts a sum into; 1 where it cuts none. */
export function mostSlices({ prefill, decode }: KernelPreset): number {
  const all = [prefill, decode].flatMap(({ classes = {} }) => Object.values(classes).map(({ slices = 1 }) => slices));
  return Math.max(1, ...all);
}

/** @throws UsageError where a preset cuts a sum of the model into more slices than it has terms. */
export function checkSlices({ name, prefill, decode }: KernelPreset, config: SummedSizes): void {
  const { hiddenSize, intermediateSize, heads, headDim } = config;
  const mlp = Math.min(hiddenSize, intermediateSize);
  const terms = { qkv: hiddenSize, scores: headDim, values: Infinity, o: heads * headDim, mlp, head: hiddenSize };
  for (const { classes = {} } of [prefill, decode]) {
    for (const operation of operationClasses) {
      const slices = classes[operation]?.slices ?? 1;
      if (slices <= terms[operation]) continue;
      throw new UsageError(
        `--kernels ${name}: found ${slices} slices of ${operation}, expected at most ${terms[operation]}, what it sums over in this model`,
      );
    }
  }
}

/** The sizes of a model that matmuls sum over. */
type SummedSizes = Pick<ModelConfig, 'hiddenSize' | 'intermediateSize' | 'heads' | 'headDim'>;

/** The classes that each stage of a model has. */
export const stageClasses = {
  embed: [],
  block: ['qkv', 'scores', 'values', 'o', 'mlp'],
  unembed: ['head'],
} as const satisfies Record<string, readonly OperationClass[]>;

/** Why a kernel's graphs have no patch point at a hook; null where they do. */
export function patchRefusal({ splitKv }: GraphKernel, hook: string): string | null {
  if (splitKv === undefined || !hook.endsWith('.attn.hook_pattern')) return null;
  return `${hook}: a split-KV kernel weighs chunks of keys and never reads the whole pattern, so it cannot be patched`;
}
