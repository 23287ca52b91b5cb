/** What docs/study.md says: how to use a study, how a verdict is reached, and the fields of a study file. */
import { c1Rules } from '../claims/c1.ts';
import { c2Rules } from '../claims/c2.ts';
import { c3Rules } from '../claims/c3.ts';
import { c4Rules } from '../claims/c4.ts';
import { c5Rules } from '../claims/c5.ts';
import { shippedStudies, shippedStudy } from './studies.ts';

/** The studies that ship, one line each. */
export function shippedStudyLines(): string[] {
  return shippedStudies().map((name) => {
    const { description, prompts } = shippedStudy(name);
    return `- \`${name}\`: ${description ?? ''}; ${prompts.limit} problems each.`;
  });
}

/** The rules of every claim, as they are applied. */
export function ruleLines(): string[] {
  const claims: [string, string, Record<string, string>][] = [
    ['C1', 'cached and cache-free decoding in fp16 diverge in 100 % of texts', c1Rules],
    ['C2', 'the cached path is more accurate in 8 of 9 conditions', c2Rules],
    ['C3', 'fp32 reduces the divergence by eight orders and the flips to 0: fp16 is the sole cause', c3Rules],
    ['C4', 'drift follows the architecture', c4Rules],
    [
      'C5',
      'the residual stream does not bring the cache-free trajectory back: the cache is the causal variable',
      c5Rules,
    ],
  ];
  return claims.flatMap(([name, claim, rules]) => [
    `### ${name}: ${claim}`,
    '',
    ...Object.entries(rules).map(([part, rule]) => `- **${part}** – ${rule}.`),
    '',
  ]);
}

export const studyIntroduction = `\`kvlens study\` runs the experiment of arXiv 2604.15409 as a whole: models × sampling strategies × precisions × kernels over word
problems, each with the cached, the uncached and the order-matched arm; then outcomes for every condition, and for each of the paper's
claims a verdict by rules that were fixed before running. A study is a JSON file, or one of those that ship:`;

export const studyUse = `\`\`\`sh
npx kvlens study                                    # quick: minutes
npx kvlens study --preset paper                     # the nine conditions, with controls
npx kvlens study my-study.json --out runs/mine
npx kvlens study --preset quick --model path/to/checkpoint --prompts gsm8k/test.jsonl --limit 100
\`\`\`

**When to use it.** For a claim about rates, accuracy or causes over many prompts. For one prompt, or to see where a drift starts,
\`kvlens diverge\` is quicker; for another intervention than the 2×2 and the residual patch, \`kvlens patch\`.

**When not.** A model that does not fit into memory: units need all layers loaded, once per worker.

**What runs.** A work unit is one prompt under one condition. Its uncached arm decodes two rows per step, which the gates *null* and
*prefix* show to be recomputation bit for bit; one full forward over the whole text and one step in the middle are recomputed in every
unit, and the outcome says how many steps that is and how many differed. That forward is also what order-matched decoding is compared
with. Where tokens are given (\`continuation\` in a prompt file) all uncached steps are rows of one forward. Free-running rows of
steps.arrow begin with the first flip: before it they are the teacher-forced ones. candidates.arrow has that first flip alone;
\`kvlens diverge\` writes every free-running step.

**The order-matched arm** decodes two rows per step under the prefill's kernel, in the state of the cached arm: its padding and the
faults planted in it. The two differ in the order of their sums alone. State is a factor of its own, so what a stale row or a wrong
position changes stays in this arm: C3 c is then contradicted, and C5 c is not. Padding puts the keys in other places of the sums,
which two rows per step do not undo: a difference of padded arms leaves C3 c and C5 c open, and none says what it says without padding.

**GSM8K and your own checkpoint.** \`test.jsonl\` works as it is. As lm-evaluation-harness's \`gsm8k\` task, but that the
harness draws its five examples by a generator of its own:

\`\`\`json
{
  "name": "gsm8k",
  "models": ["path/to/checkpoint"],
  "prompts": {
    "file": "gsm8k/test.jsonl",
    "template": "Question: {question}\\nAnswer:",
    "delimiter": " ",
    "fewShot": { "file": "gsm8k/train.jsonl", "count": 5, "seed": 0 },
    "limit": 200
  },
  "answers": { "extract": "strict", "stop": ["Question:", "</s>", "<|im_end|>"] },
  "maxNewTokens": 256
}
\`\`\`

**The placebo** (19 uncached arms by default) sums the classes of operations that the decode kernel changes in random orders, in as
many slices and combined in the same type as that kernel: rounding errors of the cached arm's size, without a cache. It is the null of
C2, and a first flip wider than the 99.9 % quantile of its drift (\`placebo.bins\` in outcomes.json) is *suspect*. One that is wider than
every drift of its own prompt's placebo is explained at once by the rules of \`--explain\` ([explain.md](explain.md)), so that a stale row
or a wrong position is called a bug and not a rounding. The two differ because explaining takes the prompt's arms, which live as long as
its unit, and the quantile takes the placebo of all units of the condition: while the arms are alive it is not known. A suspect without a
placebo of its own, or within it, is counted as not explained (\`notExplained\`); \`kvlens diverge --explain\` on its prompt says more.

## Long runs

Units are written to \`journal.jsonl\` as they are finished. \`--resume --out DIR\` goes on after an interruption, a crash or a full disk,
makes no finished unit twice, and refuses other settings with what differs; the files are byte for byte those of an uninterrupted run.
\`--shard i/n\` makes every n-th unit in a folder of its own, \`--merge\` joins the folders – without any model, again byte for byte.
[slurm.md](slurm.md) runs shards as a job array. The bits rest on the processor: its model and flags are part of a run's identity, and
shards of another processor are refused.

| symptom | cause | remedy |
|---|---|---|
| \`--resume: … is another run's: …\` | a setting, the checkpoint, the prompts, a version or the processor changed | what differs is named: undo it, or take another \`--out\` |
| \`--merge: … machine.hash was …\` | shards ran on unlike processors | one processor type for all shards |
| C2 is *not identifiable* | too few discordant pairs: most answers are the same | more prompts; \`neededDiscordant\` says what a condition needs |
| C3 a, d are open | no or few flips | a kernel that flips (\`split-k:8:storage\`), bf16, more prompts |
| all texts diverge | un-keyed draws, other sums, or a bug | [what-produces-100-percent.md](what-produces-100-percent.md); look at suspects and \`explained\` |
| memory grows with workers | every worker loads the model, its references and the placebo's orders | fewer \`--workers\`, fewer \`placebo.arms\` |

## How a verdict is reached

*Supported*, *contradicted*, or *not identifiable* where the data do not decide or a gate that the part rests on failed. The unit is the
prompt: intervals are 95 %, resampled by prompt, with 10,000 draws where a rule compares their ends. Judged answers are whole numbers, so
the tests of C2 draw nothing: the sign-flip test counts every pattern of signs, and the bootstrap's distribution is a convolution. Its 90 %
interval goes from the least sum x with P(Σ ≤ x) ≥ 5 % to the largest with P(Σ ≥ x) ≥ 5 % (Efron 1979; quantiles of type 1 of Hyndman and
Fan 1996); only where prompts are judged in unlike numbers of conditions is it drawn. verdicts.json has for each the rule, the
numbers that entered it and its scope. What is measured on a CPU tests the logic of a claim: it is never a GPU's native figure.`;
