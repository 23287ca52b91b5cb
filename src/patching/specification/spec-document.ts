/** What docs/patching.md says before its table of fields. */
import type { AttributionSpec } from './attribution-spec.ts';
import { openPatchSpec, shippedSpecs } from './spec-files.ts';

/** The specs that ship, one line each. */
export function shippedSpecLines(): string[] {
  return shippedSpecs().map((name) => {
    const spec = openPatchSpec(name);
    return `- \`${name}\`: ${spec.description ?? ''}${spec.experiment === 'attribution' ? ` ${coverage(spec)}` : ''}`;
  });
}

/** What a spec looks at, unless it is told otherwise. */
export function coverage({ prompts, maxSteps, seeds }: AttributionSpec): string {
  const parts = [
    prompts === undefined ? 'all prompts' : `${prompts} prompts`,
    maxSteps === undefined ? 'every step' : `their first ${maxSteps} steps`,
    ...(seeds === undefined ? [] : [`${seeds} seeds`]),
  ];
  return `(${parts.join(', ')}; \`--limit\` goes before)`;
}

export const patchingIntroduction = `\`kvlens patch MODEL SPEC\` replaces what one arm computes or reads by what the other did, and measures how much of the
difference between the arms that removes. SPEC is a JSON file, or one of those that ship:`;

export const patchingExplanation = `**Arms.** The *cached* arm decodes on a K/V cache, the *uncached* one recomputes everything; both read the uncached arm's
tokens. At decode step s (from 1) the sequence has n tokens, and the *history* is the K/V rows 0 … n − 2 that the step reads.

**The 2×2.** \`history\` is what the cached arm wrote or what the uncached arm computes at this step; \`kernel\` is decode (the newest
row alone) or prefill (all rows run, and at the read of every layer the rows of the history are overwritten). The cell (cached,
decode) is the cached arm and (recomputed, prefill) recomputation: both go through the patch path like the others and are compared
bit for bit (\`patch-self\`, \`patch-full\` in controls.json; a failed one voids the run, exit code 1).

**Recovery.** R = 1 − Σ D(patched, uncached) / Σ D(cached, uncached) over prompts and steps, D the L2 norm of the difference of
mean-centred logits; the interval is a bootstrap by prompt. Where both are 0 a cell is *vacuous* and has no R; where only the
base is 0 the patch is *harmful*. A cell is *by construction* where the patch cuts every path from what differs between the arms
to the logits: it could not come out otherwise and is no evidence. With \`"into": "uncached"\` values of the cached arm go into the
uncached one: R = 0 then means that they bring all of the difference.

**Horizons.** After the patched step ordinary decode goes on, with the rows the patched step left in the cache. \`token_follows\` in
patches.arrow counts the tokens from the patched step on that are the uncached arm's: as long as they are, a free-running
continuation is this one.

**Positions** are absolute, from 0, or half-open ranges \`[start, end)\`; of a step of n tokens, p of them the prompt's, \`prompt\` is
[0, p), \`generated\` [p, n), \`last\` n − 1 and \`history\` [0, n − 1). A hook has the rows that the step runs: the last one, or the
last N with \`--decode-rows N\`. \`*.attn.hook_cache_k\` as a hook replaces what is read, and does not stay; \`cache\` edits the rows
themselves.

**Two prompts.** \`"experiment": "clean-corrupted"\` has its prompts in the spec, of as many tokens each, so that \`--prompts\` and the
like are refused. The corrupted prompt runs once per cell with one value of the clean run in its place; \`grids\` says of which hooks, by
TransformerLens's names (K/V heads are counted as they are). Rows of patches.arrow then measure the patched logits at the last position
against the *clean run's*, which stands for the uncached arm everywhere, as the corrupted run does for the unpatched arm: \`recovery\` is
1 − D(patched, clean) / D(corrupted, clean). The spec's \`metric\` is measured beside it, and \`metric_recovery\` = (patched − corrupted) /
(clean − corrupted) is what the terminal and the figures in \`figures/\` show. The gates run on the clean prompt. \`sweep\` in controls.json
says how the cells were computed: resumed where their patch begins, after some were computed both ways and not one element differed,
or, where one does, all as full passes. \`kvlens patch mini-llama names-swapped\` runs the example that ships.

**A fault of the state** – a stale or scaled row, a wrong position – is found by a grid under \`--decode-rows 2\`: no rounding is left
then, so that the cell that repairs the fault recovers, and no other. \`--plant FAULTS.json\` ([faults](explain.md)) puts one into the
cached arm to see it; with one row per step the drift of rounding is in every cell as well.

**Interrupted** by Ctrl-C, a run keeps the prompts it finished (of two prompts: the cells), and \`--resume --out DIR\` with the same
settings goes on; the files then have the bytes of a run that was not interrupted.

In TypeScript: \`patch({ spec: parsePatchSpec({ … }, 'spec'), … })\`, with \`PatchSpecInput\` as the type of what is written;
\`patchCleanCorrupted\` runs the spec of two prompts, and \`runCleanCorrupted\` the same without a folder.`;

export const attributionExplanation = `\`"experiment": "attribution"\` asks what makes the drift between the arms, and how
far rounding alone goes. D is the L2 norm of the difference of mean-centred logits to the uncached arm; everything reads the
uncached arm's tokens, one row per decode step.

**Classes.** v(S) is Σ D where the classes of S – qkv, q kᵀ (\`scores\`), pattern · v (\`values\`), o, mlp, unembedding
(\`head\`) – run the decode kernel and the others sum as the prefill does. All 64 sets are run, so the Shapley values are
exact and sum to v(all) − v(∅); *one in* is v of a class alone, *left out* v(all) minus v of all others. With \`recomputed\`
history each step reads the uncached arm's rows: v is one step's error. With \`cached\` history it reads what its own
earlier steps wrote: v(all) is the cached arm. Gate \`no-class\`: not one logit may differ where no class runs the decode
kernel. Presets whose two kernels differ in attention layout or prepacking are refused: neither belongs to a class.

**Places.** D between two arms under a policy where one rounding place alone rounds (*one in*), and where all others do
(*left out*). Rounding is not additive: a place alone can drift further than all together, which hide differences below
their unit. Gate \`all-places\`: the policy put together from its places drifts as the run does, to the bit.

**Amplification.** ‖δ out‖ / ‖δ in‖ of the newest row's residual stream by layer, under the decode kernel and the cached
history, for the difference there is and for random ones of its size (\`draws\`). The gains of a prompt, composed with what
each layer adds and reads from its history as if these were independent, predict the drift of its logits. Gate
\`layer-replay\`: a layer run by itself is the cached arm's, to the bit.

**Nulls.** \`placebo\`: the uncached arm with the contraction axis of the classes that the decode kernel changes in a random
order: the same mathematics, no cache. Its prompt, too, is computed in that order, which the cached arm's is not, and a
value that lies halfway between two numbers turns under nearly every order: seeds can agree, and a drift below all of them
is no surprise. The largest mean of its seeds' runs is the noise ceiling; were the cached arm
one more seed, it would exceed all n once in n + 1 times. \`random-ulp\`: a decode in the uncached arm's order where elements of what matmuls write are
moved by one unit in the last place, as often as the decode kernel changes them. Both rest on gate \`no-class\`.

A failed gate leaves no number (exit code 1). fp64 is refused, because the runtime's softmax there depends on the number of
rows, and so is \`--decode-rows\` above 1. Results are in classes.arrow, subsets.arrow, places.arrow, gains.arrow,
predictions.arrow and nulls.arrow. What parts of the *history* carry – K against V, rows, single heads – is
\`measure.attribution\` of the experiment \`arms\`.

In TypeScript: \`attribute({ spec, … })\`.`;
